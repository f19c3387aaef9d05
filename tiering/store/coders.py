"""The implementations of codecs: what numcodecs and zlib do to one chunk, with every damaged header noticed first."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import numcodecs
import numpy as np

#: A codec as zarr.json describes it: its name and its configuration.
Description = dict[str, Any]

Encoded = bytes | memoryview

# As in zarr. With its own threads, blosc would be fast in measurements here, but slow in every worker.
numcodecs.blosc.use_threads = False

#: Version, version of the format within, flags, item size, plain bytes, bytes of a block, encoded bytes.
_BLOSC_HEADER: Final = struct.Struct("<BBBBiii")
_BLOSC_VERSION: Final = 2
_ZSTD_MAGIC: Final = 0xFD2FB528


@contextmanager
def damage(name: str, chunk: Encoded) -> Iterator[None]:
    """Turn the many kinds of errors that decoders raise into ValueError."""
    try:
        yield
    # Damaged lengths may ask for more memory than there is, or be negative.
    except (ValueError, RuntimeError, zlib.error, MemoryError, OverflowError, SystemError, struct.error) as error:
        reason = str(error) or "it asks for more memory than there is"
        raise ValueError(f"{name} cannot decode {len(chunk):,} bytes: {reason}") from error


class Coder(Protocol):
    """The implementation of a codec.

    length_of: returns the plain length of an encoded chunk; None for a codec that cannot decode into existing memory.
    Such a codec decodes at most `most` bytes, or raises ValueError.
    """

    @property
    def described(self) -> Description | None:
        """Return the codec as zarr.json describes it; None for no codec."""
        ...

    @property
    def length_of(self) -> Callable[[Encoded], int] | None:
        """Return the function of the plain length of an encoded chunk."""
        ...

    def encode(self, chunk: Encoded) -> bytes:
        """Return the encoded chunk."""
        ...

    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> Encoded:
        """Return the plain chunk, in `out` if that is given."""
        ...


class Plain:
    """No codec."""

    described = None
    length_of = None

    def encode(self, chunk: Encoded) -> bytes:
        """Return the encoded chunk."""
        return bytes(chunk)

    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> Encoded:  # noqa: ARG002
        """Return the plain chunk."""
        return chunk


class Gzip:
    """gzip through zlib, because numcodecs would write the time into every chunk."""

    length_of = None

    def __init__(self, level: int) -> None:
        self._level = level
        self.described = description("gzip", level=level)

    def encode(self, chunk: Encoded) -> bytes:
        """Return the encoded chunk."""
        return zlib.compress(chunk, self._level, wbits=16 + zlib.MAX_WBITS)

    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> bytes:  # noqa: ARG002
        """Return the plain chunk."""
        decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        # One byte more, so that a chunk of the largest allowed length reaches its end. For zlib, 0 means no bound.
        plain = decoder.decompress(chunk, 0 if most is None else most + 1)
        if most is not None and len(plain) > most:
            raise ValueError(f"it holds more than {most:,} bytes")
        if not decoder.eof or decoder.unused_data:
            raise ValueError("it ends early" if not decoder.eof else "bytes follow its end")
        return plain


class Numcodec:
    """A codec of numcodecs, and its description in zarr.json."""

    def __init__(self, codec: Any, described: Description, length_of: Callable[[Encoded], int]) -> None:
        self._codec = codec
        self.described = described
        self.length_of = length_of

    def encode(self, chunk: Encoded) -> bytes:
        """Return the encoded chunk."""
        encoded: bytes = self._codec.encode(self._items(chunk))
        return encoded

    def _items(self, chunk: Encoded) -> Any:
        """Return a chunk as the codec takes it."""
        return chunk

    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> bytes:  # noqa: ARG002
        """Return the plain chunk."""
        plain: bytes = self._codec.decode(chunk, out)
        return plain


class Blosc(Numcodec):
    """blosc. It trusts a chunk's header, so check that first: otherwise it reads beyond the chunk, or leaves gaps.

    item: bytes of an item.
    """

    def __init__(self, codec: Any, described: Description, item: int) -> None:
        super().__init__(codec, described, _blosc_length)
        self._item = item

    def _items(self, chunk: Encoded) -> Any:
        # numcodecs takes the size of an item from the chunk.
        return chunk if self._item == 1 else np.frombuffer(chunk, f"<u{self._item}")

    def decode(self, chunk: Encoded, out: memoryview | None = None, most: int | None = None) -> bytes:  # noqa: ARG002
        """Return the plain chunk."""
        if len(chunk) < _BLOSC_HEADER.size:
            raise ValueError("it is shorter than a header")
        version, _, _, item, plain, block, encoded = _BLOSC_HEADER.unpack_from(chunk)
        if version != _BLOSC_VERSION or item != self._item or encoded != len(chunk) or not 0 < block <= plain:
            raise ValueError(f"its header tells of {encoded:,} bytes in version {version}, items of {item}")
        return super().decode(chunk, out)


def _blosc_length(chunk: Encoded) -> int:
    return int(_BLOSC_HEADER.unpack_from(chunk)[4])


def lz4_length(chunk: Encoded) -> int:
    """Return the length that numcodecs writes before the LZ4 data."""
    return int(struct.unpack_from("<i", chunk)[0])


def zstd_length(chunk: Encoded) -> int:
    """Return the content size of a frame's header, which every frame of ours has (RFC 8878, section 3.1.1.1)."""
    magic, descriptor = struct.unpack_from("<IB", chunk)
    single, flag = descriptor >> 5 & 1, descriptor >> 6
    if magic != _ZSTD_MAGIC or not (single or flag):
        raise ValueError("it has no header that tells its length")
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    length = int(struct.unpack_from(("<B", "<H", "<I", "<Q")[flag], chunk, at)[0])
    return length + 256 if flag == 1 else length


def description(name: str, **configuration: Any) -> Description:
    """Return a codec and its configuration as zarr.json describes them."""
    return {"name": name, "configuration": configuration}
