"""The settings of a store: the caller's parameters, completed from the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tiering.arrays import row_parts
from tiering.errors import DatasetError, UsageError
from tiering.images.image import ImageHeader, check_image, probe
from tiering.images.pixels import agree_on_shape
from tiering.literals import PackedFormat, ResizeMode
from tiering.packing.listing import Listing
from tiering.packing.shard import stored_bytes
from tiering.packing.shard_plan import packable, settings_for
from tiering.permutation import EpochOrder
from tiering.store.codec_choice import choose_codec
from tiering.store.codecs import parse_codec
from tiering.store.manifest import MOST_COUNT, Settings, StoredPixels
from tiering.units import format_bytes

#: How many images to read in order to choose a codec, and a shape.
_CODEC_SAMPLE: Final = 64
_SHAPE_SAMPLE: Final = 1000


@dataclass(frozen=True, slots=True)
class Pixels:
    """Decoded images of one shape, to be stored instead of the original files (Zarr only).

    Args:
        height: Pixels to resize each image to; None if the images have one shape already.
        width: As height. Give both or neither.
        mode: How to resize: "crop" cuts off what does not fit, "pad" adds a border, "stretch" changes the proportions.
        channels: 1 (grey) or 3 (RGB); None for 1 if all images are grey, else 3.

    Raises:
        UsageError: Only one of height and width is given.

    Example:
        >>> Pixels(224, 224)
        Pixels(height=224, width=224, mode='crop', channels=None)
    """

    height: int | None = None
    width: int | None = None
    mode: ResizeMode = "crop"
    channels: Literal[1, 3] | None = None

    def __post_init__(self) -> None:
        if (self.height is None) != (self.width is None):
            raise UsageError("pixels", expected="a height and a width, or neither", found="only one of them")


@dataclass(frozen=True, slots=True)
class Shards:
    """How to cut a store into shards.

    Args:
        bytes: Upper bound of the samples' bytes in a shard; None to choose it from the data.
        seed: Seed of the random order in which samples are packed.

    Example:
        >>> Shards(bytes=256 << 20)
        Shards(bytes=268435456, seed=0)
    """

    bytes: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class PackingOptions:
    """Parameters of tiering.convert. pixels: None to store the original files."""

    kind: PackedFormat
    codec: str
    shards: Shards
    pixels: Pixels | None


def choose_settings(listing: Listing, packing: PackingOptions, begun: Settings | None) -> Settings:
    """Complete the caller's parameters from the data.

    begun: the settings of an unfinished conversion. Its codec is kept, because a new measurement could choose another.
    Raises UsageError for parameters that contradict each other, DatasetError for pixels of several shapes without a
    resize.
    """
    limit = packing.shards.bytes
    if limit is not None and not 1 <= limit <= MOST_COUNT:
        raise UsageError("shards.bytes", expected="1 B to 9 PB", found=format_bytes(limit))
    if packing.kind == "lmdb":
        if packing.pixels:
            raise UsageError("to", expected="Zarr for pixels", found="LMDB", action='Use `to="zarr"`.')
        if packing.codec not in ("auto", "none"):
            raise UsageError(
                f"codec {packing.codec}", expected="Zarr for a codec", found="LMDB, which keeps the original files"
            )
    pixels = None if packing.pixels is None else _agreed(listing, packing.pixels)
    total, largest = _extent(listing, pixels)

    def settings(codec: str) -> Settings:
        return settings_for(
            packing.kind, total, largest, codec=codec, seed=packing.shards.seed, shard_bytes=limit, pixels=pixels
        )

    if packing.codec != "auto":
        return settings(parse_codec(packing.codec).name)
    if packing.kind == "lmdb":
        return settings("none")
    if begun is not None and settings(begun.codec) == begun:
        return begun
    samples = list(_stored(listing, pixels))
    return settings(choose_codec(samples, settings("none").chunk_bytes).name)


def _extent(listing: Listing, pixels: StoredPixels | None) -> tuple[int, int]:
    """Return the bytes of all samples and of the largest, as they will be stored."""
    if pixels is not None:
        return len(listing) * pixels.shape.nbytes, pixels.shape.nbytes
    total, largest = 0, 1
    for rows in row_parts(len(listing)):
        sizes = packable(listing.size[rows])
        total, largest = total + int(sizes.sum()), max(largest, int(sizes.max()))
    return total, largest


def _agreed(listing: Listing, pixels: Pixels) -> StoredPixels:
    """Complete a shape from the headers of some images."""
    headers = list(_headers(listing))
    if not headers:
        raise DatasetError(listing.source.url, expected="images to take a shape from", found="none that can be read")
    if pixels.height is not None and pixels.width is not None:
        grey = agree_on_shape([ImageHeader(h.format, 1, 1, h.mode) for h in headers])
        channels = pixels.channels or grey.channels
        return StoredPixels(height=pixels.height, width=pixels.width, channels=channels, resize=pixels.mode)
    shape = agree_on_shape(headers)
    return StoredPixels(height=shape.height, width=shape.width, channels=pixels.channels or shape.channels)


def _some(listing: Listing, count: int, stream: str) -> Iterator[bytes]:
    """Yield readable images out of `count` drawn at random. The same listing always gives the same images."""
    picked = EpochOrder(len(listing), 0, stream=stream).take(0, min(count, len(listing)))
    for image in listing.rows(np.sort(picked)).read(listing.source):
        if isinstance(image, bytes):
            yield image


def _headers(listing: Listing) -> Iterator[ImageHeader]:
    for image in _some(listing, _SHAPE_SAMPLE, "shape"):
        try:
            yield probe(image)
        except DatasetError:
            continue  # The packer will report it.


def _stored(listing: Listing, pixels: StoredPixels | None) -> Iterator[bytes]:
    for image in _some(listing, _CODEC_SAMPLE, "codec"):
        try:
            if pixels is None:
                check_image(image, "")
            yield stored_bytes(image, pixels)
        except DatasetError:
            continue  # The packer will report it.
