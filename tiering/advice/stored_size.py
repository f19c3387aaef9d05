"""What a dataset occupies in a format, and what reading it asks of the device."""

from __future__ import annotations

import math
from typing import Final, Literal

from tiering.advice.catalog import RANDOM_READ, Tier
from tiering.advice.cpu_costs import Costs
from tiering.advice.dataset_sizes import Data

#: folder: plain files; lmdb, zarr: packed originals; pixels: decoded, in Zarr.
Format = Literal["folder", "lmdb", "zarr", "pixels"]

#: Bytes left by zstd of uncompressed pictures: an assumption; `tiering convert` measures a sample.
ZSTD_RATIO: Final = 0.6
#: Bytes of a Zarr chunk of encoded images, which is decoded whole.
CHUNK: Final = 1 << 18
#: File systems and LMDB's overflow values occupy whole pages.
PAGE: Final = 4096
#: B that the loader announces with one call, and B between two samples that are read as one (tiering.serve.prefetch,
#: tiering.store.mapped_files).
TOLD_AT_ONCE: Final = 4 << 20
GAP: Final = 16 << 10
#: Header of an LMDB value's first overflow page, bytes; smaller values share pages.
_LMDB_HEADER, _LMDB_INLINE = 16, 2030


def stored_bytes(
    data: Data, store_format: Format, codec: str = "none", *, pages: bool = True, costs: Costs | None = None
) -> int:
    """Return B that a dataset occupies in a format.

    pages: on a file system, where small files fill whole pages; costs: for the ratio of a codec of pixels.
    """
    if store_format == "pixels":
        ratio = costs.codings[codec].ratio if costs is not None and codec != "none" else 1.0
        return math.ceil(data.samples * data.row_bytes * ratio)
    if store_format == "zarr":
        return math.ceil(data.bytes * (ZSTD_RATIO if codec == "zstd" else 1.0))
    if store_format == "folder" and not pages:
        return data.bytes
    total = sum(share * _on_pages(size, store_format) for share, size in data.spread)
    return max(1, math.ceil(data.samples * total))


def _on_pages(size: float, store_format: Format) -> float:
    """Return B that a sample occupies: sizes spread over many pages, so the last one is on average half full."""
    if store_format == "lmdb":
        if size + _LMDB_HEADER <= _LMDB_INLINE:
            return size + _LMDB_HEADER
        size += _LMDB_HEADER
    return max(PAGE, size + PAGE / 2)


def group_of(item: float) -> float:
    """Return how many samples of `item` B the loader announces with one call, for batches of 256."""
    return 256 * max(1.0, TOLD_AT_ONCE / (item * 256))


def device_seconds(data: Data, tier: Tier, store_format: Format, codec: str, costs: Costs, page_cache: float) -> float:
    """Return s that the device needs for every sample of an epoch, once each, none of them cached before.

    Each size of the distribution takes its own Tier.read_seconds. Of packed stores that page_cache (B) holds whole no
    byte is fetched twice, and neighbours nearer than GAP are one request: of samples at random places, exp(-GAP / mean
    gap) stay alone (a Poisson process), the others are read as the whole store is, in requests of 128 KiB.
    """
    coded = store_format == "zarr" and codec != "none"
    if store_format == "pixels":
        coding = costs.codings.get(codec)
        sizes: tuple[tuple[float, float], ...] = (
            (1.0, data.row_bytes if coding is None else data.row_bytes * coding.chunk * coding.ratio),
        )
    elif coded:
        sizes = tuple((share, max(size, CHUNK) * ZSTD_RATIO) for share, size in data.spread)
    else:
        sizes = data.spread
    each = sum(share * tier.read_seconds(_pages(size, tier)) for share, size in sizes)
    apart = data.samples * each
    stored = stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=costs)
    if store_format == "folder" or tier.access == "object" or page_cache < stored:
        return apart
    if store_format == "pixels" and codec in costs.codings:
        return data.samples / costs.codings[codec].chunk * each
    apart = min(apart, max(1.0, stored / PAGE) * each)
    whole = max(1.0, stored / RANDOM_READ) * tier.read_seconds(min(stored, RANDOM_READ))
    alone = _alone(data, stored)
    return alone * apart + (1 - alone) * min(apart, whole)


def first_share(data: Data, tier: Tier, store_format: Format, codec: str, costs: Costs, page_cache: float) -> float:
    """Return the share of a cold epoch's reading that the first group of samples asks for, which nothing overlaps.

    Its own share of the samples, 1 / groups; more where neighbours come along and memory keeps them.
    """
    stored = stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=costs)
    group = min(data.samples, group_of(stored / data.samples))
    own = group / data.samples
    if store_format == "folder" or tier.access == "object" or page_cache < stored:
        return own
    if store_format == "pixels" and codec in costs.codings:
        chunks = max(1.0, data.samples / costs.codings[codec].chunk)
        return max(own, 1 - math.exp(-group / chunks))
    return max(own, 1 - _alone(data, stored))


def _alone(data: Data, stored: int) -> float:
    """Return the share of a group's samples that have no neighbour near enough to be read with it."""
    return math.exp(-GAP * min(data.samples, group_of(stored / data.samples)) / stored)


def _pages(size: float, tier: Tier) -> float:
    return size if tier.access == "object" else max(PAGE, size)
