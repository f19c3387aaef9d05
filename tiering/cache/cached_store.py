"""CachedStore: local disk and memory in front of any Store; filled once, never evicted within a dataset."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray, PixelArray
from tiering.cache.dataset_notes import DatasetNotes
from tiering.cache.filler import Filler
from tiering.cache.level import Appender, CacheLevel, LevelWriter, MappedExtents
from tiering.cache.origin import Origin
from tiering.cache.space import CacheSpace
from tiering.cache.stats import CacheStats
from tiering.cache.units import CacheUnits, unit_samples
from tiering.errors import TieringError
from tiering.store.protocol import Buffer, Images, Store, StoreBase, as_indices, images_of, shape_of


class CachedStore(StoreBase):
    """A store whose samples are fetched from an origin once, as far as a cache has room for them.

    Units of samples are admitted until the cache is full, and stay: every epoch reads every sample once, so no policy
    can hit more than the share that fits (Mohan et al., "Analyzing and Mitigating Data Stalls in DNN Training", VLDB
    2021, section 4). Announced samples are fetched in the background. If two processes want a unit, one fetches it.
    Samples from a packed origin are checked against its CRC-32Cs; cached units are checked on their first use by each
    process.

    Args:
        origin: Any store that is not a cache.
        space: The cache, shared by all processes and jobs that use its directory.
        memory: A second one, for units that the first has no room for.

    Raises:
        MachineError: If the cache has no room for the dataset's slot table, or cannot be written.
    """

    _filler: Filler
    _counted: CacheStats

    def __init__(self, origin: Store, space: CacheSpace, memory: CacheSpace | None = None) -> None:
        self.place, self.manifest, self.index, self.block = origin.place, origin.manifest, origin.index, origin.block
        self._shape = shape_of(origin.manifest)
        self.views = self._shape is None
        self.space, self.memory = space, memory
        self._origin = Origin(origin)
        self._units = CacheUnits(self.index.size, unit_samples(origin.manifest))
        self._join(0)
        self._begin()

    def __repr__(self) -> str:
        return f"CachedStore({self.origin!r}, {self.space!r}, memory={self.memory!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as an origin and a directory."""
        return _again, (self.origin, self.space.directory, self.space.size, self.memory and self.memory.size)

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: a sample may be in the cache or at the origin."""

    def files(self) -> list[Path]:
        """Return an empty list: the files of a cache are not those of a store."""
        return []

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return samples in the order asked for, cached ones as views; wait for missing ones.

        Raises StoreError if the origin does not match its index, MachineError if it does not answer.
        """
        return images_of(self._raw(as_indices(indices, len(self))), self._shape, out)

    def announce(self, indices: IndexArray) -> None:
        """Begin to fetch samples that the cache lacks, and to read those it has into the page cache."""
        indices = indices[(indices >= 0) & (indices < len(self))]  # read() will raise for the others
        extent, begin, size = self._find(indices)
        there = extent >= 0
        if not there.all():
            self._filler.ask(indices[~there])
        on_disk = there & (extent < self._files.persistent)
        if on_disk.any() and not self._files.resident():
            with suppress(TieringError, OSError):  # read() will raise
                self._files.announce(extent[on_disk], begin[on_disk], size[on_disk])

    def turn(self, number: int) -> None:
        """Start to cache a new set of samples; those cached for an earlier turn make room.

        Between epochs, by the Loader. number: differs for each filling, and is the same for all processes.
        """
        if number == self._turn:
            return
        self._own()
        self._filler.settle()
        self._counted = replace(
            self._counted, admitted_bytes=self._counted.admitted_bytes + self._filler.admitted_bytes
        )
        for level in self.levels:
            level.close()
        self._files.close()
        self._join(number)
        self._filler = Filler(self._origin, self._units, self.levels, self._writers())

    def stats(self) -> CacheStats:
        """Return the counts of this process."""
        self._own()
        traffic = self._origin.fetcher.traffic
        return replace(
            self._counted,
            origin_bytes=traffic.bytes,
            origin_requests=traffic.requests,
            retries=traffic.retries,
            hedged=traffic.hedged,
            admitted_bytes=self._counted.admitted_bytes + self._filler.admitted_bytes,
            in_flight=traffic.in_flight,
            depth=traffic.limit,
            ahead=self._filler.ahead,
        )

    @property
    def origin(self) -> Store:
        """The store behind the cache."""
        return self._origin.store

    @property
    def capacity(self) -> int:
        """The bound of the cache in bytes, on disk and in memory, reduced to the room that memory has."""
        return sum(level.space.capacity for level in self.levels)

    @property
    def full(self) -> bool:
        """Whether the cache refused the last unit that this process tried to add."""
        return self._filler.full

    def close(self) -> None:
        """Close files, maps and connections. Referenced views stay valid, and the cache keeps its data."""
        self._own()
        self._filler.close()
        for level in self.levels:
            level.close()
        self._files.close()
        self._origin.store.close()

    def _find(self, indices: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
        """Return the extent of each sample (-1: not cached), its offset there, and its size in bytes."""
        self._own()
        units = self._units.of(indices)
        first, *others = self.levels
        extent, offset = first.find(units)
        for level in others:
            lacking = np.flatnonzero(extent < 0)
            extent[lacking], offset[lacking] = level.find(units[lacking])
        return extent, offset + self._units.within(indices), self.index.size[indices]

    def _cached(self, indices: IndexArray) -> tuple[IndexArray, list[Buffer]]:
        """Return the extent of each sample (-1: not cached), and the bytes of the cached ones."""
        extent, begin, size = self._find(indices)
        there = extent >= 0
        if there.all():
            return extent, list(self._files.views(extent, begin, size))
        return extent, list(self._files.views(extent[there], begin[there], size[there]))

    def _raw(self, indices: IndexArray) -> list[Buffer]:
        extent, views = self._cached(indices)
        there = extent >= 0
        missing = ~there | self._filler.coming(indices)
        if not missing.any():
            self._count(indices, extent)
            return views
        self._filler.ask(indices[~there])
        found = dict(zip(indices[there].tolist(), views, strict=True))
        began = time.monotonic()
        found.update(self._fetched(indices[missing]))
        self._count(indices, np.where(missing, -1, extent), time.monotonic() - began)
        return [found[sample] for sample in indices.tolist()]

    def _fetched(self, samples: IndexArray) -> dict[int, Buffer]:
        """Wait for samples on their way; those that were admitted meanwhile come from the cache."""
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

    def _join(self, turn: int) -> None:
        """Open the cached data of a turn, or create it."""
        identity = self._origin.identity
        name = hashlib.sha256(f"{identity} {turn}".encode()).hexdigest()[: len(identity)] if turn else identity
        about = DatasetNotes(
            origin=str(self.place),
            samples=len(self.index),
            image_bytes=self.manifest.image_bytes,
            unit_samples=self._units.samples,
            units=len(self._units),
        )
        spaces = [self.space, self.memory] if self.memory else [self.space]
        firsts = np.cumsum([0, *(each.pool.extents for each in spaces)]).tolist()
        self._turn, self._files = turn, MappedExtents(spaces)
        self.levels = tuple(
            CacheLevel(each, name, about, self._units, self._files, first)
            for each, first in zip(spaces, firsts, strict=False)
        )

    def _own(self) -> None:
        """Start afresh in a forked process: threads, extents and counts belong to its parent."""
        if self._process != os.getpid():
            self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._counting = Lock()
        self._counted = CacheStats()
        self._filler = Filler(self._origin, self._units, self.levels, self._writers())

    def _writers(self) -> list[LevelWriter]:
        return [Appender(level, self._units, self._origin.fetcher.in_thread) for level in self.levels]

    def _count(self, indices: IndexArray, extent: IndexArray, stalled: float = 0.0) -> None:
        size = self.index.size[indices]
        misses, miss_bytes = _sum(size, extent < 0)
        in_ram, ram_bytes = _sum(size, extent >= self._files.persistent)
        with self._counting:
            old = self._counted
            self._counted = CacheStats(
                hits=old.hits + len(indices) - misses,
                misses=old.misses + misses,
                hit_bytes=old.hit_bytes + int(size.sum()) - miss_bytes,
                miss_bytes=old.miss_bytes + miss_bytes,
                admitted_bytes=old.admitted_bytes,
                ram_hits=old.ram_hits + in_ram,
                ram_bytes=old.ram_bytes + ram_bytes,
                stall_seconds=old.stall_seconds + stalled,
            )


def _sum(size: IndexArray, chosen: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many are chosen, and their bytes."""
    return (count, int(size[chosen].sum())) if (count := int(chosen.sum())) else (0, 0)


def _again(store: Store, directory: Path, size: int, ram: int | None) -> CachedStore:
    return CachedStore(
        store, CacheSpace(directory, size, force=True), CacheSpace.in_memory(directory, ram) if ram else None
    )
