"""The Store protocol, and the types that a store returns."""

from __future__ import annotations

import operator
import os
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.images.pixels import PixelShape
from tiering.storage.location import Location
from tiering.store.index import Index
from tiering.store.manifest import Manifest

Buffer = bytes | memoryview

#: Bytes of a block in a store without encoded chunks. Reading them takes a few milliseconds, much more than a seek.
BLOCK_BYTES: Final = 8 << 20

#: Many samples: encoded files, or pixels as uint8 of shape (n, height, width, channels).
Images = list[Buffer] | PixelArray


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: its bytes or pixels, its label and its key.

    Attributes:
        image: The original encoded bytes, or pixels as uint8 (height, width, channels). If the store is a mapped file,
            encoded bytes are a view of it, which is valid as long as it is referenced.
        label: Number of its class, see Manifest.classes; -1 if it has none.
        key: Path of the original relative to the dataset, with POSIX separators. Bytes that are not UTF-8 become
            surrogate escapes, so that os.fsencode(key) is byte-exact.
    """

    image: Buffer | PixelArray
    label: int
    key: str


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """Byte ranges of samples, in parallel arrays of int64. file: number in `Store.files()`. offset, size: bytes."""

    file: IndexArray
    offset: IndexArray
    size: IndexArray


class Store(Protocol):
    """Random access to the samples of a dataset, from any number of threads.

    Attributes:
        location: The path or URL of the store.
        manifest: The description of the store: its classes, splits, settings and files.
        index: One column for each property of the samples.
        views: Whether `read` returns views of mapped files. Then it costs almost nothing, and does not wait for samples
            that were announced. Otherwise, reading is work for threads.
        block: Number of neighbouring samples that are cheap to read together: those of a chunk, or BLOCK_BYTES of them.
    """

    location: Location
    manifest: Manifest
    index: Index
    views: bool
    block: int

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, i: int) -> Sample:
        """Return one sample; negative numbers count from the end. Raises IndexError, or TypeError for a non-integer."""
        ...

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return many samples in the given order; encoded ones as views if that saves a copy.

        Args:
            indices: Integers in [0, len), as an array, a list or a range.
            out: An array for pixels, uint8 (n, height, width, channels), contiguous; by default a new one.

        Raises:
            IndexError: An index is outside [0, len).
            TypeError: The indices are not integers.
        """
        ...

    def byte_ranges(self, indices: IndexArray) -> ByteRanges | None:
        """Return where samples are in `files()`; None if they are not stored as plain byte ranges."""
        ...

    def announce(self, indices: IndexArray) -> None:
        """Announce that these samples will be read soon. This is a hint: it does not wait for data, and never fails."""
        ...

    def files(self) -> list[Path]:
        """Return the local files that hold the samples; none for a remote store."""
        ...

    def close(self) -> None:
        """Close files and maps. Views that are still referenced stay valid."""
        ...

    def __enter__(self) -> Self:
        """Return the store, to be closed at the end of a `with` block."""
        ...

    def __exit__(self, *error: object) -> None:
        """Close the store."""
        ...


class StoreBase:
    """The parts that all stores share: `store[i]`, `with` blocks and a `repr`."""

    location: Location
    manifest: Manifest
    index: Index

    def __len__(self) -> int:
        return self.manifest.samples

    def __getitem__(self, i: int) -> Sample:
        n = len(self)
        try:
            number = None if isinstance(i, bool) else operator.index(i)
        except TypeError:
            number = None
        if number is None:
            raise TypeError(f"a store's index must be an integer, got {reprlib.repr(i)} ({type(i).__name__})")
        if not -n <= number < n:
            raise IndexError(f"sample {number} of a store of {n:,}")
        at = np.array([number % n], dtype=np.int64)
        (image,) = self.read(at)
        return Sample(image, int(self.index.label[at[0]]), os.fsdecode(self.index.keys(at)[0]))

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return many samples, as Store.read does."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.location)!r}, {self.manifest.kind}, {len(self):,} samples)"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close files and maps. Views that are still referenced stay valid."""


def as_indices(indices: Any, samples: int) -> IndexArray:
    """Return the indices of a store with this many samples as int64 (n,); takes about 1 us.

    Raises TypeError if they are not a list of integers, IndexError for one outside [0, samples). NumPy itself would
    turn a mask into numbers, and count negative indices from the end of the wrong array.
    """
    try:
        found = np.asarray(indices)
    except ValueError:  # lists of different lengths
        found = np.empty((0, 0))
    if found.ndim != 1:
        raise TypeError(f"a store takes a list of indices, got {reprlib.repr(indices)} ({type(indices).__name__})")
    if found.size and found.dtype.kind not in "iu":
        raise TypeError(f"a store's indices must be integers, got {reprlib.repr(indices)} ({found.dtype})")
    asked: IndexArray = np.ascontiguousarray(found, dtype=np.int64)
    # As unsigned numbers, negative indices are huge: one pass finds both kinds.
    if asked.size and int(asked.view(np.uint64).max()) >= samples:
        outside = (asked < 0) | (asked >= samples)
        raise IndexError(f"sample {found[int(np.argmax(outside))]} of a store of {samples:,}")
    return asked


def images_of(raw: Sequence[Buffer], shape: PixelShape | None, out: PixelArray | None) -> Images:
    """Return raw samples as a list if they are encoded files, or copied into one array if they are pixels."""
    if shape is None:
        return list(raw)
    pixels = np.empty((len(raw), *shape.sides), dtype=np.uint8) if out is None else out
    rows = pixels.reshape(len(raw), shape.nbytes)
    for row, data in enumerate(raw):
        rows[row] = np.frombuffer(data, dtype=np.uint8)
    return pixels


def samples_in(size: int, manifest: Manifest) -> int:
    """Return how many samples of the mean size fit into that many bytes, at least one."""
    return max(1, size * manifest.samples // max(1, manifest.image_bytes))


def shape_of(manifest: Manifest) -> PixelShape | None:
    """Return the shape of a store's pixels, or None if it holds encoded files."""
    pixels = manifest.settings.pixels if manifest.settings else None
    return pixels.shape if pixels else None
