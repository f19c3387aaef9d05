"""For PyTorch: a map-style dataset with a sampler, and an iterable dataset, over any store."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tiering.errors import MachineError
from tiering.serve.epochs import Epochs, Ranks, State, refused, stated
from tiering.serve.faults import ContinuingIterator, Failed, named
from tiering.serve.loader import Loader
from tiering.serve.orders import Shuffle
from tiering.store.open import open_store
from tiering.store.protocol import Sample, Store, as_indices
from tiering.system.machine import usable_cores

try:
    import torch
    from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info
except ImportError as error:
    raise MachineError(
        "tiering.serve.torch", expected="PyTorch", found="no module torch", action="pip install 'tiering[torch]'"
    ) from error

#: Further keys of a worker's state: its number and the number of workers, and the batches that it has handed out.
_WORKER: Final = "worker"
_SERVED: Final = "served"

#: Workers of a DataLoader whose skipped samples are counted separately.
_MOST_WORKERS: Final = 1024


class StoreDataset(Dataset[Any]):  # type: ignore[misc]
    """A store as a map-style dataset for torch.utils.data.DataLoader.

    `__getitems__` passes a whole batch of indices to the store at once. Workers may be forked or spawned: a store is
    pickled as a path, and each process maps the files itself. Give the DataLoader an EpochSampler to resume epochs.
    EpochDataset reads further ahead and is faster.

    Args:
        store: A store, its path or its URL.
        transform: Applied to each Sample; if it raises, the exception names the sample. By default the item is
            (bytes, label), or (array, label) from a store of pixels.
    """

    def __init__(self, store: Store | str | Path, transform: Callable[[Sample], Any] | None = None) -> None:
        self.store = open_store(store) if isinstance(store, str | Path) else store
        self._transform = transform

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Any:
        return self._item(self.store[index], index)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return many items with one read.

        Args:
            indices: The numbers of the samples.
        """
        at = as_indices(indices, len(self.store))
        self.store.announce(at)
        images = self.store.read(at)
        labels = self.store.index.label[at].tolist()
        keys = map(os.fsdecode, self.store.index.keys(at))
        return [self._item(Sample(*each), index) for *each, index in zip(images, labels, keys, at, strict=True)]

    def _item(self, sample: Sample, index: int) -> Any:
        if self._transform is None:
            return _plain(sample.image), sample.label
        try:
            return self._transform(sample)
        except Exception as error:  # noqa: BLE001 - it may be anything that a transform raises
            fault = named(self.store, int(index), sample.image, error)
            raise fault from fault.__cause__


