"""Codecs of Zarr chunks: which there are, and which pays for the images at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numcodecs
from zarr.codecs import ZstdCodec

from tiering.errors import UsageError

#: By name: the level that zstd runs at. "none" keeps chunks as plain bytes, which a reader can map.
_ZSTD_LEVEL: Final = 3
CODECS: Final = ("none", "zstd")

#: A shuffled read of one sample decodes a whole chunk; a codec must halve the bytes to be worth that.
WORTH: Final = 0.5


def compressors(codec: str) -> list[ZstdCodec] | None:
    """Return what Zarr calls the compressors of an array. Raises UsageError for an unknown name."""
    if codec not in CODECS:
        raise UsageError(f"codec {codec!r}", expected=f"one of {', '.join(CODECS)}", found=repr(codec))
    return None if codec == "none" else [ZstdCodec(level=_ZSTD_LEVEL)]


def encoder(codec: str) -> Any:
    """Return the numcodecs codec that writes a chunk, or None."""
    compressors(codec)
    return None if codec == "none" else numcodecs.Zstd(level=_ZSTD_LEVEL)


def saving(images: Sequence[bytes], codec: str = "zstd") -> float:
    """Return the share of bytes that a codec saves on real images packed together, in (-inf, 1)."""
    together = b"".join(images)
    return 1 - len(encoder(codec).encode(together)) / len(together) if together else 0.0


def choose_codec(images: Sequence[bytes]) -> str:
    """Choose a codec by measuring it on a sample of the encoded images.

    JPEG, PNG and WebP are compressed already and stay as they are; drawings and masks as BMP, PPM or raw TIFF shrink
    to a fraction.
    """
    return "zstd" if saving(images) >= WORTH else "none"
