"""The PyTorch face: a map-style dataset over any store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tiering.errors import MachineError
from tiering.store.base import Sample, Store
from tiering.store.open import open_store

try:
    from torch.utils.data import Dataset
except ImportError as error:
    raise MachineError(
        "tiering.serve.torch", expected="PyTorch", found="no module torch", action="pip install 'tiering[torch]'"
    ) from error


class StoreDataset(Dataset[Any]):  # type: ignore[misc]
    """A store as a map-style dataset for torch.utils.data.DataLoader.

    store: a store, its path or its URL. transform: applied to each Sample; by default the item is (bytes, label),
    or (array, label) from a store of pixels.
    __getitems__ hands a whole batch of indices to the store at once. Works with workers that are forked or spawned: a
    store travels as a path, and the maps are made where they are used.
    """

    def __init__(self, store: Store | str | Path, transform: Callable[[Sample], Any] | None = None) -> None:
        self.store = open_store(store) if isinstance(store, str | Path) else store
        self._transform = transform

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Any:
        return self._item(self.store[int(index)])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return many items with one read."""
        at = np.asarray(indices, dtype=np.int64)
        self.store.announce(at)
        images = self.store.read(at)
        labels = self.store.index.label[at].tolist()
        keys = self.store.index.keys(at)
        return [
            self._item(Sample(image, label, key.decode("utf-8", "surrogateescape")))
            for image, label, key in zip(images, labels, keys, strict=True)
        ]

    def _item(self, sample: Sample) -> Any:
        return self._transform(sample) if self._transform else (_plain(sample), sample.label)


def _plain(sample: Sample) -> bytes | np.ndarray[Any, Any]:
    return sample.image if isinstance(sample.image, np.ndarray) else bytes(sample.image)
