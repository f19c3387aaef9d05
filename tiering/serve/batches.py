"""Batch: the samples that a loader hands out together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.store.protocol import Buffer, Images, Store

NO_PLACES: Final[IndexArray] = np.empty(0, dtype=np.int64)
NO_PLACES.flags.writeable = False


@dataclass(frozen=True)
class Batch:
    """Some samples of one epoch, in its order.

    Views and arrays stay valid as long as they are referenced, even after the store is closed.

    Attributes:
        images: Encoded bytes, as views of the store where that saves a copy; arrays uint8 (height, width, 3) when
            decoded; one array uint8 (n, height, width, channels) from a store of pixels; the transform's results,
            where there is one.
        labels: int32 (n,), numbers of classes as in Manifest.classes, -1 for none.
        indices: int64 (n,), the samples' numbers in the store.
        store: The store that the samples come from.
        filled: int64 (k,), positions in the batch whose own sample was skipped (the Loader's `on_error`). Their image,
            label, index and key are those of the sample that was served instead.
    """

    images: Images | Copied | list[Any]
    labels: npt.NDArray[np.int32]
    indices: IndexArray
    store: Store
    filled: IndexArray = field(default_factory=lambda: NO_PLACES)

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Batch({len(self):,} samples of {self.store!r})"

    @cached_property
    def keys(self) -> list[str]:
        """The paths of the originals; os.fsencode(key) is byte-exact."""
        return [os.fsdecode(key) for key in self.store.index.keys(self.indices)]


class Copied(Sequence[bytes]):
    """Encoded images as bytes of their own, each copied out of the store when it is taken.

    Copied one by one they are still in the processor's cache when they are decoded; a batch copied at once is not.
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
