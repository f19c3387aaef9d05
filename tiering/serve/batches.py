"""Batch: the samples that a loader hands out together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray, PixelArray
from tiering.store.protocol import Images, Store, Values
from tiering.store.sample import NO_FIELDS, Buffer
from tiering.units import counted

NONE_FILLED: Final[IndexArray] = np.empty(0, dtype=np.int64)
NONE_FILLED.flags.writeable = False

#: The attributes of a batch that are fields of its samples, by the name of the field.
_COLUMNS: Final = {"image": "images", "label": "labels", "key": "keys"}


@dataclass(frozen=True)
class Batch:
    """Some samples of one epoch, in its order.

    Views and arrays stay valid as long as they are referenced, even after the store is closed.

    Attributes:
        images: The results of the transform, if there is one: one array if they are arrays of one shape, else a list.
            One array (n, channels, height, width), or (n, height, width, channels), of cropped images; with several
            views of each, (views, n, ...); a tuple of arrays for several crops. One array (n, height, width, channels)
            from a store of pixels, a list of arrays uint8 (height, width, 3) when decoded, or a list of encoded
            images: bytes, or views of the store where that saves a copy.
        labels: int32 (n,), numbers of classes as in Manifest.classes, -1 for none.
        indices: int64 (n,), the samples' numbers in the store.
        store: The store that the samples come from.
        filled: int64 (k,), positions in the batch whose sample was skipped (see the Loader's `on_error`). Image, label,
            index and key at these positions are those of the sample that was served instead.
        fields: The fields that the loader was asked for, by name, as in Store.read_field.
        padding: How many samples at the end of the batch are from the beginning of the epoch, so that all ranks serve
            the same number (see the Loader's `even`): 0, or 1 in the last batch of a rank. Leave them out in an
            evaluation.

    Example:
        >>> batch["mask"]  # doctest: +SKIP
    """

    images: Images | Copied | list[Any] | tuple[PixelArray, ...]
    labels: npt.NDArray[np.int32]
    indices: IndexArray
    store: Store
    filled: IndexArray = field(default_factory=lambda: NONE_FILLED)
    fields: Mapping[str, Values] = field(default_factory=lambda: NO_FIELDS)
    padding: int = 0

    def __getitem__(self, name: str) -> Any:
        """Return a field of all samples by its name; also "image", "label" and "key".

        A field that the loader was not asked for is read from the store now.

        Raises:
            UsageError: The store has no such field.
        """
        if name in _COLUMNS:
            return getattr(self, _COLUMNS[name])
        found = self.fields.get(name)
        return self.store.read_field(name, self.indices) if found is None else found

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Batch({counted(len(self), 'sample')} of {self.store!r})"

    @cached_property
    def keys(self) -> list[str]:
        """The paths of the originals in their dataset; os.fsencode(key) returns their exact bytes."""
        return [os.fsdecode(key) for key in self.store.index.keys(self.indices)]


class Copied(Sequence[bytes]):
    """Encoded images as bytes, each copied out of the store when it is taken.

    An image that is copied just before it is decoded is still in the processor's cache. If a whole batch were copied at
    once, its first images would be gone by then.
    """

    def __init__(self, views: Sequence[Buffer]) -> None:
        self._views = views

    def __len__(self) -> int:
        return len(self._views)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        return [bytes(view) for view in self._views[at]] if isinstance(at, slice) else bytes(self._views[at])

    def __iter__(self) -> Iterator[bytes]:
        return map(bytes, self._views)
