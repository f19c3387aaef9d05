"""The counts of a cache, and the protocols of stores that keep them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts of one process since it opened the cache, or forked.

    Attributes:
        hits: Samples served from the cache.
        misses: Samples served from the origin.
        hit_bytes: Bytes of the hits.
        miss_bytes: Bytes of the misses.
        ram_hits: Hits that came from the tier in memory.
        ram_bytes: Bytes of those.
        origin_bytes: Bytes fetched from the origin: more than miss_bytes if requests were hedged or retried, or fetched
            neighbours too.
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

    @property
    def hit_ratio(self) -> float:
        """Share of the samples served that came from the cache; 0 where none was served."""
        served = self.hits + self.misses
        return self.hits / served if served else 0.0

    def levels(self) -> dict[str, tuple[int, int]]:
        """Return samples and bytes served from each level: disk, memory and origin."""
        return {
            "disk": (self.hits - self.ram_hits, self.hit_bytes - self.ram_bytes),
            "memory": (self.ram_hits, self.ram_bytes),
            "origin": (self.misses, self.miss_bytes),
        }


@runtime_checkable
class CountingStore(Protocol):
    """A store that counts its hits and misses."""

    def stats(self) -> CacheStats:
        """Return the counts so far."""
        ...


@runtime_checkable
class RefillingStore(Protocol):
    """A store that is filled again when the samples that are read of it change."""

    def turn(self, number: int) -> None:
        """Note before an epoch how many times the samples that are read have changed."""
        ...
