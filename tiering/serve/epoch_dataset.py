"""EpochDataset: shuffled epochs of whole batches as an iterable dataset for PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from tiering.cache.stats import CacheStats
from tiering.errors import UsageError
from tiering.serve.batches import Batch
from tiering.serve.epochs import Epochs
from tiering.serve.faults import ContinuingIterator, Failed
from tiering.serve.iterations import warn_of_repeat
from tiering.serve.loader import Loader
from tiering.serve.ranks import Ranks
from tiering.serve.served_samples import Servable, ServedSamples
from tiering.serve.shared_counts import SharedCounts
from tiering.serve.shared_iterations import Begun, SharedIterations, Worker
from tiering.serve.states import State
from tiering.serve.torch_processes import Handover, WorkerCounts, distributed_ranks, plain
from tiering.serve.worker_state import SERVED, WORKER, plain_state, worker_of
from tiering.store.protocol import Values
from tiering.system.machine import usable_cores


@dataclass
class _Iteration:
    """An iteration in this process.

    Attributes:
        begun: Where it began.
        worker: The worker that this process is.
        served: How many batches of the epoch it has handed out, with those before a resume.
    """

    begun: Begun
    worker: Worker
    served: int


class EpochDataset(IterableDataset[Any]):  # type: ignore[misc]
    """Shuffled epochs of whole batches, for a DataLoader with batch_size=None and any number of workers.

    An item is (images, labels): images as in a Batch, but encoded ones as bytes; labels int64. With `fields=`, it is a
    dict of image, label, and these fields by name. The order of the batches does not depend on the number of workers:
    worker w of W serves every W-th batch, starting with the w-th. If a batch fails, its exception is raised, and the
    iteration continues with the next. Each iteration serves the next epoch, with workers of any kind (the whole rule:
    tiering/serve/iterations.py).

    Args:
        store: A store, its path or its URL, or a mixture.
        batch_size: Samples in a batch.
        ranks: The share of this process; by default that of torch.distributed, as soon as it is initialised.
        threads: Threads of each worker; by default the usable cores, divided among the workers.
        **options: Further arguments of the Loader. With `on_error="skip"`, `skipped` counts the samples that were
            replaced, in all workers.
    """

    def __init__(
        self,
        store: Servable,
        batch_size: int,
        *,
        ranks: Ranks | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        served = ServedSamples.of(store)
        self.store, self._source = served.store, served.source
        if (weights := options.get("weights")) is not None:
            # Made once: the loaders of all epochs share them.
            replacement = options.get("replacement", True)
            options["weights"] = ServedSamples.of(self._source, weights, replacement=replacement).sampling
        self._settings = {"batch_size": batch_size, **options}
        self._ranks, self._threads = ranks, threads
        self._workers, self._loader = 1, self._made(1, ranks or distributed_ranks())
        self._iterations, self._here = SharedIterations(), WorkerCounts()
        # In this process: the iteration that began last, and the state that was loaded into this worker.
        self._last: _Iteration | None = None
        self._loaded: State | None = None
        self._counts, self._handover = SharedCounts(self.store), Handover()
        self._warns = options.get("shuffle", True) is not False

    def __len__(self) -> int:
        """Return the number of batches in the current epoch; after a resume, of those that were left.

        With torchdata's StatefulDataLoader, it is always that of the whole epoch, as that loader counts.
        """
        current = self._iterations.current()
        return len(self._epoch(self._iterations.next() if current.ended else current))

    def __iter__(self) -> Iterator[Any]:
        """Serve the next epoch, or the rest of the one whose state was loaded."""
        worker = self._here.begin()
        begun = self._iterations.begin(worker, self._loaded)
        state, self._loaded = self._loaded or begun.state or {}, None
        self._last = _Iteration(begun, worker or Worker(), state.get(SERVED, 0))
        return ContinuingIterator(self._outcomes(self._last))

    @property
    def skipped(self) -> int:
        """Samples that could not be served and were replaced by others, in all workers."""
        return self._counts.total().skipped

    def stats(self) -> CacheStats | None:
        """Return the counts of the store's cache and of skipped samples, added up over all workers.

        A worker's counts arrive with its batches. in_flight, depth and ahead are 0.

        Returns:
            The counts; None for a store without a cache, unless `on_error` is "skip".
        """
        return None if self._loader.stats() is None else self._counts.total()

    def _outcomes(self, iteration: _Iteration) -> Iterator[Any]:
        worker, workers = iteration.worker.identity
        epoch = self._epoch(iteration.begun)
        self._counts.begin()
        for batch in self._loader_for(workers).outcomes(epoch, worker + iteration.served * workers, workers):
            iteration.served += 1
            if isinstance(batch, Failed):
                yield batch
                continue
            self._counts.add(skipped=len(batch.filled))
            item = _item(batch)
            self._handover.check(batch.images[:1] if isinstance(batch.images, list) else batch.images)
            yield item
        self._iterations.end(iteration.begun.number)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves, from its start unless a state of that epoch was loaded.

        Call it before the iteration begins.
        """
        if self._iterations.set_epoch(self._loader.epochs.at(epoch).epoch) and self._warns:
            self._warns = False
            warn_of_repeat(epoch)

    def state_dict(self, batches: int | None = None) -> State:
        """Return the position in the epochs.

        Args:
            batches: How many batches of this iteration the training has finished. The state then describes the whole
                dataset, and any number of ranks and workers can resume from it. By default the state describes the
                batches that this worker has handed out, as torchdata's StatefulDataLoader needs; only the same number
                of workers can resume from it. At the end of an epoch, it is that end: the next iteration after a
                resume serves nothing, and the one after it the next epoch.

        Raises:
            UsageError: Without `batches`, outside of the workers that serve the epoch: they read ahead, so it is not
                known there how many batches the training has finished.
        """
        current = self._iterations.current()
        if batches is not None:
            before = (current.state or {}).get(SERVED, 0)
            return self._epoch(current).state(before + batches)
        last = self._last
        if last and (get_worker_info() is not None or current.number == last.begun.number):
            position = self._epoch(last.begun).state(0)
            return position | {WORKER: list(last.worker.identity), SERVED: last.served}
        if current.number >= 0:
            raise UsageError(
                "batches", expected="how many batches the training has finished, while workers read ahead",
                found="None", action="Count the batches of this epoch and pass the count to state_dict, or use "
                "torchdata's StatefulDataLoader.",
            )  # fmt: skip
        return current.state or self._epoch(current).state(0)

    def load_state_dict(self, state: State) -> None:
        """Continue from a saved position: the next iteration serves the rest of its epoch.

        Raises:
            UsageError: For a state with another order of samples, or without a valid position. Nothing changes.
        """
        # Check everything before changing anything, so that a refused state changes nothing.
        epochs = self._loader_for(self._workers).epochs
        worker, served = worker_of(state, len(epochs)) if isinstance(state, dict) else (None, 0)
        epoch = epochs.resumed(state)
        found = epoch.state(0) | ({WORKER: list(worker), SERVED: served} if worker else {})
        if get_worker_info() is None:
            self._iterations.load(epoch.epoch, found)
        else:
            self._loaded = found

    def _epoch(self, begun: Begun) -> Epochs:
        """Return the epochs at the position where an iteration began."""
        epochs = self._loader_for(self._workers).epochs
        return epochs.resumed(plain_state(begun.state)) if begun.state else epochs.at(begun.epoch)

    def _loader_for(self, workers: int) -> Loader:
        """Return the loader of one of several workers. It is kept, with its buffers, for the next iteration."""
        # A spawned worker has no torch.distributed: it keeps the ranks of the process that started it.
        ranks = self._ranks or distributed_ranks() or self._loader.epochs.ranks
        if workers != self._workers or ranks != self._loader.epochs.ranks:
            self._loader, self._workers = self._made(workers, ranks), workers
        return self._loader

    def __getstate__(self) -> dict[str, Any]:
        """Pickle for a worker, with the ranks of this process."""
        self._loader_for(self._workers)
        return self.__dict__

    def _made(self, workers: int, ranks: Ranks | None) -> Loader:
        threads = self._threads or max(1, usable_cores() // workers)
        return Loader(self._source, threads=threads, ranks=ranks, **self._settings)


def _item(batch: Batch) -> Any:
    """Return a batch as PyTorch takes it."""
    images = [plain(image) for image in batch.images] if isinstance(batch.images, list) else batch.images
    labels = batch.labels.astype(np.int64)
    if not batch.fields:
        return images, labels
    more = {name: _plain_values(values) for name, values in batch.fields.items() if name != "label"}
    return {"image": images, "label": labels} | more


def _plain_values(values: Values) -> Values:
    return [plain(value) for value in values] if isinstance(values, list) else values
