"""The Store protocol, and the types that a store returns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from tiering.arrays import AnyArray, IndexArray, PixelArray
from tiering.images.shape import PixelShape
from tiering.storage.location import Location
from tiering.store.field_values import no_field, numbers_of, raw_values, single, values_of
from tiering.store.index import Index
from tiering.store.indices import as_index, as_indices
from tiering.store.manifest import Manifest
from tiering.store.sample import Buffer, Sample
from tiering.store.schema import LABEL, Field
from tiering.store.selectable import Selectable
from tiering.store.settings import StoredPixels
from tiering.units import counted

if TYPE_CHECKING:
    from tiering.store.selectable import Where
    from tiering.store.selection import Selection

#: Many samples: encoded files, or pixels of shape (n, height, width, channels) and the store's type.
Images = list[Buffer] | PixelArray

#: Many values of a field: an array of numbers, or a list.
Values = AnyArray | list[Any]


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
        fields: The fields of its samples by name, with the label first.
        runs: For each field whose values are bytes, a store of these values, with the same samples.
        views: Whether `read` returns views of mapped files. Then it costs almost nothing, and does not wait for samples
            that were announced. Otherwise, reading is work for threads.
        block: Number of neighbouring samples that are cheap to read together: those of a chunk, or BLOCK_BYTES of them.
    """

    location: Location
    index: Index
    fields: Mapping[str, Field]
    views: bool
    block: int

    @property
    def manifest(self) -> Manifest:
        """The description of the store."""
        ...

    @property
    def runs(self) -> Mapping[str, Store]:
        """Stores of the values of fields."""
        ...

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
            out: A contiguous array for pixels, (n, height, width, channels) of the store's type; by default a new one.

        Raises:
            IndexError: An index is outside [0, len).
            TypeError: The indices are not integers.
        """
        ...

    def read_field(self, name: str, indices: IndexArray) -> Values:
        """Return one field of many samples in the given order. It reads neither images nor other fields.

        Args:
            name: One of `fields`.
            indices: Integers in [0, len), as an array, a list or a range.

        Returns:
            Numbers as an array (n,), vectors as (n, *shape): masked arrays if the field is nullable. Other kinds as a
            list, with None for a sample without a value: str, parsed JSON, bytes, encoded images (bytes or views), and
            arrays.

        Raises:
            UsageError: The store has no such field.
            IndexError: An index is outside [0, len).
        """
        ...

    def read_fields(self, names: Iterable[str], indices: IndexArray) -> dict[str, Values]:
        """Return some fields of the same samples by name. A small field costs half as much as with `read_field`."""
        ...

    def byte_ranges(self, indices: IndexArray) -> ByteRanges | None:
        """Return where samples are in `files()`; None if they are not stored as plain byte ranges."""
        ...

    def announce(self, indices: IndexArray) -> None:
        """Announce that these samples will be read soon. This is a hint: it does not wait for data, and never fails."""
        ...

    @property
    def resident(self) -> bool:
        """Whether nothing needs to be announced: the page cache held all files when it was looked at, a second ago."""
        ...

    def files(self) -> list[Path]:
        """Return the local files that hold the samples; none for a remote store."""
        ...

    def select(self, where: Where | None = None, *, split: str | Sequence[str] | None = None) -> Selection:
        """Select samples by their fields, keys or numbers, as Selectable.select does."""
        ...

    def sample(self, amount: float, *, seed: int = 0) -> Selection:
        """Select samples at random, as Selectable.sample does."""
        ...

    def split(
        self, *, seed: int = 0, stratify: str | None = None, group: str | None = None, **shares: float
    ) -> dict[str, Selection]:
        """Divide the samples at random, as Selectable.split does."""
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


class StoreBase(Selectable):
    """The parts that all stores share: `store[i]`, fields, `with` blocks and a `repr`."""

    location: Location
    manifest: Manifest
    index: Index
    fields: Mapping[str, Field] = MappingProxyType({LABEL.name: LABEL})
    runs: Mapping[str, Store] = MappingProxyType({})

    def __len__(self) -> int:
        return self.manifest.samples

    def __getitem__(self, i: int) -> Sample:
        at = np.array([as_index(i, len(self))], dtype=np.int64)
        (image,) = self.read(at)
        label, key = int(self.index.label[at[0]]), os.fsdecode(self.index.keys(at)[0])
        if len(self.fields) == 1:
            return Sample(image, label, key, index=int(at[0]))
        values = {name: single(self.read_field(name, at)) for name in self.fields if name != LABEL.name}
        return Sample(image, label, key, values, int(at[0]))

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return many samples, as Store.read does."""
        raise NotImplementedError

    def read_field(self, name: str, indices: IndexArray) -> Values:
        """Return one field of many samples, as Store.read_field does."""
        return self._values(name, as_indices(indices, len(self)))

    def read_fields(self, names: Iterable[str], indices: IndexArray) -> dict[str, Values]:
        """Return some fields of the same samples, as Store.read_fields does."""
        indices = as_indices(indices, len(self))
        return {name: self._values(name, indices) for name in names}

    def _values(self, name: str, indices: IndexArray) -> Values:
        """Return one field of samples whose numbers were checked. Raises UsageError if the store has no such field."""
        if (found := self.fields.get(name)) is None:
            raise no_field(name, self.fields)
        if name == LABEL.name:
            return self.index.label[indices]
        if found.numeric:
            return numbers_of(self.index, found, indices)
        return values_of(found, raw_values(self.runs[name], found, indices), self.location)

    @property
    def resident(self) -> bool:
        """Whether nothing needs to be announced, as Store.resident; False for a store that does not look."""
        return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.location)!r}, {self.manifest.kind}, {counted(len(self), 'sample')})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close files and maps. Views that are still referenced stay valid."""


def images_of(raw: Sequence[Buffer], shape: PixelShape | None, out: PixelArray | None) -> Images:
    """Return raw samples as a list if they are encoded files, or copied into one array if they are pixels."""
    if shape is None:
        return list(raw)
    pixels = np.empty((len(raw), *shape.sides), shape.numbers) if out is None else out
    rows = bytes_of(pixels, shape)
    for row, data in enumerate(raw):
        rows[row] = np.frombuffer(data, dtype=np.uint8)
    return pixels


def bytes_of(pixels: PixelArray, shape: PixelShape) -> npt.NDArray[np.uint8]:
    """Return contiguous pixels of many samples as a view of their bytes: uint8 (n, shape.nbytes)."""
    return pixels.reshape(len(pixels), shape.nbytes // shape.itemsize).view(np.uint8)


def samples_in(size: int, manifest: Manifest) -> int:
    """Return how many samples of the mean size fit into that many bytes, at least one."""
    return max(1, size * manifest.samples // max(1, manifest.image_bytes))


def pixels_of(manifest: Manifest) -> StoredPixels | None:
    """Return what a store's pixels are, or None if it holds encoded files."""
    return manifest.settings.pixels if manifest.settings else None


def shape_of(manifest: Manifest) -> PixelShape | None:
    """Return the shape of a store's pixels, or None if it holds encoded files."""
    pixels = pixels_of(manifest)
    return pixels.shape if pixels else None
