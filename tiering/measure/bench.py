"""Measure shuffled epochs of stores, with the same order and the same consumer for each."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from tiering.advice.catalog import Tier
from tiering.advice.cpu_costs import Costs
from tiering.advice.prediction import hit_ratio
from tiering.cache.cached_store import CachedStore
from tiering.cache.stats import CacheStats
from tiering.errors import UsageError
from tiering.images.crop import Crop
from tiering.measure.device import random_read_bandwidth
from tiering.measure.emulated_job import EmulatedEpoch, EmulatedJob
from tiering.measure.measurement import Measurement, Utilisation
from tiering.measure.predicted_utilisation import StoredAs, costs_of, device_as_tier, predicted_utilisation, stored_as
from tiering.measure.read_batches import ByteReader
from tiering.serve.batches import Batch
from tiering.serve.loader import Loader
from tiering.store.open import open_store
from tiering.store.protocol import Store
from tiering.store.selection import unselected
from tiering.system.page_cache import drop
from tiering.units import counted


@dataclass(frozen=True, slots=True)
class Moment:
    """The progress of a measurement.

    Attributes:
        store: Path or URL of the store.
        epoch: Number of the running epoch, from 0.
        epochs: Epochs in all.
        samples: Samples served so far in this epoch.
        of: Samples in an epoch.
        seconds: Time since the epoch began, s.
        stats: Counts of the cache since it was opened; None without a cache.
    """

    store: str
    epoch: int
    epochs: int
    samples: int
    of: int
    seconds: float
    stats: CacheStats | None


def bench(
    stores: Iterable[str | os.PathLike[str] | Store],
    *,
    epochs: int = 3,
    batch_size: int = 256,
    seed: int = 0,
    images: Crop | None = None,
    job: EmulatedJob | None = None,
    tier: Tier | None = None,
    costs: Costs | None = None,
    progress: Callable[[str], None] | None = None,
    watch: Callable[[Moment], None] | None = None,
) -> list[Measurement]:
    """Serve shuffled epochs from each store and measure them.

    The consumer copies every byte once, as a decoder would read it, so that mapped stores do not gain by never reading.

    Args:
        stores: Stores, selections, paths or URLs of stores, and dataset directories; one is measured after the other.
            The first directory is the baseline of the others. Pass `tiering.cached(...)` to measure one behind a cache.
        epochs: Epochs to serve from each, at least 2. The first is cold if its files can be dropped from the page
            cache; the others are warm.
        batch_size: Samples in a batch; a job brings its own.
        seed: Seed of the shuffles.
        images: Measure batches that are ready for training, as the Loader makes them from this crop. By default encoded
            images are served.
        job: A training job to emulate (`emulated_job`): each batch takes its compute time, and the measurement says how
            busy its accelerator was. By default the consumer takes batches as fast as they come.
        tier: Where the stores are, for the predicted utilisation. By default the device as it is measured here.
        costs: Processor time of a sample, for the predicted utilisation. By default it is measured with some samples of
            the stores, which takes some seconds.
        progress: Called with a line of text as each store begins.
        watch: Called with a Moment after every batch.

    Returns:
        One measurement per store, in order.

    Raises:
        UsageError: For fewer than 2 epochs.
        TieringError: Further errors of open_store.

    Example:
        >>> folder, packed = tiering.bench(["photos", "photos.lmdb"], epochs=2)  # doctest: +SKIP
        >>> packed.later_vs_folder  # doctest: +SKIP
        6.1
    """
    if epochs < 2:
        raise UsageError("epochs", rule="must be at least 2 epochs: a first and a later one", found=str(epochs))
    found, forms = [], []
    measured: dict[tuple[int, int], Costs] = {}
    for each in stores:
        with open_store(each) if isinstance(each, str | os.PathLike) else nullcontext(each) as store:
            if progress:
                progress(f"{store.location}: {counted(len(store), 'sample')}, {counted(epochs, 'epoch')}")
            found.append(_measure(store, epochs, batch_size, seed, images, job, watch))
            if job is not None and images is None:  # the model predicts the rate of encoded images
                forms.append(_form(store, costs, measured, progress))
    compared = _against_folder(_against_device(found))
    if job is None or not forms:
        return compared
    return [_predicted(each, form, job, tier) for each, form in zip(compared, forms, strict=True)]


def _measure(
    store: Store,
    epochs: int,
    batch_size: int,
    seed: int,
    images: Crop | None,
    job: EmulatedJob | None,
    watch: Callable[[Moment], None] | None,
) -> Measurement:
    cache = cache_of(store)
    files = (cache.origin if cache else store).files()
    device = random_read_bandwidth(files)
    cold = drop(files)
    batch_size = batch_size if job is None else job.batch_size
    loader = Loader(store, batch_size, seed=seed, images="encoded" if images is None else images)
    read = ByteReader(store) if images is None else _leave
    seconds, worked = [], []
    emulated: list[EmulatedEpoch] = []
    first = None
    for epoch in range(epochs):
        first = loader.stats() if epoch == 1 else first
        loader.set_epoch(epoch)
        began, busy = time.perf_counter(), time.process_time()
        samples = 0
        if job is None:
            served = _served(loader, read)
        else:
            emulated.append(EmulatedEpoch(job))
            served = emulated[-1].serve(loader, read)
        for batch in served:
            samples += len(batch)
            if watch:
                spent = time.perf_counter() - began
                watch(Moment(str(store.location), epoch, epochs, samples, len(store), spent, loader.stats()))
        seconds.append(time.perf_counter() - began)
        worked.append(time.process_time() - busy)
    later = statistics.median(seconds[1:])
    size = store.manifest.image_bytes
    return Measurement(
        store=str(store.location),
        kind=store.manifest.kind,
        samples=samples,
        image_bytes=size,
        cold=cold,
        first_seconds=seconds[0],
        later_seconds=later,
        later_cpu_seconds=statistics.median(worked[1:]),
        first_samples_per_s=samples / seconds[0],
        later_samples_per_s=samples / later,
        first_bytes_per_s=size / seconds[0],
        later_bytes_per_s=size / later,
        device_bytes_per_s=device,
        hit_ratio=_hit_ratio(first, loader.stats()),
        predicted_hit_ratio=hit_ratio(cache.capacity, size) if cache else None,
        utilisation=None if job is None else _utilisation(job, emulated, size / samples),
    )


def _leave(batch: Batch) -> None:
    """Do nothing with a ready batch: the loader has written each of its numbers."""


def cache_of(store: Store) -> CachedStore | None:
    """Return the cache that a store is, or that a selection selects from."""
    whole = unselected(store)
    return whole if isinstance(whole, CachedStore) else None


def _served(loader: Loader, read: Callable[[Batch], None]) -> Iterator[Batch]:
    """Yield the batches of an epoch as fast as they come, each after its bytes were read."""
    for batch in loader:
        read(batch)
        yield batch


def _utilisation(job: EmulatedJob, epochs: list[EmulatedEpoch], sample_bytes: float) -> Utilisation:
    later = [epoch.utilisation for epoch in epochs[1:] if epoch.utilisation is not None]
    return Utilisation(
        first=epochs[0].utilisation,
        later=statistics.median(later) if later else None,
        predicted_first=None,
        predicted_later=None,
        required=job.required,
        steps=epochs[0].steps,
        step_seconds=job.step_s,
        samples_per_s=job.samples_per_s,
        sample_bytes=sample_bytes,
        emulated_sample_bytes=job.sample_bytes,
    )


def _form(
    store: Store, costs: Costs | None, measured: dict[tuple[int, int], Costs], progress: Callable[[str], None] | None
) -> tuple[StoredAs, Costs] | None:
    """Return a store as the model sees it, with the costs of its samples; None behind a cache, which is not predicted.

    measured: costs by samples and bytes of a dataset, so that those of each dataset are measured only once.
    """
    if cache_of(store) is not None:
        return None
    form = stored_as(store)
    if costs is not None:
        return form, costs
    dataset = len(store), store.manifest.image_bytes
    if dataset not in measured:
        if progress:
            progress(f"{store.location}: measuring this processor with some of its samples")
        measured[dataset] = costs_of(store)
    return form, measured[dataset]


def _predicted(
    found: Measurement, form: tuple[StoredAs, Costs] | None, job: EmulatedJob, tier: Tier | None
) -> Measurement:
    """Add the predicted utilisation, unless the store is behind a cache.

    A cold epoch is predicted where the tier or the device is known; a warm one reads nothing from either.
    """
    if form is None or found.utilisation is None:
        return found
    device = found.device_bytes_per_s
    where = tier or device_as_tier(device)
    stored, costs = form
    cold, warm = predicted_utilisation(stored, where, job.samples_per_s, costs)
    first = warm if not found.cold else cold if tier or device else None
    return replace(found, utilisation=replace(found.utilisation, predicted_first=first, predicted_later=warm))


def _hit_ratio(before: CacheStats | None, now: CacheStats | None) -> float | None:
    if before is None or now is None:
        return None
    return CacheStats(hits=now.hits - before.hits, misses=now.misses - before.misses).hit_ratio


def _against_device(found: list[Measurement]) -> list[Measurement]:
    """Compare with the device; a folder of small files uses the measurement of a store on the same device."""
    known: dict[int, float] = {}
    device_of = {each.store: Path(each.store).stat().st_dev for each in found if Path(each.store).exists()}
    for each in found:
        if each.device_bytes_per_s is not None and each.store in device_of:  # several stores together have no path
            known.setdefault(device_of[each.store], each.device_bytes_per_s)
    compared = []
    for each in found:
        limit = each.device_bytes_per_s or known.get(device_of.get(each.store, -1))
        share = each.first_bytes_per_s / limit if limit and each.cold else None
        compared.append(replace(each, device_bytes_per_s=limit, first_vs_device=share))
    return compared


def _against_folder(found: list[Measurement]) -> list[Measurement]:
    folder = next((each for each in found if each.kind == "folder"), None)
    if folder is None:
        return found
    return [
        replace(
            each,
            first_vs_folder=each.first_samples_per_s / folder.first_samples_per_s,
            later_vs_folder=each.later_samples_per_s / folder.later_samples_per_s,
        )
        for each in found
    ]
