"""Loader: shuffled epochs of batches from any Store, with the near future announced to the kernel."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.dataset.images import decode as decode_image
from tiering.machine import usable_cores
from tiering.order import EpochOrder, IndexArray
from tiering.store.base import Images, Store, shape_of

#: How far ahead samples are announced. Enough for the device's queue, little enough to stay in the page cache.
AHEAD_BYTES: Final = 64 << 20

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Batch:
    """Some samples of one epoch, in its order.

    images: encoded bytes, as views of the store where that saves a copy; arrays uint8 (height, width, 3) when decoded;
        one array uint8 (n, height, width, channels) from a store of pixels; labels: int32 (n,), -1 for none; indices:
        int64 (n,), the samples' numbers in the store.
    A view stays valid as long as it is referenced.
    """

    images: Images | list[Pixels]
    labels: npt.NDArray[np.int32]
    indices: IndexArray
    store: Store

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def keys(self) -> list[str]:
        """The paths of the originals; os.fsencode(key) is byte-exact."""
        return [os.fsdecode(key) for key in self.store.index.keys(self.indices)]


class Loader:
    """Serves epochs of batches: every sample of this rank exactly once an epoch, in an order fixed by (seed, epoch).

    store: any Store. batch_size: samples in a batch; the last one of an epoch may be smaller unless drop_last.
    shuffle: draw a new global order each epoch; otherwise in order of the store. seed: of the shuffles.
    rank, world_size: this process serves positions rank, rank + world_size, ... of each epoch's order; shares
        differ by one sample at most, and together the ranks serve each sample exactly once.
    decode: give arrays instead of encoded bytes, on as many threads as there are usable cores.

    Raises ValueError for a batch size, rank or world size that makes no sense.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        decode: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in [0, world_size), got rank {rank} of {world_size}")
        self.store = store
        self.batch_size = batch_size
        self.epoch = 0
        self._shuffle = shuffle
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._decode = decode
        share = len(range(rank, len(store), world_size))
        self._samples = share // batch_size * batch_size if drop_last else share

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(self._samples / self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        """Serve one epoch."""
        indices_of = self._order()
        mean_bytes = max(1, self.store.manifest.image_bytes // max(1, len(self.store)))
        ahead = max(1, AHEAD_BYTES // (mean_bytes * self.batch_size))
        begins = range(0, self._samples, self.batch_size)
        with (
            ThreadPoolExecutor(1) as announcer,
            _decoder(enabled=self._decode and shape_of(self.store.manifest) is None) as decoded,
        ):
            upcoming: deque[tuple[IndexArray, Future[None]]] = deque()
            for number in range(len(begins)):
                while len(upcoming) <= ahead and number + len(upcoming) < len(begins):
                    indices = indices_of(begins[number + len(upcoming)])
                    # On a thread: submitting reads costs as much processor time as consuming them.
                    upcoming.append((indices, announcer.submit(self.store.announce, indices)))
                indices, announced = upcoming.popleft()
                # Whoever overtakes the announcements reads by page faults, 4 KiB at a time.
                announced.result()
                yield Batch(decoded(self.store.read(indices)), self.store.index.label[indices], indices, self.store)

    def _order(self) -> Callable[[int], IndexArray]:
        """Return what gives the samples of the batch that begins at a position of this rank's share."""
        order = EpochOrder(len(self.store), self._seed, self.epoch) if self._shuffle else None

        def indices_of(begin: int) -> IndexArray:
            end = min(begin + self.batch_size, self._samples)
            positions = np.arange(begin, end, dtype=np.int64) * self._world_size + self._rank
            return positions if order is None else order.at(positions)

        return indices_of


class _decoder:  # noqa: N801 - reads as a function with a life
    """Turns encoded images into arrays on threads (simplejpeg releases the GIL), or leaves them as they are."""

    def __init__(self, *, enabled: bool) -> None:
        self._pool = ThreadPoolExecutor(usable_cores()) if enabled else None

    def __enter__(self) -> Callable[[Images], Images | list[Pixels]]:
        pool = self._pool
        if pool is None:
            return lambda images: images
        return lambda images: list(pool.map(decode_image, images))

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
