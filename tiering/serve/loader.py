"""Loader: shuffled epochs of batches from any Store, with the near future announced to the kernel."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from tiering.dataset.images import decode as decode_image
from tiering.order import IndexArray
from tiering.serve.ahead import Ahead, announced
from tiering.serve.buffers import Buffers
from tiering.serve.cache.stats import CacheStats, Counting, Turning
from tiering.serve.cache.units import UNIT_BYTES
from tiering.serve.epochs import STICKY_EPOCHS, Epochs, State
from tiering.serve.shuffle import WINDOW, Shuffle
from tiering.store.base import Buffer, Images, PixelArray, Sample, Store, samples_in, shape_of
from tiering.system.machine import usable_cores
from tiering.text import shown

#: How many bytes the loader is ahead of its consumer by default: enough for the device's queue, little enough to stay
#: in the page cache, and well within a budget of 256 MiB for a process.
AHEAD_BYTES: Final = 64 << 20

#: What a thread makes as one piece of work, and about how many times as large as a file its pixels are.
_PIECE_BYTES: Final = 4 << 20
_PIECE_SAMPLES: Final = 64
_DECODED: Final = 6


@dataclass(frozen=True)
class Batch:
    """Some samples of one epoch, in its order.

    images: encoded bytes, as views of the store where that saves a copy; arrays uint8 (height, width, 3) when decoded;
        one array uint8 (n, height, width, channels) from a store of pixels; what the transform made, where there is
        one. labels: int32 (n,), numbers of classes as in Manifest.classes, -1 for none; indices: int64 (n,), the
        samples' numbers in the store.
    Views and arrays stay valid as long as they are referenced, even after the store is closed.
    """

    images: Images | Copied | list[Any]
    labels: npt.NDArray[np.int32]
    indices: IndexArray
    store: Store

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
            run=samples_in(UNIT_BYTES, store.manifest),
        )
        self._decode, self._transform, self._copy = decode, transform, copy
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
        """Return what the store's cache has counted in this process; None for a store without one."""
        return self.store.stats() if isinstance(self.store, Counting) else None

    def __iter__(self) -> Iterator[Batch]:
        """Serve one epoch, or the rest of one."""
        return self.batches()

    def batches(self, first: int = 0, step: int = 1) -> Iterator[Batch]:
        """Serve every step-th batch of the epoch from the first on: the part of one worker of several."""
        if isinstance(self.store, Turning):
            self.store.turn(self._epochs.turn)
        drawn = chain.from_iterable(self._epochs.drawn(first, step))
        told = announced(self.store, drawn, self.batch_size, self._prefetch)
        views = self.store.views and not self._decode and self._transform is None
        for indices, images in self._viewed(told) if views else self._worked(told):
            self._epochs.count()
            yield Batch(images, self.store.index.label[indices], indices, self.store)
        self._epochs.set_epoch(self._epochs.epoch + 1)

    def _viewed(self, batches: Iterable[IndexArray]) -> Iterator[tuple[IndexArray, Images | Copied]]:
        for indices in batches:
            images = self.store.read(indices)
            yield indices, Copied(images) if self._copy and isinstance(images, list) else images

    def _worked(self, batches: Iterable[IndexArray]) -> Iterator[tuple[IndexArray, Images | list[Any]]]:
        """Read, decode and transform on threads, in pieces smaller than a batch."""
        piece = min(samples_in(_PIECE_BYTES // (_DECODED if self._decode else 1), self.store.manifest), _PIECE_SAMPLES)
        buffers = self._buffers
        begun: deque[tuple[IndexArray, PixelArray | None]] = deque()

        def calls() -> Iterator[tuple[Callable[[], Images | list[Any]], int]]:
            for indices in batches:
                pixels = buffers.take(len(indices)) if buffers else None
                begun.append((indices, pixels))
                for at in range(0, len(indices), piece):
                    part, out = indices[at : at + piece], None if pixels is None else pixels[at : at + piece]
                    yield partial(self._piece, part, out), len(part)

        with Ahead(calls(), _size_of, self._threads, self._prefetch) as results:
            for head in results:
                indices, pixels = begun.popleft()
                rest = list(islice(results, -(-len(indices) // piece) - 1))
                yield indices, [*chain(head, *rest)] if pixels is None else pixels

    def _piece(self, indices: IndexArray, out: PixelArray | None) -> Images | list[Any]:
        images: Images | list[Any] = self.store.read(indices, out)
        decodes = self._decode and shape_of(self.store.manifest) is None
        if not decodes and self._transform is None:
            return images
        labels, keys = self.store.index.label[indices].tolist(), self.store.index.keys(indices)
        made: list[Any] = []
        try:
            for image, label, key in zip(images, labels, keys, strict=True):
                pixels = decode_image(image) if decodes else image
                made.append(self._transform(Sample(pixels, label, os.fsdecode(key))) if self._transform else pixels)
        except Exception as error:
            error.add_note(note_of(self.store, int(indices[len(made)]), keys[len(made)]))
            raise
        return made


def note_of(store: Store, index: int, key: bytes) -> str:
    """Return the note on an exception that says which sample it befell."""
    return f"sample {index:,} ({shown(key)}) of {shown(str(store.place))}"


def _size_of(images: Images | list[Any]) -> int:
    """Return the bytes that a piece of a batch holds; what tells no size counts as nothing."""
    if isinstance(images, np.ndarray):
        return images.nbytes
    return sum(len(image) if isinstance(image, bytes) else getattr(image, "nbytes", 0) for image in images)
