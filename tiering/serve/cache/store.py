"""CachedStore: a local disk in front of any Store; filled once, never evicted within a dataset."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.errors import StoreError
from tiering.serve.cache.about import About, join, open_slots
from tiering.serve.cache.fill import Filler
from tiering.serve.cache.origin import Origin
from tiering.serve.cache.space import CacheSpace, header_of
from tiering.serve.cache.stats import CacheStats
from tiering.serve.cache.units import Units
from tiering.store.base import (
    Buffer,
    Images,
    IndexArray,
    PixelArray,
    Sample,
    Store,
    images_of,
    sample_of,
    samples_in,
    shape_of,
)
from tiering.store.mapped import MappedFiles

#: What the cache moves at once: small images by some hundreds, large ones one by one.
UNIT_BYTES: Final = 128 << 10


class CachedStore:
    """A store whose samples are fetched from an origin once, as far as a cache has room for them.

    origin: any Store; space: the cache, shared by all processes and jobs that use the directory.
    Units of samples are admitted until the cache is full, and stay: every epoch reads every sample once, so no policy
    can do better than the share that fits (Mohan et al., "Analyzing and Mitigating Data Stalls in DNN Training", VLDB
    2021, section 4). Announced samples are fetched in the background; what two processes want is fetched by one.
    What comes from a packed origin is checked against its CRC-32Cs, and what comes from the cache on its first use by
    each process.
    Raises MachineError where the cache has no room for the dataset's table, or cannot be written.
    """

    def __init__(self, origin: Store, space: CacheSpace) -> None:
        self.place, self.manifest, self.index, self.block = origin.place, origin.manifest, origin.index, origin.block
        self._shape = shape_of(origin.manifest)
        self.views = self._shape is None
        self.space = space
        self._origin = Origin(origin)
        self._units = Units(self.index.size, samples_in(UNIT_BYTES, origin.manifest))
        self.dataset = space.dataset(self._origin.identity)
        about = About(
            origin=str(self.place),
            samples=len(self.index),
            image_bytes=self.manifest.image_bytes,
            unit_samples=self._units.samples,
            units=len(self._units),
        )
        about, self._in_use = join(space, self.dataset, about)
        self._header = header_of(self.dataset.name, bytes.fromhex(about.filling))
        self._slots = open_slots(self.dataset)
        self._files = Extents(space)
        #: By unit, the check of the slot whose payload was compared with its CRC-32C.
        self._checked: npt.NDArray[np.uint32] = np.zeros(len(self._units), dtype=np.uint32)
        self._begin()

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Sample:
        return sample_of(self, i)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process as an origin and a directory."""
        return _again, (self._origin.store, self.space.directory, self.space.size)

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: samples lie here or there."""

    def files(self) -> list[Path]:
        """Return no file: what a cache holds is no store."""
        return []

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return samples in the order asked for, cached ones as views; waits for what is not there yet.

        Raises StoreError for an origin that is not what its index says, MachineError for one that does not answer.
        """
        return images_of(self._raw(indices), self._shape, out)

    def announce(self, indices: IndexArray) -> None:
        """Begin to fetch samples that the cache lacks, and to read those it has into the page cache."""
        extent, begin, size = self._find(indices)
        there = extent >= 0
        if not there.all():
            self._filler.ask(indices[~there])
        if there.any() and not self._files.resident():
            with suppress(StoreError):  # read() will see
                self._files.announce(extent[there], begin[there], size[there])

    def stats(self) -> CacheStats:
        """Return what this process has counted."""
        self._own()
        traffic = self._origin.fetcher.traffic
        return replace(
            self._counted,
            origin_bytes=traffic.bytes,
            origin_requests=traffic.requests,
            retries=traffic.retries,
            hedged=traffic.hedged,
            admitted_bytes=self._filler.admitted_bytes,
            in_flight=traffic.in_flight,
            depth=traffic.limit,
            ahead=self._filler.ahead,
        )

    @property
    def full(self) -> bool:
        """Whether the cache took no more when this process last had something for it."""
        return self._filler.full

    def close(self) -> None:
        """Let go of files, maps and connections. Views that are still referenced stay valid; what is cached stays."""
        self._own()
        self._filler.close()
        self._slots.close()
        self._files.close()
        self._origin.store.close()
        if self._in_use >= 0:
            os.close(self._in_use)
            self._in_use = -1

    def _find(self, indices: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
        """Return where samples lie in the extents (-1: nowhere), from where, and how many bytes."""
        self._own()
        units = self._units.of(indices)
        extent, offset, crc, check = self._slots.find(units)
        for at in np.flatnonzero((extent >= 0) & (self._checked[units] != check)).tolist():
            unit = int(units[at])
            if self._checked[unit] == check[at]:
                continue
            if self._sound(unit, int(extent[at]), int(offset[at]), int(crc[at])):
                self._checked[unit] = check[at]
            else:
                self._slots.withdraw(unit)
                extent[at] = -1
        return extent, offset + self._units.within(indices), self.index.size[indices]

    def _sound(self, unit: int, extent: int, offset: int, crc: int) -> bool:
        """Tell whether a payload is what its slot says."""
        view = self._files.payload(extent, offset, self._units.bytes_of(unit))
        return view is not None and google_crc32c.value(bytes(view)) == crc

    def _raw(self, indices: IndexArray) -> list[Buffer]:
        extent, begin, size = self._find(indices)
        missing = (extent < 0) | self._filler.coming(indices)
        if not missing.any():
            self._count(len(indices), int(size.sum()))
            return list(self._files.views(extent, begin, size))
        self._filler.ask(indices[missing & (extent < 0)])
        began = time.monotonic()
        fetched = self._fetched(indices[missing])
        waited, lost = time.monotonic() - began, int(size[missing].sum())
        there = ~missing
        cached = iter(self._files.views(extent[there], begin[there], size[there]))
        self._count(int(there.sum()), int(size.sum()) - lost, int(missing.sum()), lost, waited)
        return [
            fetched[sample] if miss else next(cached) for sample, miss in zip(indices.tolist(), missing, strict=True)
        ]

    def _fetched(self, samples: IndexArray) -> dict[int, Buffer]:
        """Wait for samples on their way; those that were admitted meanwhile come from the cache."""
        found: dict[int, Buffer] = {}
        while len(samples):
            taken = {sample: self._filler.take(sample) for sample in samples.tolist()}
            found.update((sample, data) for sample, data in taken.items() if data is not None)
            samples = np.array([sample for sample, data in taken.items() if data is None], dtype=np.int64)
            extent, begin, size = self._find(samples)
            there = extent >= 0
            views = self._files.views(extent[there], begin[there], size[there])
            found.update(zip(samples[there].tolist(), views, strict=True))
            samples = samples[~there]
            self._filler.ask(samples)
        return found

    def _own(self) -> None:
        """Begin anew in a process that was forked: threads, extents and counts are its parent's."""
        if self._process != os.getpid():
            self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._counting = Lock()
        self._counted = CacheStats()
        self._filler = Filler(self._origin, self.space, self._slots, self._units, self._header)

    def _count(self, hits: int, hit_bytes: int, misses: int = 0, miss_bytes: int = 0, stalled: float = 0.0) -> None:
        with self._counting:
            old = self._counted
            self._counted = CacheStats(
                hits=old.hits + hits,
                misses=old.misses + misses,
                hit_bytes=old.hit_bytes + hit_bytes,
                miss_bytes=old.miss_bytes + miss_bytes,
                stall_seconds=old.stall_seconds + stalled,
            )


class Extents(MappedFiles):
    """The extents of a cache, of which not all are there."""

    def __init__(self, space: CacheSpace) -> None:
        paths = space.paths()
        super().__init__(paths, [space.extent_bytes] * len(paths))

    def watched(self) -> list[Path]:
        """Return the files to keep in the page cache."""
        return [path for path in self.paths if path.exists()]

    def payload(self, extent: int, offset: int, size: int) -> memoryview | None:
        """Return bytes of one extent, or None where it has none such: a slot may be damaged."""
        if extent >= len(self.paths):
            return None
        try:
            view = self.views(np.array([extent]), np.array([offset]), np.array([size]))[0]
        except StoreError:
            return None
        return view if len(view) == size else None


def _again(store: Store, directory: Path, size: int) -> CachedStore:
    return CachedStore(store, CacheSpace(directory, size, force=True))
