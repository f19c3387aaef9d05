"""concat: several stores one after another, as one store."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import UsageError
from tiering.sources.labels.classes import LabelsWarning
from tiering.storage.location import Location
from tiering.store.field_values import no_field
from tiering.store.indices import as_indices, inside
from tiering.store.joined_fields import JoinedRuns, joined_values, merged_fields
from tiering.store.joined_index import begins_of, joined_index, parts_of, renumbered
from tiering.store.manifest import Manifest
from tiering.store.merged import (
    changed_numbers,
    merged_classes,
    merged_manifest,
    merged_splits,
    new_numbers,
    refuse_mixed_images,
)
from tiering.store.open import open_store
from tiering.store.protocol import ByteRanges, Images, Store, StoreBase, Values
from tiering.store.range_store import RangeStore
from tiering.store.sample import Buffer
from tiering.store.schema import LABEL
from tiering.store.selection import Selection, mean_bytes, selection_of, unselected


def concat(*stores: Store | str | os.PathLike[str]) -> ConcatStore:
    """Join stores into one: the samples of the first, then those of the second, and so on. Nothing is copied.

    Classes and splits are merged by name. A class keeps the number of the first store that has it, unless a class of an
    earlier store has that number; then it gets the next number after the largest, and a warning says so.

    Keys may repeat. `store.part_of(indices)` tells from which store a sample is.

    Args:
        *stores: Stores, their paths or URLs. All hold encoded images, or all hold pixels of one shape. Fields are
            merged by name, too: a sample of a store that lacks a field has no value of it.

    Returns:
        A store. Closing it closes all parts.

    Raises:
        UsageError: For no store, or for images or fields of different kinds.
        TieringError: Further errors of open_store.

    Example:
        with tiering.concat("photos.lmdb", "drawings.zarr") as store:
            for batch in tiering.Loader(store, 256):
                ...
    """
    return concatenated(stores, stacklevel=3)


def concatenated(stores: Iterable[Store | str | os.PathLike[str]], stacklevel: int) -> ConcatStore:
    """Return what `concat` returns. stacklevel: of the caller to whom a warning is shown."""
    with ExitStack() as opened:
        parts: list[Store] = []
        for each in stores:
            if isinstance(each, str | os.PathLike):
                parts.append(opened.enter_context(open_store(each)))
            else:
                parts += each.parts if isinstance(each, ConcatStore) else [each]
        if not parts:
            raise UsageError("stores", rule="needs at least one store")
        found = ConcatStore(parts)
        opened.pop_all()
    if changed := changed_numbers(parts, merged_classes([unselected(part).manifest for part in parts])):
        message = f"The stores number their classes differently. Together, they are merged by name: {changed}."
        warnings.warn(message, LabelsWarning, stacklevel=stacklevel)
    return found


class ConcatStore(StoreBase):
    """Several stores as one: see `concat`.

    Attributes:
        parts: The stores, in order.
        begins: int64 (parts + 1,): the number of the first sample of each part, and the number of all samples.
    """

    def __init__(self, parts: Sequence[Store]) -> None:
        self.parts = tuple(parts)
        self.begins = begins_of([len(part) for part in parts])
        refuse_mixed_images(parts)
        # Those of the whole stores: a selection would add up the sizes of its samples.
        manifests = [unselected(part).manifest for part in parts]
        self._classes, self._splits = merged_classes(manifests), merged_splits(manifests)
        self.fields = merged_fields(parts)
        labels = [renumbered(new_numbers(manifest, self._classes)) for manifest in manifests]
        numbers = [{old: self._splits.index(name) for old, name in enumerate(each.splits)} for each in manifests]
        self.index = joined_index([part.index for part in parts], labels, [renumbered(each) for each in numbers])
        # It has "://" in it, and so counts as remote, if one of the parts does.
        self.location = Location(" + ".join(part.location.url for part in parts))
        self.views = all(part.views for part in parts)
        self.block = max(part.block for part in parts)

    def __len__(self) -> int:
        return int(self.begins[-1])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the parts."""
        return ConcatStore, (self.parts,)

    @cached_property
    def manifest(self) -> Manifest:  # type: ignore[override]
        """The manifests of the parts, merged."""
        return merged_manifest(self.parts, self._classes, self._splits, list(self.fields.values())[1:])

    @cached_property
    def runs(self) -> Mapping[str, Store]:  # type: ignore[override]
        """For each field whose values are bytes, a store of these values."""
        return {name: JoinedRuns(self, field) for name, field in self.fields.items() if not field.numeric}

    @property
    def selection(self) -> str | None:
        """A digest of the selections among the parts; None if there is none."""
        found = [selection_of(part) for part in self.parts]
        told = " ".join(f"{len(part)}:{digest or ''}" for part, digest in zip(self.parts, found, strict=True))
        return hashlib.sha256(told.encode()).hexdigest()[:32] if any(found) else None

    @cached_property
    def mean_bytes(self) -> int:
        """About the mean size of its samples in bytes, at least 1."""
        return max(1, sum(mean_bytes(part) * len(part) for part in self.parts) // len(self))

    def part_of(self, indices: IndexArray) -> IndexArray:
        """Return the part that each sample is from, as a number in `parts`: int64 (n,).

        Args:
            indices: int64 (n,), the numbers of the samples.
        """
        found: IndexArray = np.searchsorted(self.begins, as_indices(indices, len(self)), side="right") - 1
        return found

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return many samples in the given order, as Store.read does."""
        indices = as_indices(indices, len(self))
        pieces = list(parts_of(self.begins, indices))
        if len(pieces) <= 1:
            part, _, numbers = pieces[0] if pieces else (0, indices, indices)
            return self.parts[part].read(numbers, out)
        encoded: list[Buffer] = [b""] * len(indices)
        for part, places, numbers in pieces:
            images = self.parts[part].read(numbers)
            if isinstance(images, list):
                for place, image in zip(places.tolist(), images, strict=True):
                    encoded[place] = image
            else:
                out = np.empty((len(indices), *images.shape[1:]), images.dtype) if out is None else out
                out[places] = images
        return encoded if out is None else out

    def _values(self, name: str, indices: IndexArray) -> Values:
        """Return one field of samples whose numbers were checked; no value where a part lacks the field."""
        if (field := self.fields.get(name)) is None:
            raise no_field(name, self.fields)
        if name == LABEL.name:
            labels: Values = self.index.label[indices]
            return labels
        return joined_values(self, field, indices)

    def byte_ranges(self, indices: IndexArray) -> ByteRanges | None:
        """Return where samples are in `files()`; None unless all parts are local and have byte ranges."""
        indices = as_indices(indices, len(self))
        of_part = {part: (places, numbers) for part, places, numbers in parts_of(self.begins, indices)}
        nothing = np.empty(0, dtype=np.int64)
        found = ByteRanges(*(np.empty(len(indices), dtype=np.int64) for _ in range(3)))
        files = 0
        for part, store in enumerate(self.parts):
            places, numbers = of_part.get(part, (nothing, nothing))
            ranges = store.byte_ranges(numbers)
            if ranges is None or store.location.local is None:
                return None
            found.file[places] = ranges.file + files
            found.offset[places], found.size[places] = ranges.offset, ranges.size
            files += len(store.files())
        return found

    def announce(self, indices: IndexArray) -> None:
        """Announce that these samples will be read soon."""
        for part, _, numbers in parts_of(self.begins, inside(np.asarray(indices), len(self))):
            self.parts[part].announce(numbers)

    @property
    def resident(self) -> bool:
        """Whether nothing needs to be announced to any part."""
        return all(part.resident for part in self.parts)

    def files(self) -> list[Path]:
        """Return the local files of all parts."""
        return [path for part in self.parts for path in part.files()]

    def close(self) -> None:
        """Close all parts. Views that are still referenced stay valid."""
        for part in self.parts:
            part.close()


def part_with(store: Store, index: int) -> tuple[Store, int]:
    """Return the store that a sample is read from, behind selections and concatenations, and its number there."""
    at = np.array([index], dtype=np.int64)
    if isinstance(store, Selection):
        return part_with(store.origin, int(store.in_origin(at)[0]))
    if isinstance(store, ConcatStore):
        part = int(store.part_of(at)[0])
        return part_with(store.parts[part], index - int(store.begins[part]))
    return store, index


def parts_behind(store: Store) -> Iterator[Store]:
    """Yield the stores that a store reads from, behind selections and concatenations."""
    whole = unselected(store)
    if isinstance(whole, ConcatStore):
        for part in whole.parts:
            yield from parts_behind(part)
    else:
        yield whole


def pixel_views(store: Store, indices: IndexArray) -> list[PixelArray] | None:
    """Return the pixels of samples as views of mapped files, behind selections and concatenations.

    Args:
        store: Any store.
        indices: int64 (n,), the numbers of the samples.

    Returns:
        An array (height, width, channels) for each sample; None where `read` must copy or decode.

    Raises:
        StoreError: As `read` does.
    """
    if isinstance(store, Selection):
        return pixel_views(store.origin, store.in_origin(indices))
    if not isinstance(store, ConcatStore):
        return store.pixel_views(indices) if isinstance(store, RangeStore) else None
    found: dict[int, PixelArray] = {}
    for part, places, numbers in parts_of(store.begins, as_indices(indices, len(store))):
        views = pixel_views(store.parts[part], numbers)
        if views is None:
            return None
        found |= zip(places.tolist(), views, strict=True)
    return [found[place] for place in range(len(found))]
