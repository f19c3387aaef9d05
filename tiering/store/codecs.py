"""Codecs of Zarr chunks, by name.

Chunks are encoded as plain Zarr readers expect them. gzip notices any damage when it decodes, because its CRC-32 covers
every byte. lz4, zstd and blosc (including blosc-zlib) notice only some damage, and otherwise decode into other bytes of
the same length. The CRC-32C of samples finds those.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numcodecs

from tiering.errors import UsageError
from tiering.store.coders import (
    Blosc,
    Coder,
    Description,
    Encoded,
    Gzip,
    Numcodec,
    Plain,
    damage,
    description,
    lz4_length,
    zstd_length,
)

_COMPRESSORS: Final = ("lz4", "lz4hc", "zstd", "zlib", "blosclz")

#: In the order of their numbers in numcodecs. With items of one byte, "shuffle" changes nothing.
_SHUFFLES: Final = ("noshuffle", "shuffle", "bitshuffle")

#: Zarr's own default for uint8. Measured with blosc-lz4: pixels of photographs take 73 % with it and 85 % without; flat
#: drawings take 15 % and 4 %.
_SHUFFLE: Final = "bitshuffle"


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec of chunks, made by parse_codec. Codecs that do the same are equal.

    name: in its shortest form, "zstd" rather than "zstd:3". item: bytes of the items that blosc shuffles.
    """

    name: str
    item: int = 1

    def encode(self, chunk: Encoded) -> bytes:
        """Return the encoded chunk. The same chunk always gives the same bytes.

        chunk: of less than 1.9 GiB. Raises ValueError for a chunk that is too long for the codec.
        """
        return _coder(self.name, self.item).encode(chunk)

    def decode(self, chunk: Encoded, length: int | None = None) -> Encoded:
        """Return the plain bytes of a chunk that `encode` or Zarr made; "none" returns the chunk itself.

        length: the bytes that it must contain; decoding then takes no more memory. By default the chunk decides.
        Raises ValueError for a chunk that does not decode. Not all damage is noticed, see the top of this module.
        """
        coder = _coder(self.name, self.item)
        with damage(self.name, chunk):
            # numcodecs encodes an empty chunk into bytes that it refuses to decode.
            if chunk == _nothing(self.name, self.item):
                plain: Encoded = b""
            else:
                if length is not None and coder.length_of is not None and (found := coder.length_of(chunk)) != length:
                    raise ValueError(f"it holds {found:,} bytes")
                plain = coder.decode(chunk, most=length)
            if length is not None and len(plain) != length:
                raise ValueError(f"it holds {len(plain):,} bytes")
            return plain

    def decode_into(self, chunk: Encoded, out: memoryview) -> None:
        """Decode a chunk into existing memory, which it must fill exactly. out: writable bytes.

        Raises ValueError as decode does, and for a chunk of a different length.
        """
        coder = _coder(self.name, self.item)
        if coder.length_of is None:
            out[:] = self.decode(chunk, len(out))
            return
        with damage(self.name, chunk):
            # If a chunk is shorter than out, numcodecs would leave the rest of out unchanged.
            if (length := coder.length_of(chunk)) != len(out):
                raise ValueError(f"it holds {length:,} bytes")
            coder.decode(chunk, out)

    def compressors(self) -> list[Description] | None:
        """Return the `compressors` argument of zarr.create_array, as zarr.json names them; None for "none".

        zarr warns readers of an array with lz4 that the Zarr v3 specification does not have this codec.
        """
        described = _coder(self.name, self.item).described
        return None if described is None else [described]


