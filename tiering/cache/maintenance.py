"""Maintenance of a cache: list its contents, check them, fill it in advance, and clear it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np

from tiering.cache.cached_datasets import DatasetNotes, checked_notes, in_use, last_used, open_slot_table
from tiering.cache.cached_store import CachedStore
from tiering.cache.directory import CacheDirectory, read_marker
from tiering.cache.files import default_directory, open_file
from tiering.cache.memory_directory import memory_of
from tiering.cache.slot_table import Payloads, payloads_of
from tiering.errors import StoreError, TieringError, UsageError
from tiering.io_sizes import PREFETCH_BYTES
from tiering.progress import Progress, no_progress
from tiering.storage.location import Location
from tiering.store.protocol import samples_in

#: Bytes that `warm_cache` reads at once.
_READ_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class CachedDataset:
    """The cached part of one dataset.

    Attributes:
        origin: Path or URL of the dataset.
        samples: Samples in the whole dataset.
        image_bytes: Bytes of all its images.
        cached_bytes: Bytes of it that are cached on disk.
        ram_bytes: Bytes of it that are cached in memory.
        in_use: Whether a process uses it now.
        last_used: When it was used last, s since 1970.
    """

    origin: str
    samples: int
    image_bytes: int
    cached_bytes: int
    ram_bytes: int
    in_use: bool
    last_used: float


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The contents of a cache directory.

    Attributes:
        directory: Its path.
        size: Its bound in bytes.
        used_bytes: Bytes of all files in it.
        ram_size: Bound of the cache in memory beside it; 0 without one.
        ram_used_bytes: Bytes of the files there.
        datasets: The cached datasets, the one used last at the end.
    """

    directory: str
    size: int
    used_bytes: int
    ram_size: int
    ram_used_bytes: int
    datasets: tuple[CachedDataset, ...]


@dataclass(frozen=True, slots=True)
class CacheCheck:
    """The result of `verify_cache`.

    Attributes:
        units: Units that were read.
        damaged: How many of them were damaged, and removed.
    """

    units: int
    damaged: int


def cache_info(directory: str | os.PathLike[str] | None = None) -> CacheInfo:
    """Describe a cache: its bound, its size, and its datasets.

    Args:
        directory: The cache; by default the one below the user's cache directory.

    Raises:
        UsageError: If the directory is not a cache.
    """
    disk, *memory = _directories(directory)
    found = []
    for dataset, notes in _known(disk):
        ram = sum(_cached_bytes(each, each.dataset(dataset.name)) for each in memory)
        used = last_used(dataset)
        cached = _cached_bytes(disk, dataset)
        found.append(CachedDataset(notes.origin, notes.samples, notes.image_bytes, cached, ram, in_use(dataset), used))
    ram_size, ram_used = sum(each.size for each in memory), sum(each.used_bytes() for each in memory)
    return CacheInfo(str(disk.path), disk.size, disk.used_bytes(), ram_size, ram_used, tuple(found))


def verify_cache(directory: str | os.PathLike[str] | None = None, progress: Progress = no_progress) -> CacheCheck:
    """Check the CRC-32C of every unit in a cache. Remove damaged ones; they are fetched again when needed.

    Args:
        directory: The cache; by default the one below the user's cache directory.
        progress: Called with the units checked, all units, and the bytes checked.

    Raises:
        UsageError: If the directory is not a cache.
    """
    units = damaged = checked = 0
    held = [(cache, dataset) for cache in _directories(directory) for dataset, _ in _known(cache)]
    of = sum(len(found.units) for each in held for found in _payloads(*each))
    progress(0, of, 0)
    for cache, dataset in held:
        slots = open_slot_table(dataset)
        for found in _payloads(cache, dataset):
            crcs = slots.find(found.units).crc.tolist()
            rows = zip(found.units.tolist(), found.offsets.tolist(), found.sizes.tolist(), crcs, strict=True)
            units += len(crcs)
            with os.fdopen(open_file(found.path, os.O_RDONLY), "rb") as file:
                for unit, offset, size, crc in rows:
                    payload = os.pread(file.fileno(), min(size, cache.pool.extent_bytes), offset)
                    checked += len(payload)
                    if google_crc32c.value(payload) != crc:
                        damaged += 1
                        slots.withdraw(unit)
            progress(units, max(of, units), checked)
    return CacheCheck(units, damaged)


