"""Loader: shuffled epochs of batches from any Store, with the near future announced to the kernel."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from tiering.cache.stats import CacheStats, CountingStore, RefillingStore
from tiering.cache.units import unit_samples
from tiering.order import IndexArray
from tiering.serve.buffers import Buffers
from tiering.serve.epochs import STICKY_EPOCHS, Epochs, State
from tiering.serve.faults import ContinuingIterator, Failed, blamed
from tiering.serve.orders import WINDOW, Shuffle
from tiering.serve.pieces import OnError, Piece, PieceMaker
from tiering.serve.prefetch import ReadAhead, announced_ahead
from tiering.store.base import Buffer, Images, PixelArray, Sample, Store, samples_in, shape_of
from tiering.system.machine import usable_cores

#: How many bytes the loader is ahead of its consumer by default: enough for the device's queue, little enough to stay
#: in the page cache, and well within a budget of 256 MiB for a process.
AHEAD_BYTES: Final = 64 << 20

#: What a thread makes as one piece of work, and about how many times as large as a file its pixels are.
_PIECE_BYTES: Final = 4 << 20
_PIECE_SAMPLES: Final = 64
_DECODED: Final = 6

_NOWHERE: Final[IndexArray] = np.empty(0, dtype=np.int64)
_NOWHERE.flags.writeable = False


@dataclass(frozen=True)
class Batch:
    """Some samples of one epoch, in its order.

    images: encoded bytes, as views of the store where that saves a copy; arrays uint8 (height, width, 3) when decoded;
        one array uint8 (n, height, width, channels) from a store of pixels; what the transform made, where there is
        one. labels: int32 (n,), numbers of classes as in Manifest.classes, -1 for none; indices: int64 (n,), the
        samples' numbers in the store.
    filled: int64 (k,), places in the batch whose own sample was skipped (the Loader's on_error); image, label, index
        and key are there those of the sample that was taken instead.
    Views and arrays stay valid as long as they are referenced, even after the store is closed.
    """

    images: Images | Copied | list[Any]
    labels: npt.NDArray[np.int32]
    indices: IndexArray
    store: Store
    filled: IndexArray = field(default_factory=lambda: _NOWHERE)

    def __len__(self) -> int:
        return len(self.indices)

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


class Loader:
    """Serves epochs of batches: every sample exactly once an epoch, in an order that only seed and epoch decide.

    store: any Store. batch_size: samples in a batch. Iterating serves one epoch and then goes on to the next one;
    set_epoch chooses another.
    shuffle: "global" draws each epoch from all orders; "block" shuffles within windows of `window` blocks of the store,
        for compressed chunks of many samples and for slow origins; False keeps the order of the store.
    seed: of the shuffles. limit: serve only that many samples, the first of each epoch's order.
    rank, world_size: this process's share of every epoch. Together the ranks serve each sample exactly once. Their
        numbers of batches are equal but for the end of an epoch: where fewer than world_size samples are left over,
        only as many ranks have one more batch, of one sample.
    drop_last: leave out the incomplete end: all ranks serve the same number of batches, all of batch_size samples.
    decode: give arrays instead of encoded bytes. transform: called with each Sample (decoded before, where decode says
        so), on threads; its results are the batch's images, and a note on what it raises names the sample.
    on_error: what to do about a sample that cannot be decoded, or that the transform raises for. "raise" raises it in
        the place of the batch; ask for the next batch to go on. "skip" takes another sample instead, the next one in
        the store that can be served, counts that in stats(), and warns of the first ten. Either way every rank has as
        many batches as before, and with "skip" batches of the same sizes. What cannot be read is always raised.
    copy: give encoded images as bytes of their own instead of views, each copied when it is taken from the batch.
    num_threads: for reading, decoding and transforming; by default the usable cores. prefetch: bytes the loader is
        ahead of its consumer, announced to the kernel and, where threads work, read and decoded.
    sticky: each rank keeps its share of the samples, shuffled by itself every epoch, so that its node's cache needs to
        hold no more than that; runs of neighbours, near 128 KiB, are dealt anew every sticky_epochs epochs.

    Raises ValueError for a setting that makes no sense, TypeError for a number that is no integer.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        *,
        shuffle: Shuffle = "global",
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        limit: int | None = None,
        decode: bool = False,
        transform: Callable[[Sample], Any] | None = None,
        on_error: OnError = "raise",
        copy: bool = False,
        num_threads: int | None = None,
        prefetch: int = AHEAD_BYTES,
        window: int = WINDOW,
        sticky: bool = False,
        sticky_epochs: int = STICKY_EPOCHS,
    ) -> None:
        for name, value in {"num_threads": num_threads, "prefetch": prefetch}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}')
        self.store = store
        self.batch_size = batch_size
        self._epochs = Epochs(
            len(store),
            store.block,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
            limit=limit,
            window=window,
            sticky=sticky,
            sticky_epochs=sticky_epochs,
            run=unit_samples(store.manifest),
        )
        self._views = store.views and not decode and transform is None
        self._maker = PieceMaker(store, transform, on_error, decode=decode)
        self._skips, self._skipped = on_error == "skip", 0
        self._decode, self._copy = decode, copy
        self._threads = num_threads or usable_cores()
        self._prefetch = prefetch
        shape = None if transform else shape_of(store.manifest)
        # From one epoch to the next: memory that is given back costs page faults again, half the time of small rows.
        self._buffers = None if shape is None else Buffers(batch_size, shape.sides, prefetch)

    @property
    def epoch(self) -> int:
        """The epoch that is served now, or next."""
        return self._epochs.epoch

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._epochs)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves; from its start, unless a state of that epoch was loaded."""
        self._epochs.set_epoch(epoch)

    def state_dict(self, batches: int | None = None) -> State:
        """Return the place in the epochs, to go on from in another process: a small dict, fit for JSON.

        batches: how many batches of this iteration the training has behind it, where something between reads ahead (a
        DataLoader with workers); by default all that were handed out. All ranks save after the same batch.
        """
        return self._epochs.state(batches)

    def load_state_dict(self, state: State) -> None:
        """Go on behind a place: the next iteration serves the rest of its epoch.

        The batch size, the number of ranks and the store's format may be others than before: what is left of the epoch
        is dealt anew. Raises UsageError for a state of another order of samples, or of a place that is in no epoch.
        """
        self._epochs.load(state)

    def stats(self) -> CacheStats | None:
        """Return what the store's cache has counted in this process, and how many samples this loader has skipped.

        None for a store without a cache, unless on_error is "skip".
        """
        if isinstance(self.store, CountingStore):
            return replace(self.store.stats(), skipped=self._skipped)
        return CacheStats(skipped=self._skipped) if self._skips else None

    def __iter__(self) -> ContinuingIterator[Batch]:
        """Serve one epoch, or the rest of one."""
        return self.batches()

    def batches(self, first: int = 0, step: int = 1) -> ContinuingIterator[Batch]:
        """Serve every step-th batch of the epoch from the first on: the part of one worker of several.

        A batch that cannot be served is raised, and counts as handed out; the iteration then goes on with the next.
        """
        return ContinuingIterator(self.outcomes(first, step))

    def outcomes(self, first: int = 0, step: int = 1) -> Iterator[Batch | Failed]:
        """Yield batches as `batches` does, and in the place of one that cannot be served what is raised for it."""
        if isinstance(self.store, RefillingStore):
            self.store.turn(self._epochs.turn)
        drawn = chain.from_iterable(self._epochs.drawn(first, step))
        told = announced_ahead(self.store, drawn, self.batch_size, self._prefetch)
        for outcome in self._viewed(told) if self._views else self._worked(told):
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
            except Exception as error:  # noqa: BLE001 - raised by the iterator, which lives on
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
        """Put a batch together. pixels: what its pieces were read into, where they are not to be chained."""
        made: list[Piece] = []
        filled: dict[int, int] = {}
        for each in pieces:
            if isinstance(each, Failed):
                return each
            filled.update({len(made) * piece + place: number for place, number in each.filled.items()})
            made.append(each)
        if filled:
            indices = indices.copy()
            indices[list(filled)] = list(filled.values())
        images = [*chain.from_iterable(each.images for each in made)] if pixels is None else pixels
        places = np.array(list(filled), dtype=np.int64) if filled else _NOWHERE
        return Batch(images, self.store.index.label[indices], indices, self.store, places)


def _size_of(outcome: Piece | Failed) -> int:
    """Return the bytes that a piece of a batch holds."""
    return outcome.nbytes if isinstance(outcome, Piece) else 0