def parse_codec(name: str, item: int = 1) -> Codec:
    """Return the codec with a name. Raises UsageError with similar names for an unknown one.

    name: none, lz4[:1..65537], zstd[:1..22], gzip[:0..9] or blosc-COMPRESSOR[-SHUFFLE][:0..9], of _COMPRESSORS and
    _SHUFFLES. The level, or acceleration, may be left out.
    item: bytes of one number in the chunks, which have whole numbers. blosc shuffles by it.
    """
    base, colon, option = name.partition(":")
    if base not in _FAMILIES:
        near = difflib.get_close_matches(base, _FAMILIES, n=2, cutoff=0.5)
        raise _unknown(
            name, "there is no such codec", near or ["zstd", "none"],
            f" Codecs are {', '.join(NAMES[:-1])} and {NAMES[-1]}; a level may follow, as in zstd:3.",
        )  # fmt: skip
    family = _FAMILIES[base]
    if not colon:
        return Codec(family.name, item)
    if not family.levels:
        raise _unknown(name, f"{base} takes no level", [base])
    if not re.fullmatch("[0-9]{1,9}", option):
        raise _unknown(name, f"{option[:20]!r} is not a level: {base} takes {_levels(family)}", [base])
    level = int(option)
    if level not in family.levels:
        nearest = family.levels[0] if level < family.levels[0] else family.levels[-1]
        raise _unknown(name, f"{base} takes {_levels(family)}", [f"{base}:{nearest}"])
    return Codec(family.name if level == family.default else f"{family.name}:{level}", item)


def _unknown(name: str, found: str, near: list[str], known: str = "") -> UsageError:
    action = f"Did you mean {' or '.join(near)}?{known}"
    return UsageError(f"codec {reprlib.repr(name)}", found=found, action=action)


def _levels(family: _Family) -> str:
    return f"a level from {family.levels[0]} to {family.levels[-1]}"


@dataclass(frozen=True, slots=True)
class _Family:
    """Codecs that differ only in their level. name: in its shortest form. coder: makes the codec of a level."""

    name: str
    levels: range
    default: int
    coder: Callable[[int, int], Coder]


def _blosc(compressor: str, shuffle: str) -> _Family:
    def coder(level: int, item: int) -> Coder:
        return Blosc(
            numcodecs.Blosc(compressor, level, _SHUFFLES.index(shuffle)),
            description("blosc", typesize=item, cname=compressor, clevel=level, shuffle=shuffle, blocksize=0),
            item,
        )

    name = f"blosc-{compressor}" if shuffle == _SHUFFLE else f"blosc-{compressor}-{shuffle}"
    return _Family(name, range(10), 5, coder)


def _lz4(acceleration: int, _: int) -> Coder:
    return Numcodec(numcodecs.LZ4(acceleration), description("numcodecs.lz4", acceleration=acceleration), lz4_length)


def _zstd(level: int, _: int) -> Coder:
    return Numcodec(numcodecs.Zstd(level), description("zstd", level=level, checksum=False), zstd_length)


#: By the part of a name before the colon, in its short and long forms.
_FAMILIES: Final = {
    "none": _Family("none", range(0), 0, lambda *_: Plain()),
    "lz4": _Family("lz4", range(1, 65538), 1, _lz4),
    "zstd": _Family("zstd", range(1, 23), 3, _zstd),
    "gzip": _Family("gzip", range(10), 5, lambda level, _: Gzip(level)),
    **{
        f"blosc-{compressor}{suffix}": _blosc(compressor, suffix.removeprefix("-") or _SHUFFLE)
        for compressor in _COMPRESSORS
        for suffix in ("", *(f"-{shuffle}" for shuffle in _SHUFFLES))
    },
}

#: The codecs as their names are shown: without a level, and without shuffles.
NAMES: Final = tuple(name for name in _FAMILIES if name.count("-") < 2)


@lru_cache(maxsize=64)
def _coder(name: str, item: int = 1) -> Coder:
    base, _, level = name.partition(":")
    family = _FAMILIES[base]
    return family.coder(int(level) if level else family.default, item)


@lru_cache(maxsize=64)
def _nothing(name: str, item: int) -> bytes:
    return _coder(name, item).encode(b"")
