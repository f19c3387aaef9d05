"""CachedStore: local disk and memory in front of any Store, filled once; and `cached`, which opens one."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.cache.cached_runs import CachedRuns
from tiering.cache.directory import CacheDirectory
from tiering.cache.files import default_directory
from tiering.cache.filler import Appender, Filler
from tiering.cache.level import CacheLevel, CacheUnits, MappedExtents
from tiering.cache.memory_directory import open_memory
from tiering.cache.origin import Origin, refuse_concatenation
from tiering.cache.shared_units import shared_selection
from tiering.cache.stats import CacheStats, HitCounter
from tiering.errors import TieringError
from tiering.io_sizes import CACHE_UNIT_BYTES
from tiering.store.indices import as_indices, inside
from tiering.store.open import open_store
from tiering.store.protocol import Images, Store, StoreBase, images_of, samples_in, shape_of
from tiering.store.sample import Buffer
from tiering.store.selection import selection_of
from tiering.units import parse_capacity


def cached(
    origin: Store | str | os.PathLike[str],
    size: int | str,
    directory: str | os.PathLike[str] | None = None,
    *,
    ram: int | str = 0,
    force: bool = False,
    shared_group: bool = False,
    trace: str | os.PathLike[str] | None = None,
) -> CachedStore:
    """Put a cache on a local disk in front of a dataset, shared by all processes that name the same directory.

    Args:
        origin: A store, its path or URL, or a directory of images.
        size: Bound of the cache in bytes, or as "200GB". It holds at every instant, for everything in the directory.
        directory: The directory of the cache; by default one below the user's cache directory.
        ram: Bound of a second level in memory, in bytes or as "50GB", for samples that do not fit on the disk. It is
            emptied when the last process closes it.
        force: Accept a directory on a network file system.
        shared_group: Let the group of a new directory use it; by default only its owner can.
        trace: A directory in which to record every read of the origin, as a trace: see docs/serving.md.

    Returns:
        A store of the same samples. Close it after use.

    Raises:
        UsageError: If the directory is not a cache, is in use with another size, or is on a network file system.
        MachineError: If the directory cannot be written.
        TieringError: Further errors of open_store.

    Example:
        with tiering.cached("s3://bucket/photos.lmdb", "200GB") as store:
            for batch in tiering.Loader(store, 256):
                ...
    """
    refuse_concatenation(origin)
    bound, ram_bound = (parse_capacity(each) if isinstance(each, str) else each for each in (size, ram))
    disk = CacheDirectory(Path(directory or default_directory()).absolute(), bound, force=force, shared=shared_group)
    memory = open_memory(disk.path, ram_bound) if ram_bound else None
    return CachedStore(open_store(origin) if isinstance(origin, str | os.PathLike) else origin, disk, memory, trace)


class CachedStore(StoreBase):
    """A store whose samples are fetched from an origin once, as long as they fit into a cache.

    Units of samples are admitted until the cache is full, and stay: every epoch reads every sample once, so no policy
    can hit more than the share that fits (Mohan et al., "Analyzing and Mitigating Data Stalls in DNN Training", VLDB
    2021, section 4). Announced samples are fetched in the background. If two processes need the same unit, one of them
    fetches it. Samples from a packed origin are checked against its CRC-32Cs. Each process checks cached units on their
    first use.

    A cache of a selection keeps the units of the whole store, so that all selections from it share them, unless these
    would take much more space than the selected samples.

    Args:
        origin: Any store that is not a cache.
        disk: The directory of the cache, shared by all processes and jobs that use it.
        memory: A directory in memory, for units that do not fit on the disk.
        trace: As for `cached`.

    Raises:
        MachineError: If the dataset's slot table does not fit into the cache, or the cache cannot be written.
    """

    _filler: Filler

    def __init__(
        self,
        origin: Store,
        disk: CacheDirectory,
        memory: CacheDirectory | None = None,
        trace: str | os.PathLike[str] | None = None,
    ) -> None:
        self.location, self.manifest, self.index = origin.location, origin.manifest, origin.index
        self.block, self.fields = origin.block, origin.fields
        self._runs = CachedRuns(origin.runs, lambda run: CachedStore(run, disk, memory, trace))
        self.runs: Mapping[str, Store] = self._runs
        self.selection = selection_of(origin)
        self._given, self._selected = origin, shared_selection(origin)
        kept = self._selected.origin if self._selected else origin
        self._sizes = kept.index.size
        self._shape = shape_of(origin.manifest)
        self.views = self._shape is None
        self.disk, self.memory = disk, memory
        self._trace, self._origin = trace, Origin(kept, trace)
        self._units = CacheUnits(self._sizes, samples_in(CACHE_UNIT_BYTES, kept.manifest))
        self._join(0)
        self._begin()

    def __repr__(self) -> str:
        return f"CachedStore({self._given!r}, {self.disk!r}, memory={self.memory!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as the arguments of `cached`."""
        ram = self.memory.size if self.memory else 0
        return partial(cached, ram=ram, force=True, trace=self._trace), (self._given, self.disk.size, self.disk.path)

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: a sample may be in the cache or at the origin."""

    def files(self) -> list[Path]:
        """Return an empty list: the files of a cache are not files of a store."""
        return []

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return samples in the given order, cached ones as views; wait for missing ones.

        Args:
            indices: int64 (n,), the numbers of the samples.
            out: As for Store.read.

        Raises:
            StoreError: If the origin does not match its index.
            MachineError: If the origin does not answer.
        """
        return images_of(self._raw(self._kept(as_indices(indices, len(self)))), self._shape, out)

    def announce(self, indices: IndexArray) -> None:
        """Start to fetch samples that are missing, and to read cached ones into the page cache.

        Args:
            indices: int64 (n,), the numbers of the samples.
        """
        indices = self._kept(inside(indices, len(self)))
        extent, begin, size = self._find(indices)
        there = extent >= 0
        if not there.all():
            self._filler.ask(indices[~there])
        on_disk = there & (extent < self._extents.on_disk)
        if on_disk.any() and not self._extents.resident():
            with suppress(TieringError, OSError):  # read() will raise
                self._extents.announce(extent[on_disk], begin[on_disk], size[on_disk])

    def refill(self, number: int) -> None:
        """Start to cache a new set of samples; what was cached for an earlier set is evicted when space is needed.

        The Loader calls this between epochs.

        Args:
            number: A number for the set, the same in all processes. Nothing happens if it is still the same.
        """
        if number == self._deal:
            return
        self._own()
        self._filler.settle()
        self._admitted_before += self._filler.admitted_bytes
        for level in self.levels:
            level.close()
        self._extents.close()
        self._join(number)
        self._filler = Filler(self._origin, self._units, self.levels, self._writers())

    def stats(self) -> CacheStats:
        """Return the counts of this process."""
        self._own()
        traffic = self._origin.fetcher.traffic
        return replace(
            self._counter.counts,
            origin_bytes=traffic.bytes,
            origin_requests=traffic.requests,
            retries=traffic.retries,
            hedged=traffic.hedged,
            admitted_bytes=self._admitted_before + self._filler.admitted_bytes,
            in_flight=traffic.in_flight,
            depth=traffic.limit,
            ahead=self._filler.ahead,
        )

    @property
    def origin(self) -> Store:
        """The store behind the cache."""
        return self._given

    @property
    def capacity(self) -> int:
        """Bytes that the cache can hold, on disk and in memory: its bounds, or less if too little memory is free."""
        return sum(level.directory.capacity for level in self.levels)

    @property
    def full(self) -> bool:
        """Whether the cache refused the last unit that this process tried to add."""
        return self._filler.full

    def close(self) -> None:
        """Close files, maps and connections. Referenced views stay valid, and the cached data stays."""
        self._own()
        self._filler.close()
        self._origin.close()
        for level in self.levels:
            level.close()
        self._extents.close()
        for run in self._runs.opened():
            run.close()
        self._given.close()

    def _kept(self, indices: IndexArray) -> IndexArray:
        """Return the numbers of samples in the store whose units are cached."""
        return self._selected.in_origin(indices) if self._selected else indices

    def _find(self, indices: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
        """Return the extent of each sample (-1: not cached), its offset there, and its size in bytes."""
        self._own()
        units = self._units.of(indices)
        first, *others = self.levels
        extent, offset = first.find(units)
        for level in others:
            lacking = np.flatnonzero(extent < 0)
            extent[lacking], offset[lacking] = level.find(units[lacking])
        return extent, offset + self._units.within(indices), self._sizes[indices]

    def _cached(self, indices: IndexArray) -> tuple[IndexArray, list[Buffer]]:
        """Return the extent of each sample (-1: not cached), and the bytes of the cached ones."""
        extent, begin, size = self._find(indices)
        there = extent >= 0
        if there.all():
            return extent, list(self._extents.views(extent, begin, size))
        return extent, list(self._extents.views(extent[there], begin[there], size[there]))

    def _raw(self, indices: IndexArray) -> list[Buffer]:
        """Return the bytes of samples, and count them."""
        extent, views = self._cached(indices)
        there = extent >= 0
        missing = ~there | self._filler.coming(indices)
        in_ram = ~missing & (extent >= self._extents.on_disk)
        if not missing.any():
            self._counter.add(self._sizes[indices], missing, in_ram, 0.0)
            return views
        self._filler.ask(indices[~there])
        found = dict(zip(indices[there].tolist(), views, strict=True))
        began = time.monotonic()
        found.update(self._fetched(indices[missing]))
        self._counter.add(self._sizes[indices], missing, in_ram, time.monotonic() - began)
        return [found[sample] for sample in indices.tolist()]

    def _fetched(self, samples: IndexArray) -> dict[int, Buffer]:
        """Wait for samples that are being fetched; those that were admitted meanwhile come from the cache."""
        found: dict[int, Buffer] = {}
        while len(samples):
            taken = {sample: self._filler.take(sample) for sample in samples.tolist()}
            found.update((sample, data) for sample, data in taken.items() if data is not None)
            samples = np.array([sample for sample, data in taken.items() if data is None], dtype=np.int64)
            extent, views = self._cached(samples)
            there = extent >= 0
            found.update(zip(samples[there].tolist(), views, strict=True))
            samples = samples[~there]
            self._filler.ask(samples)
        return found

    def _join(self, deal: int) -> None:
        """Open the cached data for a set of samples, or create it."""
        identity = self._origin.identity
        name = hashlib.sha256(f"{identity} {deal}".encode()).hexdigest()[: len(identity)] if deal else identity
        notes = self._origin.notes(self._units)
        directories = [self.disk, self.memory] if self.memory else [self.disk]
        firsts = np.cumsum([0, *(each.pool.extents for each in directories)]).tolist()
        self._deal, self._extents = deal, MappedExtents(directories)
        self.levels = tuple(
            CacheLevel(each, name, notes, self._units, self._extents, first)
            for each, first in zip(directories, firsts, strict=False)
        )

    def _own(self) -> None:
        """Start over in a forked process, because threads, extents and counts belong to its parent."""
        if self._process != os.getpid():
            self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._counter = HitCounter()
        self._admitted_before = 0
        self._filler = Filler(self._origin, self._units, self.levels, self._writers())

    def _writers(self) -> list[Appender]:
        return [Appender(level, self._origin.fetcher.in_thread) for level in self.levels]
