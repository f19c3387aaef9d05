"""Prefetch: announce upcoming samples to the kernel, and read and decode them on threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Final, Generic, Protocol, TypeVar

import numpy as np

from tiering.arrays import IndexArray
from tiering.cache.stats import CountingStore
from tiering.io_sizes import ANNOUNCE_THREADS, ANNOUNCED_BYTES, NETWORK_ANNOUNCE_THREADS
from tiering.store.protocol import Store
from tiering.store.selection import mean_bytes, unselected
from tiering.system.mounts import NETWORK, filesystem_of

T = TypeVar("T")

#: Arrays of samples that are announced with one call, and the batches that can be read after it.
Group = tuple[list[IndexArray], list[IndexArray]]

#: Least number of files for one thread: each part of an announcement first looks a few up in the page cache.
_FILES_A_PART: Final = 8


class Announced(Protocol):
    """Anything to which samples can be announced."""

    def announce(self, indices: IndexArray) -> None:
        """Announce that these samples will be read soon."""
        ...

    @property
    def resident(self) -> bool:
        """Whether nothing needs to be announced."""
        ...


@contextmanager
def _threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads for a `with` statement in a generator.

    Wait for the pool only on the thread that opened it. Python may collect an unfinished generator, and so leave the
    `with` statement, on any thread: one of this pool, or one that this pool's work waits for. Waiting there would never
    end.
    """
    owner = threading.get_ident()
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(wait=threading.get_ident() == owner, cancel_futures=True)


def announced_ahead(
    store: Store,
    batches: Iterable[IndexArray],
    batch_size: int,
    ahead: int,
    openers: int | None = None,
    *,
    to: Announced | None = None,
) -> Iterator[IndexArray]:
    """Yield batches of samples, after announcing each batch and the next few.

    Args:
        store: The store of the samples.
        batches: int64 (n,) each.
        batch_size: Samples in a batch.
        ahead: Bytes to announce before they are yielded; they stay in the page cache.
        openers: Threads that open the files of each announcement together; by default one thread announces it.
        to: Samples are announced to it; by default to the store.
    """
    mean = mean_bytes(store)
    at_once = max(1, ANNOUNCED_BYTES // (mean * batch_size))
    source = iter(batches)
    groups = iter(lambda: list(islice(source, at_once)), [])
    whole = ((group, group) for group in groups)
    group_bytes = mean * batch_size * at_once
    # The next group is announced while this one is read, unless batches are so large that one group exceeds the limit.
    most = max(2 if group_bytes <= ahead else 1, ahead // group_bytes)
    return _announced(to or store, whole, most, openers)


def openers_of(store: Store, threads: int) -> int | None:
    """Return how many threads open plain files; None for a store of another kind.

    Args:
        store: The store of the files.
        threads: Threads of the loader; as many open files.
    """
    local, whole = store.location.local, unselected(store)
    if whole.manifest.kind != "folder" or local is None or isinstance(whole, CountingStore):
        return None
    least = NETWORK_ANNOUNCE_THREADS if filesystem_of(local) in NETWORK else ANNOUNCE_THREADS
    return max(least, threads)


def windows_ahead(
    store: Announced, batches: Iterable[tuple[IndexArray, IndexArray]], least: int, most: int
) -> Iterator[IndexArray]:
    """Yield batches of a block order, after announcing whole windows.

    Neighbours are then announced together, although they are served at different times.

    Args:
        store: Samples are announced to it.
        batches: Samples, and the window of each sample, rising: int64 (n,) each.
        least: Fewest samples to announce with one call; small windows are announced together.
        most: Announcements that may be ahead of the batch that is served.
    """
    return _announced(store, _windows(batches, least), most)


def _windows(batches: Iterable[tuple[IndexArray, IndexArray]], least: int) -> Iterator[Group]:
    """Yield the samples of whole windows, and the batches that end in them."""
    samples: list[IndexArray] = []
    ending: list[IndexArray] = []
    current, held = -1, 0
    for indices, windows in batches:
        last, begin = int(windows[-1]), 0
        if ending and last != current and held >= least:
            # The beginning of this batch may belong to the window that ends here.
            begin = int(np.searchsorted(windows, current, side="right"))
            yield [*samples, indices[:begin]], ending
            samples, ending, held = [], [], 0
        samples.append(indices[begin:])
        ending.append(indices)
        current, held = last, held + len(indices) - begin
    if ending:
        yield samples, ending


def _announced(
    store: Announced, groups: Iterator[Group], most: int, openers: int | None = None
) -> Iterator[IndexArray]:
    """Yield the batches of groups, after announcing their samples and those of the next groups, `most` in all."""
    # On a thread, because submitting reads costs as much processor time as consuming them.
    with _threads(openers or ANNOUNCE_THREADS, "tiering-announce") as announcer:
        announced: deque[tuple[list[IndexArray], list[Future[None]]]] = deque()
        while True:
            while len(announced) < most and (group := next(groups, None)) is not None:
                # A call on another thread takes 50 us, as long as reading a batch that is in memory.
                parts = [] if store.resident else _parts(np.concatenate(group[0]), openers or 1)
                announced.append((group[1], [announcer.submit(store.announce, part) for part in parts]))
            if not announced:
                return
            batches, done = announced.popleft()
            # Without this wait, reads overtake the announcements, and page faults read 4 KiB at a time.
            for each in done:
                each.result()
            yield from batches


def _parts(samples: IndexArray, openers: int) -> list[IndexArray]:
    """Return samples in a part for each thread that announces them."""
    return np.array_split(samples, min(openers, -(-len(samples) // _FILES_A_PART))) if openers > 1 else [samples]


class ReadAhead(Generic[T]):
    """Calls that run on threads ahead of their use, in order, up to a bound on the bytes of their results.

    Whatever the bound, every thread has one call to run and a second one queued.

    Args:
        calls: Each call, and the number of samples that it is for.
        size_of: Returns the bytes of a result.
        threads: How many threads.
        limit: Bytes of results that may wait.
    """

    def __init__(
        self, calls: Iterable[tuple[Callable[[], T], int]], size_of: Callable[[T], int], threads: int, limit: int
    ) -> None:
        self._calls = iter(calls)
        self._size_of = size_of
        self._limit = limit
        self._at_least = 2 * threads
        self._threads = _threads(threads, "tiering-read")
        self._running: deque[tuple[Future[T], int]] = deque()
        self._waiting = self._samples = self._bytes = 0

    def __enter__(self) -> Iterator[T]:
        self._pool = self._threads.__enter__()
        return self._results()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.__exit__(kind, error, trace)

    def _results(self) -> Iterator[T]:
        while self._more() or self._running:
            future, samples = self._running.popleft()
            result = future.result()
            self._waiting -= samples
            self._samples += samples
            self._bytes += self._size_of(result)
            yield result

    def _more(self) -> bool:
        """Start calls up to the limit; return whether any is running."""
        mean = self._bytes / self._samples if self._samples else 0.0
        while len(self._running) < self._at_least or (mean and self._waiting * mean < self._limit):
            call = next(self._calls, None)
            if call is None:
                break
            self._running.append((self._pool.submit(call[0]), call[1]))
            self._waiting += call[1]
        return bool(self._running)
