"""CachedStore: a local disk in front of any Store; filled once, never evicted within a dataset."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.errors import MachineError, StoreError, from_os_error
from tiering.serve.cache.fill import Filler
from tiering.serve.cache.origin import Origin
from tiering.serve.cache.slots import SLOT_BYTES, Slots
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


@dataclass(frozen=True, slots=True)
class About:
    """What a cache notes of a dataset: about.json.

    filling: hexadecimal, differs whenever the dataset is cached anew.
    """

    origin: str
    samples: int
    image_bytes: int
    unit_samples: int
    units: int
    filling: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, dataset: Path) -> About:
        """Read a dataset's about.json."""
        return cls(**json.loads((dataset / "about.json").read_text()))


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
        self._in_use = -1
        about = self._open()
        self._header = header_of(self.dataset.name, bytes.fromhex(about.filling))
        self._slots = Slots(self.dataset / "slots", len(self._units), int(about.filling[:8], 16))
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

    def _open(self) -> About:
        """Find the dataset's table, or make it, and say that it is in use."""
        try:
            with self.space.locked():
                if not self.dataset.is_dir():
                    self._make()
                self._in_use = os.open(self.dataset / "in-use", os.O_RDWR | os.O_CREAT, 0o644)
                fcntl.flock(self._in_use, fcntl.LOCK_SH)
                os.utime(self.dataset / "in-use")
            return About.of(self.dataset)
        except OSError as error:
            raise from_os_error(error) from error

    def _make(self) -> None:
        size = len(self._units) * SLOT_BYTES
        if not self.space.room_for_table(size):
            raise MachineError(
                str(self.space.directory),
                expected=f"{size:,} bytes of the cache for the table of {len(self._units):,} units",
                found="less, beside what is in use",
                action="Give a larger --cache-size.",
            )
        about = About(
            str(self.place), len(self), self.manifest.image_bytes, self._units.samples, len(self._units)
        )  # fmt: skip
        # Whole or not at all, so that nobody maps a table that is still being made, locks or no locks.
        made = self.dataset.with_name(f".new-{uuid.uuid4().hex}")
        made.mkdir()
        with (made / "slots").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        (made / "in-use").touch()
        (made / "about.json").write_text(json.dumps(asdict(about)))
        try:
            made.rename(self.dataset)
        except OSError:
            shutil.rmtree(made)
            if not self.dataset.is_dir():
                raise

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
        within = self._units.within(indices) if self._units.samples > 1 else 0
        return extent, offset + within, self.index.size[indices]

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
        fetched = iter([self._wait(sample) for sample in indices[missing].tolist()])
        waited, lost = time.monotonic() - began, int(size[missing].sum())
        there = ~missing
        cached = iter(self._files.views(extent[there], begin[there], size[there]))
        self._count(int(there.sum()), int(size.sum()) - lost, int(missing.sum()), lost, waited)
        return [next(fetched) if miss else next(cached) for miss in missing.tolist()]

    def _wait(self, sample: int) -> Buffer:
        """Return a sample once it has come, from the cache where it was admitted."""
        at = np.array([sample])
        while True:
            found = self._filler.take(sample)
            if found is not None:
                return found
            extent, begin, size = self._find(at)
            if extent[0] >= 0:
                return self._files.views(extent, begin, size)[0]
            self._filler.ask(at)

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
