"""How a store will be packed: what was asked for, completed from the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tiering.errors import DatasetError, UsageError
from tiering.images.image import ImageHeader, check_image, probe
from tiering.images.pixels import ResizeMode, agree_on_shape, to_pixels
from tiering.packing.listing import Listing, blocks
from tiering.packing.shard_plan import packable, settings_for
from tiering.permutation import EpochOrder
from tiering.sources.source import read_samples
from tiering.store.codec_choice import choose_codec
from tiering.store.codecs import parse_codec
from tiering.store.manifest import MOST_COUNT, Kind, Pixels, Settings
from tiering.units import format_bytes

#: Images looked at to choose a codec, and to agree on a shape.
_CODEC_SAMPLE: Final = 64
_SHAPE_SAMPLE: Final = 1000


@dataclass(frozen=True, slots=True)
class Packing:
    """What was asked for: see tiering.convert."""

    kind: Kind
    codec: str
    seed: int
    shard_bytes: int | None
    pixels: bool
    resize: tuple[int, int] | None
    resize_mode: ResizeMode
    channels: Literal[1, 3] | None


def choose_settings(listing: Listing, packing: Packing, begun: Settings | None) -> Settings:
    """Complete what was asked for from the data.

    begun: the settings of an unfinished conversion, whose codec stands where a new measurement might choose otherwise.
    Raises UsageError for what does not go together, DatasetError for pixels of many shapes without a resize.
    """
    if packing.shard_bytes is not None and not 1 <= packing.shard_bytes <= MOST_COUNT:
        raise UsageError("--shard-size", expected="1 B to 9 PB", found=format_bytes(packing.shard_bytes))
    if packing.kind == "lmdb":
        if packing.pixels:
            raise UsageError("--to lmdb", expected="Zarr for pixels", found="LMDB", action="Use --to zarr.")
        if packing.codec not in ("auto", "none"):
            raise UsageError(
                f"--codec {packing.codec}", expected="Zarr for a codec", found="LMDB, which keeps the original files"
            )
    pixels = _pixels(listing, packing) if packing.pixels else None
    total, largest = _extent(listing, pixels)

    def settings(codec: str) -> Settings:
        return settings_for(
            packing.kind, total, largest, codec=codec, seed=packing.seed, shard_bytes=packing.shard_bytes, pixels=pixels
        )

    if packing.codec != "auto":
        return settings(parse_codec(packing.codec).name)
    if packing.kind == "lmdb":
        return settings("none")
    if begun is not None and settings(begun.codec) == begun:
        return begun
    samples = list(_stored(listing, pixels))
    return settings(choose_codec(samples, settings("none").chunk_bytes).name)


def _extent(listing: Listing, pixels: Pixels | None) -> tuple[int, int]:
    """Return the bytes of all samples and of the largest, as they will be stored."""
    if pixels is not None:
        return len(listing) * pixels.shape.nbytes, pixels.shape.nbytes
    total, largest = 0, 1
    for rows in blocks(len(listing)):
        sizes = packable(listing.size[rows])
        total, largest = total + int(sizes.sum()), max(largest, int(sizes.max()))
    return total, largest


def _pixels(listing: Listing, packing: Packing) -> Pixels:
    headers = list(_headers(listing))
    if not headers:
        raise DatasetError(listing.source.url, expected="images to take a shape from", found="none that can be read")
    if packing.resize is not None:
        height, width = packing.resize
        grey = agree_on_shape([ImageHeader(h.format, 1, 1, h.mode) for h in headers])
        return Pixels(
            height=height, width=width, channels=packing.channels or grey.channels, resize=packing.resize_mode
        )
    shape = agree_on_shape(headers)
    return Pixels(height=shape.height, width=shape.width, channels=packing.channels or shape.channels)


def _some(listing: Listing, count: int, stream: str) -> Iterator[bytes]:
    """Yield some images, drawn at random but the same for the same listing; what cannot be read is left out."""
    picked = EpochOrder(len(listing), 0, stream=stream).take(0, min(count, len(listing)))
    rows = listing.rows(np.sort(picked))
    for image in read_samples(listing.source, rows.keys(), rows.file, rows.offset, rows.size):
        if isinstance(image, bytes):
            yield image


def _headers(listing: Listing) -> Iterator[ImageHeader]:
    for image in _some(listing, _SHAPE_SAMPLE, "shape"):
        try:
            yield probe(image)
        except DatasetError:
            continue  # The packer names it.


def _stored(listing: Listing, pixels: Pixels | None) -> Iterator[bytes]:
    for image in _some(listing, _CODEC_SAMPLE, "codec"):
        try:
            if pixels is None:
                check_image(image, "")
                yield image
            else:
                yield to_pixels(image, "", pixels.shape, pixels.resize).tobytes()
        except DatasetError:
            continue  # The packer names it.
