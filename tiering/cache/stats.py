"""The counts of a cache, how they are kept, and the protocols of stores that keep them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.store.concat import parts_behind
from tiering.store.protocol import Store


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts of one process since it opened the cache, or forked.

    Attributes:
        hits: Samples served from the cache.
        misses: Samples served from the origin.
        hit_bytes: Bytes of the hits.
        miss_bytes: Bytes of the misses.
        ram_hits: Hits in memory.
        ram_bytes: Bytes of those.
        origin_bytes: Bytes fetched from the origin: more than miss_bytes if requests were hedged or repeated, or
            fetched neighbours, too.
        origin_requests: Requests to the origin.
        retries: Requests repeated after an error.
        hedged: Requests sent a second time because they were late.
        admitted_bytes: Bytes written into the cache.
        stall_seconds: Time for which reading waited for the origin, s.
        in_flight: Requests that are running now.
        depth: How many requests may run at once.
        ahead: Samples that were requested and not read yet.
        skipped: Samples that a loader could not decode or transform, and replaced.
    """

    hits: int = 0
    misses: int = 0
    hit_bytes: int = 0
    miss_bytes: int = 0
    ram_hits: int = 0
    ram_bytes: int = 0
    origin_bytes: int = 0
    origin_requests: int = 0
    retries: int = 0
    hedged: int = 0
    admitted_bytes: int = 0
    stall_seconds: float = 0.0
    in_flight: int = 0
    depth: int = 0
    ahead: int = 0
    skipped: int = 0

    def __add__(self, other: CacheStats) -> CacheStats:
        return CacheStats(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})

    @property
    def hit_ratio(self) -> float:
        """Share of the served samples that came from the cache; 0 if none was served."""
        served = self.hits + self.misses
        return self.hits / served if served else 0.0

    def levels(self) -> dict[str, tuple[int, int]]:
        """Return the samples and bytes served from each level: disk, memory and origin."""
        return {
            "disk": (self.hits - self.ram_hits, self.hit_bytes - self.ram_bytes),
            "memory": (self.ram_hits, self.ram_bytes),
            "origin": (self.misses, self.miss_bytes),
        }


@dataclass
class HitCounter:
    """Counts the hits and misses of one process, on any thread."""

    counts: CacheStats = field(default_factory=CacheStats)
    _lock: Lock = field(default_factory=Lock)

    def add(
        self, size: IndexArray, missing: npt.NDArray[np.bool_], in_ram: npt.NDArray[np.bool_], stalled: float
    ) -> None:
        """Count some samples.

        Args:
            size: int64 (n,), the bytes of each.
            missing: bool (n,), whether it came from the origin.
            in_ram: bool (n,), whether it came from memory.
            stalled: How long reading them waited for the origin, s.
        """
        misses, miss_bytes = _sum(size, missing)
        ram_hits, ram_bytes = _sum(size, in_ram)
        with self._lock:
            old = self.counts
            self.counts = replace(
                old,
                hits=old.hits + len(size) - misses,
                misses=old.misses + misses,
                hit_bytes=old.hit_bytes + int(size.sum()) - miss_bytes,
                miss_bytes=old.miss_bytes + miss_bytes,
                ram_hits=old.ram_hits + ram_hits,
                ram_bytes=old.ram_bytes + ram_bytes,
                stall_seconds=old.stall_seconds + stalled,
            )


def _sum(size: IndexArray, chosen: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many are chosen, and their bytes."""
    return (count, int(size[chosen].sum())) if (count := int(chosen.sum())) else (0, 0)


@runtime_checkable
class CountingStore(Protocol):
    """A store that counts its hits and misses."""

    def stats(self) -> CacheStats:
        """Return the counts so far."""
        ...


@runtime_checkable
class RefillingStore(Protocol):
    """A store that can be filled again with other samples, such as a cache."""

    def refill(self, number: int) -> None:
        """Make way for other samples if the number differs from the last one. Call it between epochs.

        Args:
            number: How many times the samples of this node have been dealt again.
        """
        ...


def stats_of(store: Store) -> CacheStats | None:
    """Return the counts of the caches that a store reads through, added up; None if there is none."""
    found = [part.stats() for part in parts_behind(store) if isinstance(part, CountingStore)]
    return sum(found[1:], found[0]) if found else None


def refill(store: Store, number: int) -> None:
    """Refill the caches that a store reads through.

    Args:
        store: Any store; nothing happens to one without a cache.
        number: As for RefillingStore.refill.
    """
    for part in parts_behind(store):
        if isinstance(part, RefillingStore):
            part.refill(number)
