"""Codecs of Zarr chunks, by name.

Chunks are encoded as plain Zarr readers expect them. gzip notices any damage when it decodes, because its CRC-32 covers
every byte. lz4, zstd and blosc (including blosc-zlib) notice only some damage, and otherwise decode into other bytes of
the same length. The CRC-32C of samples finds those.
"""

from __future__ import annotations

import difflib
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import numcodecs

from tiering.errors import UsageError

#: A codec as zarr.json describes it: its name and its configuration.
Description = dict[str, Any]

Encoded = bytes | memoryview

# As in zarr. With its own threads, blosc would be fast in measurements here, but slow in every worker.
numcodecs.blosc.use_threads = False

_COMPRESSORS: Final = ("lz4", "lz4hc", "zstd", "zlib", "blosclz")

#: In the order of their numbers in numcodecs. With items of one byte, "shuffle" changes nothing.
_SHUFFLES: Final = ("noshuffle", "shuffle", "bitshuffle")

#: Zarr's own default for uint8. Measured with blosc-lz4: pixels of photographs take 73 % with it and 85 % without; flat
#: drawings take 15 % and 4 %.
_SHUFFLE: Final = "bitshuffle"

#: How a name is written; the level, or acceleration, may be left out.
GRAMMAR: Final = (
    "none, lz4[:1..65537], zstd[:1..22], gzip[:0..9] or "
    f"blosc-<{'|'.join(_COMPRESSORS)}>[-<{'|'.join(_SHUFFLES)}>][:0..9]"
)

#: Version, version of the format within, flags, item size, plain bytes, bytes of a block, encoded bytes.
_BLOSC_HEADER: Final = struct.Struct("<BBBBiii")
_BLOSC_VERSION: Final = 2
_ZSTD_MAGIC: Final = 0xFD2FB528


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec of chunks, made by parse_codec. Codecs that do the same are equal.

    name: in its shortest form, "zstd" rather than "zstd:3".
    """

    name: str

    def encode(self, chunk: Encoded) -> bytes:
        """Return the encoded chunk. The same chunk always gives the same bytes.

        chunk: of less than 1.9 GiB. Raises ValueError for a chunk that is too long for the codec.
        """
        return _coder(self.name).encode(chunk)

    def decode(self, chunk: Encoded, length: int | None = None) -> Encoded:
        """Return the plain bytes of a chunk that `encode` or Zarr made; "none" returns the chunk itself.

        length: the bytes that it must contain; decoding then takes no more memory. By default the chunk decides.
        Raises ValueError for a chunk that does not decode. Not all damage is noticed, see the top of this module.
        """
        coder = _coder(self.name)
        with _damage(self.name, chunk):
            # numcodecs encodes an empty chunk into bytes that it refuses to decode.
            if chunk == _nothing(self.name):
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
        coder = _coder(self.name)
        if coder.length_of is None:
            out[:] = self.decode(chunk, len(out))
            return
        with _damage(self.name, chunk):
            # If a chunk is shorter than out, numcodecs would leave the rest of out unchanged.
            if (length := coder.length_of(chunk)) != len(out):
                raise ValueError(f"it holds {length:,} bytes")
            coder.decode(chunk, out)

    def compressors(self) -> list[Description] | None:
        """Return the `compressors` argument of zarr.create_array, as zarr.json names them; None for "none".

        zarr warns readers of an array with lz4 that the Zarr v3 specification does not have this codec.
        """
        described = _coder(self.name).described
        return None if described is None else [described]


def parse_codec(name: str) -> Codec:
    """Return the codec with a name, see GRAMMAR. Raises UsageError with similar names for an unknown one."""
    base, colon, option = name.partition(":")
    if base not in _FAMILIES:
        near = difflib.get_close_matches(base, _FAMILIES, cutoff=0.5)
        raise _unknown(name, repr(name), near or ["zstd", "none"])
    family = _FAMILIES[base]
    if not colon:
        return Codec(family.name)
    if not family.levels:
        raise _unknown(name, f"an option of {base}, which has none", [base])
    if not re.fullmatch("[0-9]{1,9}", option):
        raise _unknown(name, f"{option!r} where a whole number belongs", [base])
    level = int(option)
    if level not in family.levels:
        nearest = family.levels[0] if level < family.levels[0] else family.levels[-1]
        raise _unknown(name, f"{level} outside {family.levels[0]}..{family.levels[-1]}", [f"{base}:{nearest}"])
    return Codec(family.name if level == family.default else f"{family.name}:{level}")


def _unknown(name: str, found: str, near: list[str]) -> UsageError:
    return UsageError(f"codec {name!r}", expected=GRAMMAR, found=found, action=f"Did you mean {' or '.join(near)}?")


@contextmanager
def _damage(name: str, chunk: Encoded) -> Iterator[None]:
    """Turn the many kinds of errors that decoders raise into ValueError."""
    try:
        yield
    # Damaged lengths may ask for more memory than there is, or be negative.
    except (ValueError, RuntimeError, zlib.error, MemoryError, OverflowError, SystemError, struct.error) as error:
        reason = str(error) or "it asks for more memory than there is"
        raise ValueError(f"{name} cannot decode {len(chunk):,} bytes: {reason}") from error


class _Coder(Protocol):
    """The implementation of a codec.

    length_of: returns the plain length of an encoded chunk; None for a codec that cannot decode into existing memory.
    Such a codec decodes at most `most` bytes, or raises ValueError.
    """

    @property
    def described(self) -> Description | None: ...
    @property
    def length_of(self) -> Callable[[Encoded], int] | None: ...

    def encode(self, chunk: Encoded) -> bytes: ...
    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> Encoded: ...


class _Plain:
    described = None
    length_of = None

    def encode(self, chunk: Encoded) -> bytes:
        return bytes(chunk)

    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> Encoded:  # noqa: ARG002
        return chunk


class _Gzip:
    """gzip through zlib, because numcodecs would write the time into every chunk."""

    length_of = None

    def __init__(self, level: int) -> None:
        self._level = level
        self.described = _description("gzip", level=level)

    def encode(self, chunk: Encoded) -> bytes:
        return zlib.compress(chunk, self._level, wbits=16 + zlib.MAX_WBITS)

    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> bytes:  # noqa: ARG002
        decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        # One byte more, so that a chunk of the largest allowed length reaches its end. For zlib, 0 means no bound.
        plain = decoder.decompress(chunk, 0 if most is None else most + 1)
        if most is not None and len(plain) > most:
            raise ValueError(f"it holds more than {most:,} bytes")
        if not decoder.eof or decoder.unused_data:
            raise ValueError("it ends early" if not decoder.eof else "bytes follow its end")
        return plain


class _Numcodec:
    """A codec of numcodecs, and its description in zarr.json."""

    def __init__(self, codec: Any, described: Description, length_of: Callable[[Encoded], int]) -> None:
        self._codec = codec
        self.described = described
        self.length_of = length_of

    def encode(self, chunk: Encoded) -> bytes:
        encoded: bytes = self._codec.encode(chunk)
        return encoded

    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> bytes:  # noqa: ARG002
        plain: bytes = self._codec.decode(chunk, out)
        return plain


class _Blosc(_Numcodec):
    """blosc. It trusts a chunk's header, so check that first: otherwise it reads beyond the chunk, or leaves gaps."""

    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> bytes:  # noqa: ARG002
        if len(chunk) < _BLOSC_HEADER.size:
            raise ValueError("it is shorter than a header")
        version, _, _, item, plain, block, encoded = _BLOSC_HEADER.unpack_from(chunk)
        if version != _BLOSC_VERSION or item != 1 or encoded != len(chunk) or not 0 < block <= plain:
            raise ValueError(f"its header tells of {encoded:,} bytes in version {version}, items of {item}")
        return super().decode(chunk, out)


