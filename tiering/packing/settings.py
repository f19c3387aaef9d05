"""The settings of a store: the caller's parameters, completed from the data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np

from tiering.arrays import row_parts
from tiering.errors import DatasetError, UsageError
from tiering.images.exact import check_decoders
from tiering.images.formats import is_array_name
from tiering.images.image import ImageHeader, check_image, probe
from tiering.images.raw import is_raw_array, raw_header
from tiering.images.reencoded import Reencoded
from tiering.images.shape import PixelShape, agree_on_channels, agree_on_size, agree_on_type
from tiering.literals import PackedFormat, PixelType, ResizeMode
from tiering.packing.listing import Listing
from tiering.packing.shard import stored_bytes
from tiering.packing.shard_plan import SMALLEST_ENCODED, packable, reencoded_sizes, settings_for
from tiering.permutation import EpochOrder
from tiering.store.codec_choice import choose_codec
from tiering.store.codecs import parse_codec
from tiering.store.schema import MOST_COUNT
from tiering.store.settings import Settings, StoredEncoding, StoredPixels
from tiering.units import format_bytes

#: How many images to read in order to choose a codec, and a shape.
_CODEC_SAMPLE: Final = 64
_SHAPE_SAMPLE: Final = 1000

#: Shards have room for re-encoded images this many times as large as those of the sample.
_SAFETY: Final = 1.5

_MOST_CHANNELS: Final = 65_535
_FIRST: Final = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Pixels:
    """Decoded images of one shape, to be stored instead of the original files (Zarr only).

    Args:
        height: Pixels to resize each image to; None if the images have one shape already.
        width: As height. Give both or neither.
        mode: How to resize: "crop" cuts off what does not fit, "pad" adds a border, "stretch" changes the proportions.
        channels: Numbers in a pixel. None for 1 if all images are grey, 3 (RGB) if some are in colour, and for all
            bands of images that have more. 3 spreads grey images to RGB, and 4 keeps the transparency of RGB images.
        dtype: Type of the numbers. None for uint8, and deeper images are refused. "uint8" narrows 16 bits to their
            upper 8. "uint16" takes only images of 16 bits. "float32" takes all images. Numbers are never rescaled.

    If height, width, channels and dtype are all given, files without a header (.raw, .bin) are arrays of that shape:
    row by row, channels last, little-endian. They are never resized.

    Raises:
        UsageError: Only one of height and width is given.

    Example:
        >>> Pixels(224, 224)
        Pixels(height=224, width=224, mode='crop', channels=None, dtype=None)
    """

    height: int | None = None
    width: int | None = None
    mode: ResizeMode = "crop"
    channels: int | None = None
    dtype: PixelType | None = None

    @property
    def raw_shape(self) -> PixelShape | None:
        """The shape of files of numbers without a header (.raw, .bin); None if a part of it is not given."""
        if self.height is None or self.width is None or self.channels is None or self.dtype is None:
            return None
        return PixelShape(self.height, self.width, self.channels, self.dtype)

    def __post_init__(self) -> None:
        if self.channels is not None and not 1 <= self.channels <= _MOST_CHANNELS:
            raise UsageError("channels", rule=f"must be 1 to {_MOST_CHANNELS:,}", found=f"{self.channels:,}")
        if self.dtype is not None and self.dtype not in get_args(PixelType):
            raise UsageError("dtype", rule=f"must be {' or '.join(get_args(PixelType))}", found=repr(self.dtype))
        if (self.height is None) != (self.width is None):
            raise UsageError("pixels", found="only one of height and width is given")


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
    """Parameters of tiering.convert. pixels, encode: None for both to store the original files."""

    kind: PackedFormat
    codec: str
    shards: Shards
    pixels: Pixels | None
    encode: Reencoded | None = None


def choose_settings(listing: Listing, packing: PackingOptions, begun: Settings | None) -> Settings:
    """Complete the caller's parameters from the data.

    begun: the settings of an unfinished conversion. Its codec is kept, because a new measurement could choose another.
    Raises UsageError for parameters that contradict each other, DatasetError for pixels of several shapes without a
    resize.
    """
    _check(listing, packing)
    pixels = None if packing.pixels is None else _agreed(listing, packing.pixels)
    encoding, measured = (None, []) if packing.encode is None else _encoding(listing, packing.encode, begun)
    total, largest = _extent(listing, pixels, encoding)

    def settings(codec: str) -> Settings:
        return settings_for(
            packing.kind, total, largest, codec=codec, seed=packing.shards.seed, shard_bytes=packing.shards.bytes,
            pixels=pixels, reencoded=encoding,
        )  # fmt: skip

    if packing.codec != "auto":
        return settings(parse_codec(packing.codec).name)
    if packing.kind == "lmdb":
        return settings("none")
    if begun is not None and settings(begun.codec) == begun:
        return begun
    plain = settings("none")
    samples = [stored for _, stored in measured or _stored(listing, plain)]
    return settings(choose_codec(samples, plain.chunk_bytes, item=plain.itemsize).name)


def _check(listing: Listing, packing: PackingOptions) -> None:
    """Raise UsageError for parameters that contradict each other."""
    limit = packing.shards.bytes
    if limit is not None and not 1 <= limit <= MOST_COUNT:
        raise UsageError("shards.bytes", rule="must be 1 B to 9 PB", found=format_bytes(limit))
    if packing.kind == "lmdb":
        if packing.pixels:
            raise UsageError("to", expected="Zarr for pixels", found="LMDB", action='Use `to="zarr"`.')
        if packing.codec not in ("auto", "none"):
            raise UsageError(
                f"codec {packing.codec}", expected="Zarr for a codec", found="LMDB, which keeps the original files"
            )
    if packing.pixels is None and len(listing) and is_array_name(listing.keys(_FIRST)[0]):
        raise UsageError(
            "to", expected="images, or arrays to store as pixels", found="arrays in .npy files",
            action="Store them as pixels in Zarr: `Pixels`.",
        )  # fmt: skip
    if packing.pixels is not None and packing.encode is not None:
        raise UsageError("encode", rule="takes re-encoded images or pixels", found="both", action="Leave one out.")


def _extent(listing: Listing, pixels: StoredPixels | None, encoding: StoredEncoding | None) -> tuple[int, int]:
    """Return the bytes of all samples and of the largest, as they will be stored.

    The largest of re-encoded images is not known, and does not matter: see planned_sizes.
    """
    if pixels is not None:
        return len(listing) * pixels.shape.nbytes, pixels.shape.nbytes
    total, largest = 0, 1
    for rows in row_parts(len(listing)):
        sizes = listing.size[rows]
        if encoding is not None:
            total += int(reencoded_sizes(sizes, encoding.growth).sum())
            continue
        sizes = packable(sizes)
        total, largest = total + int(sizes.sum()), max(largest, int(sizes.max()))
    return total, largest


def _encoding(
    listing: Listing, how: Reencoded, begun: Settings | None
) -> tuple[StoredEncoding, list[tuple[int, bytes]]]:
    """Complete the parameters of re-encoding: how large images become in relation to their files.

    Returns the images that were measured, too: the size of each file and what it became.
    """
    if begun is not None and begun.reencoded is not None and begun.reencoded.how == how:
        return begun.reencoded, []
    encoding = StoredEncoding(
        format=how.format, quality=how.quality, max_side=how.max_side, short_side=how.short_side
    )  # fmt: skip
    measured = list(_stored(listing, Settings(shard_bytes=1, reencoded=encoding)))
    size = sum(original for original, _ in measured)
    excess = sum(max(len(stored) - SMALLEST_ENCODED, 0) for _, stored in measured)
    growth = max(1, math.ceil(_SAFETY * excess / max(size, 1)))
    return encoding.model_copy(update={"growth": growth}), measured


def _agreed(listing: Listing, pixels: Pixels) -> StoredPixels:
    """Complete a shape from the headers of some images."""
    raw = pixels.raw_shape
    headers = list(_headers(listing, raw))
    if not headers:
        if raw is None:
            raise DatasetError(listing.source.url, found="no image can be read, to take a shape from")
        headers = [raw_header(raw)]  # The shape is given, and the packer will say of each file why it does not fit.
    dtype = agree_on_type(headers, pixels.dtype)
    check_decoders(headers, dtype)
    if pixels.height is None or pixels.width is None:
        height, width = agree_on_size(headers)
        resize = None
    else:
        height, width, resize = pixels.height, pixels.width, pixels.mode
    return StoredPixels(
        height=height,
        width=width,
        channels=pixels.channels or agree_on_channels(headers),
        resize=resize,
        dtype=dtype,
        narrowed=pixels.dtype == "uint8",
        raw=raw is not None,
    )


def _some(listing: Listing, count: int, stream: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield readable images out of `count` drawn at random, with their keys. Equal listings give the same images."""
    picked = EpochOrder(len(listing), 0, stream=stream).take(0, min(count, len(listing)))
    rows = listing.rows(np.sort(picked))
    for key, image in zip(rows.keys(), rows.read(listing.source), strict=True):
        if isinstance(image, bytes):
            yield key, image


def _headers(listing: Listing, raw: PixelShape | None) -> Iterator[ImageHeader]:
    for key, image in _some(listing, _SHAPE_SAMPLE, "shape"):
        try:
            yield raw_header(raw) if raw is not None and is_raw_array(image, key, raw) else probe(image)
        except DatasetError:
            continue  # The packer will report it.


def _stored(listing: Listing, settings: Settings) -> Iterator[tuple[int, bytes]]:
    """Yield the size of some files, and what they become in the store."""
    for key, image in _some(listing, _CODEC_SAMPLE, "codec"):
        try:
            if settings.original:
                check_image(image, "")
            yield len(image), stored_bytes(image, settings, key)
        except DatasetError:
            continue  # The packer will report it.
