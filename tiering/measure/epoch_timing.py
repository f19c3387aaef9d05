"""The processor time of serving samples, from epochs of a loader that are timed warm."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any, Final

from tiering.advice.cpu_costs import Work
from tiering.advice.device_time import BATCH_SAMPLES
from tiering.measure.read_batches import ByteReader
from tiering.serve.loader import Loader
from tiering.store.protocol import Store
from tiering.system.machine import usable_cores

#: Least number of epochs of each measurement. Short epochs are repeated for at least this many seconds.
ROUNDS: Final = 4
_LONG_ENOUGH: Final = 0.5
#: Epochs of one sample that are timed.
_STARTS: Final = 50
#: Epochs are averaged over this many seconds, and the quickest average counts. Now and then a thread wakes late: one
#: short epoch may escape that, but the epochs of a whole dataset are too long to.
_AVERAGED: Final = 0.05


def work_of(store: Store, start: float, serial: float | None = None, **how: Any) -> Work:
    """Time warm epochs on one thread and on all cores, and take the serial share from the two (Amdahl's law)."""
    one = _each(store, 1, start, **how)
    cores = usable_cores()
    if serial is not None or cores == 1:
        return Work(one, serial or 0.0)
    many = _each(store, cores, start, **how)
    share = (many / one - 1 / cores) / (1 - 1 / cores)
    # Threads that fight for the lock may be slower than one.
    return Work(one, min(3.0, max(0.0, share)))


def _each(store: Store, threads: int, start: float, **how: Any) -> float:
    # One loader, as in training: its memory is new in the first epoch alone, and so are the maps of the store.
    loader = Loader(store, BATCH_SAMPLES, threads=threads, **how)
    epoch_seconds(loader)
    best = math.inf
    took: list[float] = []
    while len(took) < ROUNDS or sum(took) < _LONG_ENOUGH:
        some = [epoch_seconds(loader)]
        while sum(some) < _AVERAGED:
            some.append(epoch_seconds(loader))
        took += some
        best = min(best, statistics.fmean(some))
    # A scheduler that wakes threads late must not make a cost vanish.
    served = min(len(store), int(how.get("limit", len(store))))
    return max(best / 2, best - start) / served


def least_seconds(store: Store) -> float:
    """Return the time of the quickest of many epochs of one sample, in s."""
    return min(cold_seconds(store, 1, limit=1) for _ in range(_STARTS))


def cold_seconds(store: Store, threads: int, **how: Any) -> float:
    """Time the first epoch of a loader."""
    return epoch_seconds(Loader(store, BATCH_SAMPLES, threads=threads, **how))


def epoch_seconds(loader: Loader) -> float:
    """Time one epoch; a consumer of encoded images copies each once, as a decoder would read it."""
    read = ByteReader(loader.store)
    began = time.perf_counter()
    for batch in loader:
        if isinstance(batch.images[0], memoryview | bytes):
            read(batch)
    return time.perf_counter() - began


def beside(view: Work, both: Work) -> Work:
    """Return the work that comes on top of taking a view, from that of both."""
    return Work(max(0.0, both.seconds - view.seconds), both.serial)