def clear_cache(
    directory: str | os.PathLike[str] | None = None, origin: str | os.PathLike[str] | None = None
) -> list[str]:
    """Remove datasets from a cache.

    Args:
        directory: The cache; by default the one below the user's cache directory.
        origin: Path or URL of the dataset to remove; by default all are removed.

    Returns:
        The origins that were removed.

    Raises:
        UsageError: If the directory is not a cache, does not hold the origin, or if a process uses the dataset.
    """
    disk, *memory = _directories(directory)
    named = None if origin is None else str(Location.of(origin))
    with disk.locked():
        origins = {each: notes.origin for each, notes in _known(disk)}
        chosen = {each: name for each, name in origins.items() if named in (None, name)}
        if named is not None and not chosen:
            raise UsageError(named, found="the cache does not hold this origin")
        for each, name in chosen.items():
            if in_use(each):
                raise UsageError(
                    name, found="a process is using it",
                    action="Wait for the processes that read it.",
                )  # fmt: skip
        for each in chosen:
            for cache in (disk, *memory):
                cache.forget(each.name)
    return list(chosen.values())


def caches_of(origin: str | os.PathLike[str]) -> list[str]:
    """Return the caches in the user's cache directory that hold samples of a dataset, of any generation.

    Args:
        origin: Path or URL of the dataset.
    """
    try:
        directories = _directories(None)
    except TieringError:
        return []
    named = str(Location.of(origin))
    return [str(each.path) for each in directories if any(notes.origin == named for _, notes in _known(each))]


def warm_cache(store: CachedStore, progress: Progress = no_progress) -> None:
    """Fetch a dataset in the order of its store, until the cache holds all of it or is full.

    Args:
        store: A cached store, as `cached` returns it.
        progress: Called with the number of samples read, the number of all samples, and the bytes read.

    Raises:
        StoreError: As `store.read` does.
    """
    samples, size = len(store), 0
    step = samples_in(_READ_BYTES, store.manifest)
    ahead = step * (PREFETCH_BYTES // _READ_BYTES)
    progress(0, samples, 0)
    for begin in range(0, samples, step):
        end = min(begin + step, samples)
        # The first call announces the first `ahead` samples; each later one announces one more step.
        store.announce(np.arange(begin + ahead if begin else 0, min(end + ahead, samples)))
        store.read(np.arange(begin, end))
        size += int(store.index.size[begin:end].sum())
        progress(end, samples, size)
        if store.full:
            return


def _known(cache: CacheDirectory) -> Iterator[tuple[Path, DatasetNotes]]:
    """Yield the datasets of a cache, except damaged and foreign ones."""
    for dataset in cache.datasets():
        try:
            yield dataset, checked_notes(dataset)
        except StoreError:
            continue


def _cached_bytes(cache: CacheDirectory, dataset: Path) -> int:
    try:
        checked_notes(dataset)
    except StoreError:
        return 0
    return sum(int(found.sizes.sum()) for found in _payloads(cache, dataset))


def _directories(given: str | os.PathLike[str] | None) -> list[CacheDirectory]:
    """Return a cache directory on disk, followed by the one in memory that goes with it, if there is one."""
    path = default_directory() if given is None else Path(given).absolute()
    memory = memory_of(path)
    disk = CacheDirectory.at(path)
    return [disk, CacheDirectory.at(memory, volatile=True)] if read_marker(memory) else [disk]


def _payloads(cache: CacheDirectory, dataset: Path) -> Iterator[Payloads]:
    return payloads_of(open_slot_table(dataset), dict(enumerate(cache.pool.paths())))
