"""StoreDataset: a store as a map-style dataset for PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from tiering.cache.stats import CacheStats, stats_of
from tiering.serve.drawn_index import DrawnIndex
from tiering.serve.faults import named
from tiering.serve.field_reads import FieldReads
from tiering.serve.recording import recorder_of
from tiering.serve.served_samples import Servable, ServedSamples
from tiering.serve.shared_counts import SharedCounts
from tiering.serve.torch_processes import Handover, plain
from tiering.store.indices import as_index, as_indices
from tiering.store.sample import Sample


class StoreDataset(Dataset[Any]):  # type: ignore[misc]
    """A store as a map-style dataset for torch.utils.data.DataLoader.

    `__getitems__` passes a whole batch of indices to the store at once. Workers may be forked or spawned: a store is
    pickled as a path, and each process maps the files itself. Give the DataLoader an EpochSampler to resume epochs.
    EpochDataset reads further ahead and is faster.

    Args:
        store: A store, its path or its URL, or a mixture.
        transform: Applied to each Sample; if it raises, the exception names the sample. `sample.rng` has random numbers
            that depend on seed, epoch and sample, if an EpochSampler draws the indices; with other samplers they are
            the same in every epoch. By default the item is (bytes, label), or (array, label) from a store of pixels.
        fields: Fields to read with the images, for the transform. Without a transform, the item is then a dict of
            image, label, and these fields by name.
        trace: A directory in which to record every sample that is read, as a trace: see docs/serving.md.
    """

    def __init__(
        self,
        store: Servable,
        transform: Callable[[Sample], Any] | None = None,
        *,
        fields: Sequence[str] = (),
        trace: str | os.PathLike[str] | None = None,
    ) -> None:
        served = ServedSamples.of(store)
        #: An EpochSampler draws from `source`: the mixture, if there is one.
        self.store, self.source = served.store, served.source
        self._transform = transform
        self._fields = FieldReads(self.store, fields, decode=False)
        self._counts, self._handover = SharedCounts(self.store), Handover()
        self._recorder = recorder_of(self.store, fields, trace)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, as in torchvision's ImageFolder."""
        return list(self.store.manifest.labels)

    @cached_property
    def targets(self) -> npt.NDArray[np.int64]:
        """The class of each sample, -1 for none: int64 (n,). Images are not read."""
        return np.asarray(self.store.index.label[:]).astype(np.int64)

    def stats(self) -> CacheStats | None:
        """Return the counts of the store's cache, added up over all workers; None for a store without a cache.

        in_flight, depth and ahead are 0.
        """
        return None if stats_of(self.store) is None else self._counts.total()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the targets: another process makes its own."""
        return {name: value for name, value in self.__dict__.items() if name != "targets"}

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Any:
        at = as_index(index, len(self))
        return self.__getitems__([index if isinstance(index, DrawnIndex) else at])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return many items with one read.

        Args:
            indices: The numbers of the samples.
        """
        self._counts.begin()
        at = as_indices(indices, len(self.store))
        self._fields.announce(at)
        images = self.store.read(at)
        if self._recorder:
            self._recorder.add(at, len(at))
        labels = self.store.index.label[at].tolist()
        keys = map(os.fsdecode, self.store.index.keys(at))
        parts = zip(images, labels, keys, self._fields.samples(at), at.tolist(), strict=True)
        items = [self._item(Sample(*part, *_drawn(index))) for part, index in zip(parts, indices, strict=True)]
        self._counts.add()
        self._handover.check(items[:1])
        return items

    def _item(self, sample: Sample) -> Any:
        if self._transform is None:
            image = plain(sample.image)
            if not self._fields.names:
                return image, sample.label
            return {"image": image, "label": sample.label} | {
                name: plain(value) for name, value in sample.fields.items()
            }
        try:
            return self._transform(sample)
        except Exception as error:  # noqa: BLE001 - it may be anything that a transform raises
            fault = named(self.store, sample.index, sample.image, error)
            raise fault from fault.__cause__


def _drawn(index: object) -> tuple[int, int, int]:
    """Return epoch, seed and draw of an index; 0 each for a plain one."""
    return (index.epoch, index.seed, index.draw) if isinstance(index, DrawnIndex) else (0, 0, 0)
