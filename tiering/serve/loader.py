"""Loader: shuffled epochs of batches from any Store. It announces upcoming reads to the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Self, get_args

from tiering.arrays import IndexArray
from tiering.cache.stats import CacheStats, refill, stats_of
from tiering.images.crop import Crop
from tiering.io_sizes import ANNOUNCED_BYTES, CACHE_UNIT_BYTES, PREFETCH_BYTES
from tiering.serve.batch_maker import BatchMaker
from tiering.serve.batches import Batch, Copied
from tiering.serve.epochs import Epochs
from tiering.serve.faults import ContinuingIterator, Failed, blamed
from tiering.serve.field_reads import FieldReads
from tiering.serve.image_forms import ImageForm, ReadyForm, form_of
from tiering.serve.iterations import Iterations
from tiering.serve.orders import Shuffle, at_least_one
from tiering.serve.pieces import OnError, PieceMaker
from tiering.serve.prefetch import announced_ahead, openers_of, windows_ahead
from tiering.serve.ranks import Even, Ranks
from tiering.serve.ready_images import ReadyImages
from tiering.serve.recording import recorder_of
from tiering.serve.served_samples import Servable, ServedSamples
from tiering.serve.states import State
from tiering.serve.weights import Weighting, Weights
from tiering.serve.windows import WindowReads
from tiering.store.protocol import pixels_of
from tiering.store.sample import Sample
from tiering.store.selection import fitting, selection_of, unselected
from tiering.system.machine import usable_cores

if TYPE_CHECKING:
    from tiering.serve.device import DeviceLoader


class Loader:
    """Serves epochs of batches: every sample exactly once an epoch, in an order that depends only on seed and epoch.

    With a block or sticky shuffle, the order also depends on the number of ranks. `epoch(e)` serves a particular epoch.
    Each iteration serves the next one, even if the last one was left early (the rule: tiering/serve/iterations.py).

    Args:
        store: Any store, its path or URL, or a mixture of several (`mix`).
        batch_size: Samples in a batch.
        seed: Seed of the shuffles.
        shuffle: True or "global" shuffles the whole dataset. "block" (or BlockShuffle) shuffles blocks, and samples
            within windows of blocks, for compressed chunks of many samples and for slow origins. Each rank has blocks
            of its own. "sticky" (or StickyShuffle) lets each rank keep its share for some epochs, for caches smaller
            than the dataset. False keeps the store's order.
        images: "encoded" returns encoded images as they are. "bytes" returns bytes, each copied when it is taken from
            the batch. "pixels" decodes to uint8 arrays (height, width, 3), with the upper 8 bits of deeper images.
            A store of pixels serves them with their own type and channels. A crop (`RandomResizedCrop`, `CenterCrop`,
            `Resize`, `PadCrop`) makes one array of the images of each batch, ready for training: see docs/ready.md.
            Several crops in a list make one array each.
        transform: A function that is called on threads with each Sample, whose image is decoded with `images="pixels"`,
            or cropped. `sample.rng` has random numbers that depend on seed, epoch and sample alone. Its results become
            the batch's images. If it raises, a note on the exception names the sample.
        collate: Joins the results of `transform` for a batch, given as a list. By default arrays of one shape and type
            are stacked, and so are tensors; other results stay a list.
        fields: Fields to read with the images, on the same threads: `batch["mask"]`, and `sample["mask"]` for a
            transform. With `images="pixels"`, image fields are decoded too, to the numbers that they store. With a
            crop, they are cropped like their images, by the nearest pixel: one array (n, height, width).
        ranks: The share of this process in every epoch; by default all of it.
        drop_last: Leave out the incomplete end: all ranks serve the same number of full batches, whatever `even`.
        even: How to end an epoch that the ranks cannot share evenly. "pad" lets some serve one sample of its beginning
            again (`Batch.padding`). "drop" leaves up to `world_size - 1` samples out. "error" raises at once. False
            lets some ranks serve one more sample, perhaps one more batch: collective operations then wait for ever.
        limit: Serve only that many samples, the first of each epoch's order.
        weights: Draw samples by weight: "balanced" for all classes equally often, the name of a field of numbers, or an
            array float (n,). An epoch is as many draws as the store has samples, or `limit` if that is less.
        replacement: Whether a sample may be drawn twice in an epoch. If not, an epoch is all samples of a weight above
            0, and the heavier ones tend to come first: choose how many with `limit`.
        repeats: Serve each sample this many times an epoch, for repeated augmentation. Up to as many copies as there
            are ranks go to different ranks.
        on_error: What to do when a sample cannot be decoded, or the transform raises for it. "raise" raises instead of
            returning the batch; ask for the next batch to continue. "skip" serves another sample instead, counts it in
            `stats()`, and logs a warning for the first ten. Neither changes the number of batches of a rank, and "skip"
            keeps their sizes, too. A failed read is always raised.
        prefetch: Bytes to stay ahead of the consumer: they are announced to the kernel, and read and decoded if the
            loader works on threads.
        threads: Threads that read, decode and transform; by default the usable cores.
        trace: A directory in which to record every sample served, as a trace: see docs/serving.md.

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
        store: Servable,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: Shuffle = True,
        images: ImageForm | ReadyForm = "encoded",
        transform: Callable[[Sample], Any] | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        fields: Sequence[str] = (),
        ranks: Ranks | None = None,
        drop_last: bool = False,
        even: Even = "pad",
        limit: int | None = None,
        weights: Weighting | Weights | None = None,
        replacement: bool = True,
        repeats: int = 1,
        on_error: OnError = "raise",
        prefetch: int = PREFETCH_BYTES,
        threads: int | None = None,
        trace: str | os.PathLike[str] | None = None,
    ) -> None:
        at_least_one("prefetch", prefetch)
        if threads is not None:
            at_least_one("threads", threads)
        if on_error not in get_args(OnError):
            raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}')
        form, wanted = form_of(images)
        self._served = ServedSamples.of(store, weights, replacement=replacement, repeats=repeats)
        self.store, sampling = self._served.store, self._served.sampling
        self.batch_size = batch_size
        epochs = Epochs(
            len(self.store),
            self.store.block,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            ranks=ranks,
            drop_last=drop_last,
            even=even,
            limit=limit,
            unit=fitting(CACHE_UNIT_BYTES, self.store),
            sampling=sampling,
            selection=partial(selection_of, self.store),
        )
        self.epochs, self._iterations = epochs.at(0), Iterations(epochs)
        self._ready = ReadyImages(wanted, pixels_of(unselected(self.store).manifest), seed) if wanted else None
        self._decode, self._copy = form == "pixels", form == "bytes"
        self._views = self.store.views and not self._decode and not self._ready and transform is None
        by_window = epochs.window and WindowReads.suit(self.store)
        self._windows = WindowReads(self.store) if by_window else None
        read = self._windows.read if self._windows else None
        crop = isinstance(wanted, Crop)
        self._fields = FieldReads(self.store, fields, decode=self._decode, crop=crop)
        others = sampling.stand_ins if sampling else None
        self._maker = PieceMaker(
            self.store,
            transform,
            on_error,
            seed=seed,
            decode=self._decode,
            fields=self._fields,
            ready=self._ready,
            read=read,
            stand_ins=others,
        )
        self._skips, self._skipped = on_error == "skip", 0
        self._transform, self._threads = transform, threads or usable_cores()
        self._prefetch = prefetch
        self._batches = BatchMaker(
            self.store, self._maker, batch_size, self._ready, transform, collate, self._threads, prefetch,
            decode=self._decode,
        )  # fmt: skip
        self._recorder = recorder_of(self.store, fields, trace)

    def __repr__(self) -> str:
        return f"Loader({self.store!r}, batch_size={self.batch_size}, {self._iterations!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close(error)

    def close(self, error: BaseException | None = None) -> None:
        """Finish the trace, and close the store if the loader opened it; a store that was handed in stays open.

        Args:
            error: What ended the training early, for the trace.
        """
        if self._recorder:
            self._recorder.close(error)
        if self._served.owned:
            self.store.close()

    @property
    def current_epoch(self) -> int:
        """The epoch that is being served, or is next."""
        return self._iterations.epoch

    def epoch(self, epoch: int) -> ContinuingIterator[Batch]:
        """Serve one epoch, from its start, or from the position of a loaded state of that epoch."""
        self.set_epoch(epoch)
        return self.batches()

    def __len__(self) -> int:
        """Return the number of batches in the current epoch; after a resume, of those that were left."""
        return len(self._iterations)

    def to(self, device: Any) -> DeviceLoader:
        """Return a loader of the same epochs whose batches hold PyTorch tensors on a device, such as "cuda"."""
        from tiering.serve.device import DeviceLoader  # noqa: PLC0415 - PyTorch is optional

        loader = DeviceLoader(self, device, self._transform is None and (not self._ready or self._ready.channels_last))
        if memory := loader.memory:
            self._batches.allocate_with(memory)
        return loader

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves, from its start unless a state of that epoch was loaded."""
        self._iterations.set_epoch(epoch)

    def state_dict(self, batches: int | None = None) -> State:
        """Return the position in the epochs, from which another process can resume: a small dict that JSON can hold.

        It is the position of the iterator that began last. All ranks must save after the same batch.

        Args:
            batches: How many batches of this iteration the training has finished; by default all that were handed out.
                Pass it if something in between reads ahead, such as a DataLoader with workers.
        """
        return self._iterations.state(batches)

    def load_state_dict(self, state: State) -> None:
        """Resume: the next iteration serves the rest of the saved epoch, and the ones after it go on from there.

        Batch size, ranks and the store's format may have changed: the rest of the epoch is divided accordingly.

        Raises:
            UsageError: For a state with another order of samples, or a position outside the epoch.
        """
        self._iterations.load(state)

    def stats(self) -> CacheStats | None:
        """Return the counts of the store's cache in this process, and how many samples this loader has skipped.

        Returns:
            The counts; None for a store without a cache, unless `on_error` is "skip".
        """
        counts = stats_of(self.store) or (CacheStats() if self._skips else None)
        return counts and replace(counts, skipped=self._skipped)

    def __iter__(self) -> ContinuingIterator[Batch]:
        """Serve the next epoch, or the rest of the one whose state was loaded."""
        return self.batches()

    def batches(self, first: int = 0, step: int = 1) -> ContinuingIterator[Batch]:
        """Serve every step-th batch of the epoch, starting with the given one: the part of one of several workers.

        If a batch cannot be served, the iterator raises its exception. The batch counts as handed out, and the next
        call continues with the next one.

        Args:
            first: The first batch to serve, from 0.
            step: The number of workers.
        """
        return ContinuingIterator(self.outcomes(self._iterations.begin(), first, step))

    def outcomes(self, epoch: Epochs, first: int = 0, step: int = 1) -> Iterator[Batch | Failed]:
        """Yield batches as `batches` does, from a position of `epochs`, and a `Failed` for a batch that failed."""
        refill(self.store, epoch.deal)
        announced, padded = self._announced(epoch, first, step), epoch.padded
        draws = chain.from_iterable(epoch.draws(first, step))
        worked = self._viewed(announced) if self._views else self._batches.made(announced, draws, epoch.epoch)
        for number, outcome in enumerate(worked):
            epoch.count()
            if isinstance(outcome, Batch):
                self._skipped += len(outcome.filled)
                if first + number * step == padded:
                    outcome = replace(outcome, padding=1)  # noqa: PLW2901 - the same batch
                if self._recorder:
                    self._recorder.add(outcome.indices, len(outcome.indices))
            yield outcome
        epoch.ended = True

    def _announced(self, epoch: Epochs, first: int, step: int) -> Iterator[IndexArray]:
        """Return the batches, each announced before it is yielded."""
        if not epoch.window or unselected(self.store).manifest.kind == "folder":
            drawn = chain.from_iterable(epoch.drawn(first, step))
            openers = openers_of(self.store, self._threads)
            return announced_ahead(self.store, drawn, self.batch_size, self._prefetch, openers, to=self._fields)
        if self._windows:
            self._windows.forget()
        least = fitting(ANNOUNCED_BYTES, self.store)
        # The next window is announced while this one is served, however little `prefetch` asks for.
        most = max(2, fitting(self._prefetch, self.store) // max(least, epoch.window))
        drawn_by_window = epoch.drawn_with_windows(first, step)
        return windows_ahead(self._windows or self._fields, drawn_by_window, least, most)

    def _viewed(self, batches: Iterable[IndexArray]) -> Iterator[Batch | Failed]:
        for indices in batches:
            try:
                images = self.store.read(indices)
                found = Copied(images) if self._copy and isinstance(images, list) else images
                labels, fields = self.store.index.label[indices], self._fields.read(indices)
                outcome: Batch | Failed = Batch(found, labels, indices, self.store, fields=fields)
            except Exception as error:  # noqa: BLE001 - raised by the iterator, which continues
                outcome = Failed(blamed(self.store, indices, error))
            yield outcome
