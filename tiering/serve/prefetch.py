"""Prefetch: announce upcoming samples to the kernel, and read and decode them on threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np

from tiering.arrays import IndexArray
from tiering.io_sizes import ANNOUNCE_THREADS, ANNOUNCED_BYTES
from tiering.store.protocol import Store

T = TypeVar("T")


@contextmanager
def _threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads for a block of a generator.

    Wait for the pool only on the thread that opened it. Python may collect an unfinished generator, and so end the
    block, on any thread: one of this pool, or one that this pool's work waits for. Waiting there would never end.
    """
    owner = threading.get_ident()
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(wait=threading.get_ident() == owner, cancel_futures=True)


def announced_ahead(store: Store, batches: Iterable[IndexArray], batch_size: int, ahead: int) -> Iterator[IndexArray]:
    """Yield batches of samples, after announcing each of them and the next few.

    ahead: bytes announced and not yet yielded; they stay in the page cache.
    """
    mean = max(1, store.manifest.image_bytes // max(1, len(store)))
    at_once = max(1, ANNOUNCED_BYTES // (mean * batch_size))
    groups = max(1, ahead // (mean * batch_size * at_once))
    source = iter(batches)
    # On a thread: submitting reads costs as much processor time as consuming them.
    with _threads(ANNOUNCE_THREADS, "tiering-announce") as announcer:
        announced: deque[tuple[list[IndexArray], Future[None]]] = deque()
        while True:
            while len(announced) < groups and (group := list(islice(source, at_once))):
                announced.append((group, announcer.submit(store.announce, np.concatenate(group))))
            if not announced:
                return
            group, done = announced.popleft()
            # Without this wait, reads overtake the announcements and fault in 4 KiB pages one at a time.
            done.result()
            yield from group


class ReadAhead(Generic[T]):
    """Calls that run on threads ahead of their use, in order, up to a bound on the bytes of their results.

    calls: what to do, and for how many samples; size_of: bytes of a result; limit: bytes of results that may wait.
    Whatever the limit, every thread has one call to run and a second one queued.
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
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.__exit__(kind, failure, trace)

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
