"""Measure shuffled epochs of stores, with the same order and the same consumer for each."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tiering.advice.prediction import hit_ratio
from tiering.cache.cached_store import CachedStore
from tiering.cache.stats import CacheStats
from tiering.errors import UsageError
from tiering.measure.device import random_read_bandwidth
from tiering.serve.loader import Loader
from tiering.store.open import open_store
from tiering.store.protocol import Buffer, Store
from tiering.system.page_cache import drop


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times and rates of shuffled epochs from one store. Rates are per second; bytes are encoded bytes.

    Attributes:
        store: Path or URL of the store.
        kind: Its format.
        samples: Samples in an epoch.
        image_bytes: Encoded bytes in an epoch.
        cold: Whether the first epoch began with nothing in the page cache.
        first_seconds: Time of the first epoch, s.
        later_seconds: Median time of the later epochs, s.
        first_samples_per_s: Rate of the first epoch.
        later_samples_per_s: Rate of the median later epoch.
        first_bytes_per_s: Rate of the first epoch.
        later_bytes_per_s: Rate of the median later epoch.
        device_bytes_per_s: Bandwidth of random direct reads of 128 KiB, 32 at a time, just before the first epoch; None
            if that could not be measured.
        first_vs_device: first_bytes_per_s / device_bytes_per_s, None if the first epoch was not cold.
        first_vs_folder: Ratio of first_samples_per_s to that of the plain folder of the same run; None without one.
        later_vs_folder: The same ratio of later_samples_per_s.
        hit_ratio: Share of the later epochs' samples that came from tiering's cache; None without a cache.
        predicted_hit_ratio: The prediction for a cache of that size; None without a cache.
    """

    store: str
    kind: str
    samples: int
    image_bytes: int
    cold: bool
    first_seconds: float
    later_seconds: float
    first_samples_per_s: float
    later_samples_per_s: float
    first_bytes_per_s: float
    later_bytes_per_s: float
    device_bytes_per_s: float | None = None
    first_vs_device: float | None = None
    first_vs_folder: float | None = None
    later_vs_folder: float | None = None
    hit_ratio: float | None = None
    predicted_hit_ratio: float | None = None


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
    progress: Callable[[str], None] | None = None,
    watch: Callable[[Moment], None] | None = None,
) -> list[Measurement]:
    """Serve shuffled epochs from each store and measure them.

    The consumer copies every byte once, as a decoder would read it, so that mapped stores do not gain by never reading.

    Args:
        stores: Stores, their paths or URLs, and dataset directories; one is measured after the other. The first
            directory is the baseline of the others. Pass `tiering.cached(...)` to measure a store behind a cache.
        epochs: Epochs to serve from each, at least 2. The first is cold if its files can be dropped from the page
            cache; the others are warm.
        batch_size: Samples in a batch.
        seed: Seed of the shuffles.
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
        raise UsageError("epochs", expected="at least 2 epochs: a first and a later one", found=str(epochs))
    found = []
    for each in stores:
        with open_store(each) if isinstance(each, str | os.PathLike) else nullcontext(each) as store:
            if progress:
                progress(f"{store.location}: {len(store):,} samples, {epochs} epochs")
            found.append(_measure(store, epochs, batch_size, seed, watch))
    return _against_folder(_against_device(found))


def _measure(
    store: Store, epochs: int, batch_size: int, seed: int, watch: Callable[[Moment], None] | None
) -> Measurement:
    files = (store.origin if isinstance(store, CachedStore) else store).files()
    device = random_read_bandwidth(files)
    cold = drop(files)
    loader = Loader(store, batch_size, seed=seed)
    scratch = bytearray(int(store.index.size.max()))
    seconds = []
    first = None
    for epoch in range(epochs):
        first = loader.stats() if epoch == 1 else first
        loader.set_epoch(epoch)
        began = time.perf_counter()
        samples = 0
        for batch in loader:
            for image in batch.images:
                data = _bytes_of(image)
                scratch[: len(data)] = data
            samples += len(batch)
            if watch:
                spent = time.perf_counter() - began
                watch(Moment(str(store.location), epoch, epochs, samples, len(store), spent, loader.stats()))
        seconds.append(time.perf_counter() - began)
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
        first_samples_per_s=samples / seconds[0],
        later_samples_per_s=samples / later,
        first_bytes_per_s=size / seconds[0],
        later_bytes_per_s=size / later,
        device_bytes_per_s=device,
        hit_ratio=_hit_ratio(first, loader.stats()),
        predicted_hit_ratio=hit_ratio(store.capacity, size) if isinstance(store, CachedStore) else None,
    )


def _hit_ratio(before: CacheStats | None, now: CacheStats | None) -> float | None:
    if before is None or now is None:
        return None
    return CacheStats(hits=now.hits - before.hits, misses=now.misses - before.misses).hit_ratio


def _against_device(found: list[Measurement]) -> list[Measurement]:
    """Compare with the device; a folder of small files uses the measurement of a store on the same device."""
    known: dict[int, float] = {}
    device_of = {each.store: Path(each.store).stat().st_dev for each in found if Path(each.store).exists()}
    for each in found:
        if each.device_bytes_per_s is not None:
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


def _bytes_of(image: Buffer | npt.NDArray[np.uint8]) -> bytes | memoryview:
    return image.reshape(-1).data if isinstance(image, np.ndarray) else image
