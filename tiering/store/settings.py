"""The settings of a store: how samples are packed, and what they are: original files, re-encoded images, or pixels."""

from __future__ import annotations

from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field

from tiering.images.reencoded import Reencoded
from tiering.images.shape import PixelShape
from tiering.literals import EncodedFormat, PixelType, ResizeMode
from tiering.store.schema import Count, Frozen

Side = Annotated[int, Field(ge=1, le=65_535)]

#: The most characters that describe the software which encoded samples.
LONGEST_BUILD: Final = 500

_NAMES: Final[dict[EncodedFormat, str]] = {"jpeg": "JPEG", "webp": "WebP", "png": "PNG"}


class StoredPixels(Frozen):
    """The shape of all samples in a store of decoded images, and how images were resized to it."""

    height: Side
    width: Side
    channels: Side
    resize: ResizeMode | None = Field(default=None, description="None: the images had that shape")
    dtype: PixelType = Field(default="uint8", description="of each number, little-endian")
    narrowed: bool = Field(default=False, description="deeper images were taken, and keep their upper 8 bits")
    raw: bool = Field(default=False, description=".raw and .bin files were taken as arrays of this shape and type")

    @property
    def shape(self) -> PixelShape:
        """The shape of one sample."""
        return PixelShape(self.height, self.width, self.channels, self.dtype)


class StoredEncoding(Frozen):
    """How the images of a store were re-encoded. Each sample has the fields of tiering.store.schema.ORIGINAL."""

    format: EncodedFormat
    quality: Annotated[int, Field(ge=1, le=100)]
    max_side: Side | None = Field(default=None, description="longest side of larger images, pixels")
    short_side: Side | None = Field(default=None, description="shorter side of larger images, pixels")
    growth: Annotated[int, Field(ge=1, le=1 << 16)] = Field(
        default=1, description="shards are planned with this many bytes of a sample for each byte of its original"
    )

    def __str__(self) -> str:
        """Say it in words: JPEG of quality 90, longest side at most 400 pixels, upright, sRGB, without metadata."""
        quality = "" if self.format == "png" else f" of quality {self.quality}"
        sides = {"longest side": self.max_side, "shorter side": self.short_side}
        limits = "".join(f", {name} at most {limit} pixels" for name, limit in sides.items() if limit)
        return f"{_NAMES[self.format]}{quality}{limits}, upright, sRGB, without metadata"

    @property
    def how(self) -> Reencoded:
        """The size, format and quality."""
        return Reencoded(self.max_side, self.short_side, self.quality, self.format)


class Settings(Frozen):
    """The settings of a store. The same source and settings give the same store."""

    seed: int = Field(default=0, description="seed of the packed order")
    shard_bytes: Count = Field(description="upper bound of the samples' bytes in one shard", ge=1)
    codec: str = Field(default="none", description="codec of the Zarr chunks")
    chunk_bytes: Count = Field(default=0, description="bytes of one Zarr chunk; 0 for LMDB")
    pixels: StoredPixels | None = Field(default=None, description="None: the store holds encoded images")
    reencoded: StoredEncoding | None = Field(default=None, description="None: encoded images are the original files")

    @property
    def original(self) -> bool:
        """Whether the samples are the original files, byte for byte."""
        return self.pixels is None and self.reencoded is None

    @property
    def lenient(self) -> Settings:
        """The same settings, to compare a store with its source: stores of earlier versions took deeper images, too."""
        pixels = self.pixels and self.pixels.model_copy(update={"narrowed": True})
        return self.model_copy(update={"pixels": pixels})

    @property
    def itemsize(self) -> int:
        """Bytes of the items that codecs shuffle: those of a number of pixels, 1 for encoded images."""
        return self.numbers.itemsize

    @property
    def numbers(self) -> np.dtype[Any]:
        """Type of the elements of a Zarr store's array: that of the pixels, uint8 for encoded images."""
        return self.pixels.shape.numbers if self.pixels else np.dtype(np.uint8)
