"""Bytes that a dataset occupies in each format."""

from __future__ import annotations

import math
from typing import Final

from tiering.advice.cpu_costs import Costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.tier import Tier
from tiering.io_sizes import PAGE_BYTES
from tiering.literals import Format

#: Stored / plain bytes of uncompressed pictures under zstd. An assumption; `tiering convert` measures a sample.
ZSTD_RATIO: Final = 0.6
#: Bytes of the header of an LMDB value on pages of its own, and of the largest value that shares a page.
_LMDB_HEADER, _LMDB_INLINE = 16, 2030


def served_bytes(data: DatasetSizes, store_format: Format) -> int:
    """Return the bytes of all samples as they are served: rows of pixels, or encoded images."""
    return data.samples * data.row_bytes if store_format == "pixels" else data.bytes


def stored_bytes(
    data: DatasetSizes, store_format: Format, codec: str = "none", *, pages: bool = True, costs: Costs | None = None
) -> int:
    """Return the bytes that a dataset occupies in a format.

    Args:
        data: The dataset.
        store_format: "folder" is plain files, "lmdb" and "zarr" are packed originals, "pixels" is decoded, in Zarr.
        codec: Of "zarr" and "pixels"; "none" stores plain bytes.
        pages: Whether it is on a file system, where each small file fills whole pages.
        costs: Source of the ratio of a codec of pixels.
    """
    if store_format == "pixels":
        ratio = costs.codings[codec].ratio if costs is not None and codec != "none" else 1.0
        return math.ceil(data.samples * data.row_bytes * ratio)
    if store_format == "zarr":
        return math.ceil(data.bytes * (ZSTD_RATIO if codec == "zstd" else 1.0))
    if store_format == "folder" and not pages:
        return data.bytes
    each = sum(share * _on_pages(size, store_format) for share, size in data.spread)
    return max(1, math.ceil(data.samples * each))


def stored_on(
    tier: Tier, data: DatasetSizes, store_format: Format, codec: str = "none", costs: Costs | None = None
) -> int:
    """Return the bytes that a dataset occupies on a tier: `stored_bytes`, with whole pages on file systems."""
    return stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=costs)


def _on_pages(size: float, store_format: Format) -> float:
    """Return the bytes that one sample occupies. Its last page is on average half full."""
    if store_format == "lmdb":
        if size + _LMDB_HEADER <= _LMDB_INLINE:
            return size + _LMDB_HEADER
        size += _LMDB_HEADER
    return max(PAGE_BYTES, size + PAGE_BYTES / 2)
