"""EpochSampler: the indices that one rank takes of each epoch, for a DataLoader of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from tiering.errors import UsageError
from tiering.serve.drawn_index import DrawnIndex
from tiering.serve.epochs import Epochs
from tiering.serve.iterations import Iterations, warn_of_repeat
from tiering.serve.orders import Shuffle
from tiering.serve.ranks import Even, Ranks
from tiering.serve.served_samples import ServedSamples
from tiering.serve.states import State
from tiering.serve.store_dataset import StoreDataset
from tiering.serve.torch_processes import distributed_ranks
from tiering.serve.weights import Weighting
from tiering.store.selection import selection_of


class EpochSampler(Sampler[int]):  # type: ignore[misc]
    """The indices that one rank takes of each epoch, in the same orders as the Loader's.

    Each iteration draws the next epoch (the whole rule: tiering/serve/iterations.py).

    The indices are ints that know their epoch, so that `sample.rng` of a StoreDataset's transform depends on it. The
    DataLoader makes the batches. Of a mixture of two stores, any successive indices of a rank hold the proportions
    to less than one sample; of more stores, within the bounds in tiering/serve/proportions.py.

    Args:
        dataset: A StoreDataset, or anything with a length.
        seed: Seed of the shuffles.
        shuffle: As for the Loader.
        ranks: The share of this process; by default that of torch.distributed, as soon as it is initialised.
        even: As for the Loader. By default all ranks draw the same number of indices: some end with one from the
            beginning of the epoch.
        limit: Draw only that many indices, the first of each epoch's order.
        weights: As for the Loader. Any dataset but a StoreDataset takes an array of weights.
        replacement: As for the Loader.
        repeats: As for the Loader.
    """

    def __init__(
        self,
        dataset: Dataset[Any] | Sequence[Any],
        *,
        seed: int = 0,
        shuffle: Shuffle = True,
        ranks: Ranks | None = None,
        even: Even = "pad",
        limit: int | None = None,
        weights: Weighting | None = None,
        replacement: bool = True,
        repeats: int = 1,
    ) -> None:
        source: Any = dataset.source if isinstance(dataset, StoreDataset) else dataset
        if source is dataset and isinstance(weights, str):
            raise UsageError("weights", expected="an array, for a dataset that is not a StoreDataset", found=weights)
        served = ServedSamples.of(source, weights, replacement=replacement, repeats=repeats)
        epochs = Epochs(
            len(dataset),
            dataset.store.block if isinstance(dataset, StoreDataset) else 1,
            batch_size=1,
            shuffle=shuffle,
            seed=seed,
            ranks=ranks or distributed_ranks(),
            even=even,
            limit=limit,
            sampling=served.sampling,
            selection=partial(selection_of, getattr(dataset, "store", None)),
        )
        self._given, self._iterations = ranks, Iterations(epochs)
        self._seed, self._warns = seed, shuffle is not False

    def __len__(self) -> int:
        """Return the number of indices in the current epoch; after a resume, of those that were left."""
        return len(self._shared())

    def __iter__(self) -> Iterator[int]:
        """Draw the next epoch, or the rest of the one whose state was loaded."""
        return self._drawn(self._shared().begin())

    def _shared(self) -> Iterations:
        """Return the iterations, as this process shares them."""
        if self._given is None and (ranks := distributed_ranks()):
            self._iterations.share(ranks)
        return self._iterations

    def _drawn(self, epoch: Epochs) -> Iterator[int]:
        for drawn, draws in zip(epoch.drawn(), epoch.draws(), strict=True):
            for index, draw in zip(np.concatenate(drawn).tolist(), np.concatenate(draws).tolist(), strict=True):
                epoch.count()
                yield DrawnIndex(index, epoch.epoch, self._seed, draw)
        epoch.ended = True

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws, from its start unless a state of that epoch was loaded."""
        if self._iterations.set_epoch(epoch) and self._warns:
            self._warns = False
            warn_of_repeat(epoch)

    def state_dict(self, samples: int | None = None) -> State:
        """Return the position in the epochs.

        Args:
            samples: How many samples of this rank the training has finished; by default all that were drawn. Pass it
                with a DataLoader, which draws ahead of the training.
        """
        return self._shared().state(samples)

    def load_state_dict(self, state: State) -> None:
        """Resume, with any number of ranks: the next iteration draws the rest of the saved epoch.

        Raises:
            UsageError: For a state with another order of samples.
        """
        self._shared().load(state)