class EpochSampler(Sampler[int]):  # type: ignore[misc]
    """The indices that one rank takes of each epoch, in the same orders as the Loader's.

    Args:
        dataset: A StoreDataset, or anything with a length.
        seed: Seed of the shuffles.
        shuffle: As for the Loader.
        ranks: The share of this process; by default that of torch.distributed, where it is initialised.
        drop_last: Leave out the uneven end. Otherwise some ranks may draw one index more than others.
        limit: Draw only that many indices, the first of each epoch's order.
    """

    def __init__(
        self,
        dataset: Dataset[Any] | Sequence[Any],
        *,
        seed: int = 0,
        shuffle: Shuffle = True,
        ranks: Ranks | None = None,
        drop_last: bool = False,
        limit: int | None = None,
    ) -> None:
        self._epochs = Epochs(
            len(dataset),
            dataset.store.block if isinstance(dataset, StoreDataset) else 1,
            batch_size=1,
            shuffle=shuffle,
            seed=seed,
            ranks=ranks or _distributed(),
            drop_last=drop_last,
            limit=limit,
        )

    def __len__(self) -> int:
        return len(self._epochs)

    def __iter__(self) -> Iterator[int]:
        """Draw one epoch, or the rest of one, and move on to the next."""
        for drawn in self._epochs.drawn():
            for index in np.concatenate(drawn).tolist():
                self._epochs.count()
                yield index
        self._epochs.set_epoch(self._epochs.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws, from its start unless a state of that epoch was loaded."""
        self._epochs.set_epoch(epoch)

    def state_dict(self, samples: int | None = None) -> State:
        """Return the position in the epochs.

        Args:
            samples: How many samples of this rank the training has finished; by default all that were drawn. Pass it
                with a DataLoader, which draws ahead of the training.
        """
        return self._epochs.state(samples)

    def load_state_dict(self, state: State) -> None:
        """Resume, with any number of ranks.

        Raises:
            UsageError: For a state with another order of samples.
        """
        self._epochs.load(state)


class EpochDataset(IterableDataset[Any]):  # type: ignore[misc]
    """Shuffled epochs of whole batches, for a DataLoader with batch_size=None and any number of workers.

    An item is (images, labels): images as in a Batch, but encoded ones as bytes; labels int64. The order of the batches
    does not depend on the number of workers: worker w of W serves every W-th batch, starting with the w-th. If a batch
    fails, its exception is raised, and the iteration continues with the next. Call `set_epoch` before each epoch, as
    with torch's DistributedSampler; persistent workers see the new epoch, too.

    Args:
        store: A store, its path or its URL.
        batch_size: Samples in a batch.
        ranks: The share of this process; by default that of torch.distributed, where it is initialised.
        threads: Threads of each worker; by default the usable cores, divided among the workers.
        **options: Further arguments of the Loader. With `on_error="skip"`, `skipped` counts the samples that were
            replaced, in all workers.
    """

    def __init__(
        self,
        store: Store | str | Path,
        batch_size: int,
        *,
        ranks: Ranks | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        self.store = open_store(store) if isinstance(store, str | Path) else store
        self._settings = {"batch_size": batch_size, "ranks": ranks or _distributed(), **options}
        self._threads = threads
        self._loader = self._made(1)
        # This worker and the number of workers, and how many batches: loaded with a state, and handed out.
        self._worker: tuple[int, int] | None = None
        self._loaded = self._served = 0
        # In shared memory, so that persistent workers see the next epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        # One element for each worker: several workers that add to the same one would lose counts.
        self._skipped = torch.zeros(_MOST_WORKERS, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return ContinuingIterator(self._outcomes())

    @property
    def skipped(self) -> int:
        """Samples that could not be served and were replaced by others, in all workers."""
        return int(self._skipped.sum())

    def _outcomes(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if self._loaded and self._worker != (worker, workers):
            raise ValueError(f"the state is of (worker, workers) {self._worker}, but this is {(worker, workers)}")
        self._loader.set_epoch(int(self._epoch))
        position = self._loader.state_dict(0)
        self._loader = self._made(workers)
        self._loader.load_state_dict(position)
        self._worker, self._served, self._loaded = (worker, workers), self._loaded, 0
        for batch in self._loader.outcomes(worker + self._served * workers, workers):
            self._served += 1
            if isinstance(batch, Failed):
                yield batch
                continue
            if len(batch.filled):
                self._skipped[worker % _MOST_WORKERS] += len(batch.filled)
            images = [_plain(image) for image in batch.images] if isinstance(batch.images, list) else batch.images
            yield images, batch.labels.astype(np.int64)
        self._worker, self._served = None, 0
        if info is None:
            self._epoch.fill_(self._loader.current_epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves, from its start unless a state of that epoch was loaded."""
        if epoch != int(self._epoch):
            self._worker, self._loaded = None, 0
        self._epoch.fill_(epoch)
        self._loader.set_epoch(epoch)

    def state_dict(self, batches: int | None = None) -> State:
        """Return the position in the epochs.

        Args:
            batches: How many batches of this iteration the training has finished. The state then describes the whole
                dataset, and any number of ranks and workers can resume from it. By default the state describes the
                batches that this worker has handed out, as torchdata's StatefulDataLoader needs; only the same number
                of workers can resume from it.
        """
        if batches is not None:
            return self._loader.state_dict(batches)
        position = self._loader.state_dict(0)
        return position if self._worker is None else position | {_WORKER: list(self._worker), _SERVED: self._served}

    def load_state_dict(self, state: State) -> None:
        """Continue from a saved position.

        Raises:
            UsageError: For a state with another order of samples, or without a valid position. Nothing changes.
        """
        # Check everything before changing anything, so that a refused state changes nothing.
        worker, loaded = _worker_of(state, len(self._loader)) if isinstance(state, dict) else (None, 0)
        self._loader.load_state_dict(state)
        self._epoch.fill_(self._loader.current_epoch)
        self._worker, self._loaded = worker, loaded

    def _made(self, workers: int) -> Loader:
        threads = self._threads or max(1, usable_cores() // workers)
        return Loader(self.store, threads=threads, **self._settings)


def _distributed() -> Ranks:
    """Return the rank in torch.distributed, or that of a single process if it is not initialised."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return Ranks()


def _worker_of(state: State, batches: int) -> tuple[tuple[int, int] | None, int]:
    """Return (worker, workers) of a state, or None if it is not a worker's, and the batches that it had handed out."""
    worker = state.get(_WORKER)
    if worker is None:
        return None, 0
    if not isinstance(worker, list | tuple) or len(worker) != 2:
        raise refused(f"{_WORKER} with the number of a worker and the number of workers", reprlib.repr(worker))
    workers = stated({_WORKER: worker[1]}, _WORKER, 1)
    number = stated({_WORKER: worker[0]}, _WORKER, 0, workers - 1)
    return (number, workers), stated(state, _SERVED, 0, batches)


def _plain(image: Any) -> Any:
    return bytes(image) if isinstance(image, memoryview) else image
