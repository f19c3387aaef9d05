"""Loader: shuffled epochs of batches from any Store. It announces upcoming reads to the kernel."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any, Final, Literal, Self, get_args

import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.cache.stats import CacheStats, CountingStore, RefillingStore
from tiering.io_sizes import CACHE_UNIT_BYTES, PREFETCH_BYTES
from tiering.serve.batches import NONE_FILLED, Batch, Copied
from tiering.serve.buffers import Buffers
from tiering.serve.epochs import Epochs, Ranks, State
from tiering.serve.faults import ContinuingIterator, Failed, blamed
from tiering.serve.orders import Shuffle, at_least_one
from tiering.serve.pieces import OnError, Piece, PieceMaker
from tiering.serve.prefetch import ReadAhead, announced_ahead
from tiering.store.open import open_store
from tiering.store.protocol import Sample, Store, samples_in, shape_of
from tiering.system.machine import usable_cores

#: How a loader hands out encoded images: as they are (views of the store where that saves a copy), each copied to bytes
#: of its own, or decoded.
ImageForm = Literal["encoded", "bytes", "pixels"]

#: The size of one task of a thread. Decoded pixels take about six times the bytes of their file.
_PIECE_BYTES: Final = 4 << 20
_PIECE_SAMPLES: Final = 64
_DECODED: Final = 6


class Loader:
    """Serves epochs of batches: every sample exactly once an epoch, in an order that depends only on seed and epoch.

    Each iteration serves the next epoch; `epoch(e)` serves a particular one.

    Args:
        store: Any store, or its path or URL.
        batch_size: Samples in a batch.
        seed: Seed of the shuffles.
        shuffle: True or "global" shuffles the whole dataset. "block" (or BlockShuffle) shuffles blocks, and samples
            within windows of blocks, for compressed chunks of many samples and for slow origins. "sticky" (or
            StickyShuffle) lets each rank keep its share for some epochs, for caches smaller than the dataset. False
            keeps the store's order.
        images: "encoded" returns encoded images as they are. "bytes" returns bytes, each copied when it is taken from
            the batch. "pixels" decodes to uint8 arrays (height, width, 3).
        transform: A function that is called on threads with each Sample, whose image is decoded with `images="pixels"`.
            Its results become the batch's images. If it raises, a note on the exception names the sample.
        ranks: The share of this process in every epoch; by default all of it.
        drop_last: Leave out the incomplete end, so that all ranks serve the same number of full batches.
        limit: Serve only that many samples, the first of each epoch's order.
        on_error: What to do when a sample cannot be decoded, or the transform raises for it. "raise" raises instead of
            returning the batch; ask for the next batch to continue. "skip" serves another sample instead, counts it in
            `stats()`, and logs a warning for the first ten. Neither changes the number of batches of a rank, and "skip"
            keeps their sizes, too. A failed read is always raised.
        prefetch: Bytes to stay ahead of the consumer: they are announced to the kernel, and read and decoded if the
            loader works on threads.
        threads: Threads that read, decode and transform; by default the usable cores.

    Raises:
        ValueError: For a value out of range, or a choice that does not exist.
        TypeError: For a number that is not an integer.

    Example:
        for epoch in range(90):
            for batch in loader.epoch(epoch):
                train(batch.images, batch.labels)
    """

    def __init__(
        self,
        store: Store | str | os.PathLike[str],
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: Shuffle = True,
        images: ImageForm = "encoded",
        transform: Callable[[Sample], Any] | None = None,
        ranks: Ranks | None = None,
        drop_last: bool = False,
        limit: int | None = None,
        on_error: OnError = "raise",
        prefetch: int = PREFETCH_BYTES,
        threads: int | None = None,
    ) -> None:
        at_least_one("prefetch", prefetch)
        if threads is not None:
            at_least_one("threads", threads)
        if on_error not in get_args(OnError):
            raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}')
        if images not in get_args(ImageForm):
            raise ValueError(f'images must be "encoded", "bytes" or "pixels", got {images!r}')
        self._owned = isinstance(store, str | os.PathLike)
        self.store = open_store(store) if isinstance(store, str | os.PathLike) else store
        self.batch_size = batch_size
        self._epochs = Epochs(
            len(self.store),
            self.store.block,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            ranks=ranks,
            drop_last=drop_last,
            limit=limit,
            unit=samples_in(CACHE_UNIT_BYTES, self.store.manifest),
        )
        self._decode, self._copy = images == "pixels", images == "bytes"
        self._views = self.store.views and not self._decode and transform is None
        self._maker = PieceMaker(self.store, transform, on_error, decode=self._decode)
        self._skips, self._skipped = on_error == "skip", 0
        self._threads = threads or usable_cores()
        self._prefetch = prefetch
        shape = None if transform else shape_of(self.store.manifest)
        # Kept from one epoch to the next: fresh memory costs page faults, half the time of reading small images.
        self._buffers = None if shape is None else Buffers(batch_size, shape.sides, prefetch)

    def __repr__(self) -> str:
        return f"Loader({self.store!r}, batch_size={self.batch_size}, {self._epochs!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store if the loader opened it; a store that was handed in stays open."""
        if self._owned:
            self.store.close()

    @property
    def current_epoch(self) -> int:
        """The epoch that is being served, or is next."""
        return self._epochs.epoch

    def epoch(self, epoch: int) -> ContinuingIterator[Batch]:
        """Serve one epoch, from its start, or from the position of a loaded state of that epoch."""
        self.set_epoch(epoch)
        return self.batches()

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._epochs)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves, from its start unless a state of that epoch was loaded."""
        self._epochs.set_epoch(epoch)

    def state_dict(self, batches: int | None = None) -> State:
        """Return the position in the epochs, from which another process can resume: a small dict that JSON can hold.

        All ranks must save after the same batch.

        Args:
            batches: How many batches of this iteration the training has finished; by default all that were handed out.
                Pass it if something in between reads ahead, such as a DataLoader with workers.
        """
        return self._epochs.state(batches)

    def load_state_dict(self, state: State) -> None:
        """Resume: the next iteration serves the rest of the saved epoch.

        The batch size, the number of ranks and the store's format may differ from those of the saved state. The rest of
        the epoch is then divided accordingly.

        Raises:
            UsageError: For a state with another order of samples, or a position outside the epoch.
        """
        self._epochs.load(state)

    def stats(self) -> CacheStats | None:
        """Return the counts of the store's cache in this process, and how many samples this loader has skipped.

        Returns:
            The counts; None for a store without a cache, unless `on_error` is "skip".
        """
        if isinstance(self.store, CountingStore):
            return replace(self.store.stats(), skipped=self._skipped)
        return CacheStats(skipped=self._skipped) if self._skips else None

    def __iter__(self) -> ContinuingIterator[Batch]:
        """Serve one epoch, or the rest of one."""
        return self.batches()

    def batches(self, first: int = 0, step: int = 1) -> ContinuingIterator[Batch]:
        """Serve every step-th batch of the epoch, starting with the given one: the part of one of several workers.

        If a batch cannot be served, the iterator raises its exception. The batch counts as handed out, and the next
        call continues with the next one.

        Args:
            first: The first batch to serve, from 0.
            step: The number of workers.
        """
        return ContinuingIterator(self.outcomes(first, step))

    def outcomes(self, first: int = 0, step: int = 1) -> Iterator[Batch | Failed]:
        """Yield batches as `batches` does, but yield a failed batch as a `Failed` instead of raising its exception."""
        if isinstance(self.store, RefillingStore):
            self.store.refill(self._epochs.deal)
        drawn = chain.from_iterable(self._epochs.drawn(first, step))
        announced = announced_ahead(self.store, drawn, self.batch_size, self._prefetch)
        for outcome in self._viewed(announced) if self._views else self._worked(announced):
            self._epochs.count()
            if isinstance(outcome, Batch):
                self._skipped += len(outcome.filled)
            yield outcome
        self._epochs.set_epoch(self._epochs.epoch + 1)

    def _viewed(self, batches: Iterable[IndexArray]) -> Iterator[Batch | Failed]:
        for indices in batches:
            try:
                images = self.store.read(indices)
                found = Copied(images) if self._copy and isinstance(images, list) else images
                outcome: Batch | Failed = Batch(found, self.store.index.label[indices], indices, self.store)
            except Exception as error:  # noqa: BLE001 - raised by the iterator, which continues
                outcome = Failed(blamed(self.store, indices, error))
            yield outcome

    def _worked(self, batches: Iterable[IndexArray]) -> Iterator[Batch | Failed]:
        """Read, decode and transform on threads, in pieces smaller than a batch."""
        piece = min(samples_in(_PIECE_BYTES // (_DECODED if self._decode else 1), self.store.manifest), _PIECE_SAMPLES)
        buffers = self._buffers
        begun: deque[tuple[IndexArray, PixelArray | None]] = deque()

        def calls() -> Iterator[tuple[Callable[[], Piece | Failed], int]]:
            for indices in batches:
                pixels = buffers.take(len(indices)) if buffers else None
                begun.append((indices, pixels))
                for at in range(0, len(indices), piece):
                    part, out = indices[at : at + piece], None if pixels is None else pixels[at : at + piece]
                    yield partial(self._maker.piece, part, out), len(part)

        with ReadAhead(calls(), _size_of, self._threads, self._prefetch) as results:
            for head in results:
                indices, pixels = begun.popleft()
                rest = islice(results, -(-len(indices) // piece) - 1)
                yield self._joined(indices, pixels, [head, *rest], piece)

    def _joined(
        self, indices: IndexArray, pixels: PixelArray | None, pieces: list[Piece | Failed], piece: int
    ) -> Batch | Failed:
        """Join the pieces of a batch. pixels: the array that they were read into, if any; piece: samples in a piece."""
        made: list[Piece] = []
        filled: dict[int, int] = {}
        for each in pieces:
            if isinstance(each, Failed):
                return each
            filled.update({len(made) * piece + at: number for at, number in each.filled.items()})
            made.append(each)
        if filled:
            indices = indices.copy()
            indices[list(filled)] = list(filled.values())
        images = [*chain.from_iterable(each.images for each in made)] if pixels is None else pixels
        replaced = np.array(list(filled), dtype=np.int64) if filled else NONE_FILLED
        return Batch(images, self.store.index.label[indices], indices, self.store, replaced)


def _size_of(outcome: Piece | Failed) -> int:
    """Return the bytes of the images in a piece of a batch."""
    return outcome.nbytes if isinstance(outcome, Piece) else 0