def _blosc_length(chunk: Encoded) -> int:
    return int(_BLOSC_HEADER.unpack_from(chunk)[4])


def _lz4_length(chunk: Encoded) -> int:
    """Return the length that numcodecs writes before the LZ4 data."""
    return int(struct.unpack_from("<i", chunk)[0])


def _zstd_length(chunk: Encoded) -> int:
    """Return the content size of a frame's header, which every frame of ours has (RFC 8878, section 3.1.1.1)."""
    magic, descriptor = struct.unpack_from("<IB", chunk)
    single, flag = descriptor >> 5 & 1, descriptor >> 6
    if magic != _ZSTD_MAGIC or not (single or flag):
        raise ValueError("it has no header that tells its length")
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    length = int(struct.unpack_from(("<B", "<H", "<I", "<Q")[flag], chunk, at)[0])
    return length + 256 if flag == 1 else length


def _description(name: str, **configuration: Any) -> Description:
    return {"name": name, "configuration": configuration}


@dataclass(frozen=True, slots=True)
class _Family:
    """Codecs that differ only in their level. name: in its shortest form. coder: makes the codec of a level."""

    name: str
    levels: range
    default: int
    coder: Callable[[int], _Coder]


def _blosc(compressor: str, shuffle: str) -> _Family:
    def coder(level: int) -> _Coder:
        # Items are of one byte: numcodecs takes that from the chunk.
        return _Blosc(
            numcodecs.Blosc(compressor, level, _SHUFFLES.index(shuffle)),
            _description("blosc", typesize=1, cname=compressor, clevel=level, shuffle=shuffle, blocksize=0),
            _blosc_length,
        )

    name = f"blosc-{compressor}" if shuffle == _SHUFFLE else f"blosc-{compressor}-{shuffle}"
    return _Family(name, range(10), 5, coder)


def _lz4(acceleration: int) -> _Coder:
    return _Numcodec(numcodecs.LZ4(acceleration), _description("numcodecs.lz4", acceleration=acceleration), _lz4_length)


def _zstd(level: int) -> _Coder:
    return _Numcodec(numcodecs.Zstd(level), _description("zstd", level=level, checksum=False), _zstd_length)


#: By the part of a name before the colon, in its short and long forms.
_FAMILIES: Final = {
    "none": _Family("none", range(0), 0, lambda _: _Plain()),
    "lz4": _Family("lz4", range(1, 65538), 1, _lz4),
    "zstd": _Family("zstd", range(1, 23), 3, _zstd),
    "gzip": _Family("gzip", range(10), 5, _Gzip),
    **{
        f"blosc-{compressor}{suffix}": _blosc(compressor, suffix.removeprefix("-") or _SHUFFLE)
        for compressor in _COMPRESSORS
        for suffix in ("", *(f"-{shuffle}" for shuffle in _SHUFFLES))
    },
}


@lru_cache(maxsize=64)
def _coder(name: str) -> _Coder:
    base, _, level = name.partition(":")
    family = _FAMILIES[base]
    return family.coder(int(level) if level else family.default)


@lru_cache(maxsize=64)
def _nothing(name: str) -> bytes:
    return _coder(name).encode(b"")
