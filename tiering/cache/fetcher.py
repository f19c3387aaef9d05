"""Fetcher: reads many byte ranges of an origin concurrently, on one background thread of each process."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tiering.errors import MachineError, StoreError
from tiering.storage.bucket import file_system, key_of, open_bucket
from tiering.storage.failures import lasting_failure
from tiering.storage.patience import NOTICE_SECONDS, remote_seconds, say_waiting
from tiering.storage.urls import WEB
from tiering.text import without_secrets

T = TypeVar("T")

#: One byte range of the origin: file (path or URL), first byte, end.
Span = tuple[str, int, int]

#: Concurrent requests: as many as raise the throughput, within these bounds. By Little's law, this adapts to the
#: latency and the bandwidth of any origin.
_FEWEST: Final = 16
_MOST: Final = 1024
_BETTER: Final = 1.1

#: A request that takes longer than nearly all others, and several times as long as most, is sent a second time. If
#: bandwidth is short, all requests are slow, and further ones would only make it worse: hence the second condition.
_HEDGE_QUANTILE: Final = 0.95
_HEDGE_MEDIANS: Final = 3.0
_REMEMBERED: Final = 256

#: A failed request is repeated after a pause, which doubles each time up to a limit.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
#: Treat the origin as damaged once a range has come back damaged this many times.
_TIMES_DAMAGED: Final = 8

_LOCAL_THREADS: Final = 64


@dataclass(slots=True)
class Traffic:
    """Counts of requests and bytes since the process began to fetch.

    Attributes:
        requests: Requests sent.
        bytes: Bytes received.
        retries: Requests repeated after an error.
        hedged: Requests sent a second time because they were late.
        in_flight: Requests that are running now.
        limit: How many may run at once.
    """

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    hedged: int = 0
    in_flight: int = 0
    limit: int = _FEWEST


class Fetcher:
    """Reads byte ranges of local files, or of objects behind a URL, through an event loop on a thread.

    The first request of each process starts the thread and opens the connections, so that a fork inherits neither.

    Args:
        url: The origin.
        told: Called with each range that was read, the bytes that came, and how long that took, s.
    """

    def __init__(self, url: str, told: Callable[[Span, int, float], None] | None = None) -> None:
        self._url, self._told = url, told
        # Only remote requests are hedged and repeated: on a local disk, that would add load and not help.
        self._remote = "://" in url
        self.traffic = Traffic()
        self._process = 0

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the thread."""
        if self._process != os.getpid():
            self._begin()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        """Run a blocking call on one of the fetcher's threads. For its coroutines."""
        return await self._loop.run_in_executor(self._pool, call, *arguments)

    async def get(self, span: Span, sound: Callable[[memoryview], bool]) -> memoryview:
        """Read one range, and repeat the request until the answer is sound. For the fetcher's coroutines.

        Args:
            span: The range.
            sound: Returns whether the bytes are complete and correct.

        Raises:
            MachineError: If the origin does not answer in time.
            StoreError: If every answer is damaged. A local origin is read only once.
            FileNotFoundError: If there is no such file; without repeating.
        """
        began, pause, tried, damaged = time.monotonic(), _FIRST_PAUSE, 0, 0
        while True:
            tried += 1
            try:
                async with self._limit:
                    data = await self._hedged(span)
                if sound(data):
                    return data
                why = f"{len(data):,} bytes" if len(data) != span[2] - span[1] else "damaged bytes"
                damaged += 1
            except FileNotFoundError:
                raise
            except Exception as error:
                if named := lasting_failure(span[0], error):
                    raise named from error
                why = without_secrets(f"{type(error).__name__}: {error}".split("\n")[0])[:300]
            wrong = damaged > (_TIMES_DAMAGED if self._remote else 0)
            if wrong or time.monotonic() - began > remote_seconds():
                raise (StoreError if wrong else MachineError)(
                    span[0], expected=f"bytes {span[1]:,} to {span[2]:,}", found=f"{why}, {tried} times",
                    action="Check the origin (tiering verify), and the connection to it.",
                )  # fmt: skip
            self.traffic.retries += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def close(self) -> None:
        """Stop the thread."""
        if self._process == os.getpid():
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._process = 0

    def _begin(self) -> None:
        self.traffic = Traffic()
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(_LOCAL_THREADS, thread_name_prefix="tiering-fetch")
        self._limit = AdaptiveLimit(self.traffic)
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._hedge_after = float("inf")
        self._ask = _asker(self._url, self._loop, self._pool)
        self._thread = threading.Thread(target=self._loop.run_forever, name="tiering-fetch", daemon=True)
        self._thread.start()
        self._process = os.getpid()

    async def _hedged(self, span: Span) -> memoryview:
        """Request a range, and again if the answer is unusually late; return the first answer."""
        began = time.monotonic()
        if self._hedge_after == float("inf"):
            data = await self._asked(span)
        else:
            data = await self._raced(span)
        self._seconds.append(time.monotonic() - began)
        if self._remote and len(self._seconds) >= _REMEMBERED // 4:
            ranked = sorted(self._seconds)
            most, median = ranked[int(_HEDGE_QUANTILE * len(ranked))], ranked[len(ranked) // 2]
            self._hedge_after = max(most, _HEDGE_MEDIANS * median)
        return data

    async def _raced(self, span: Span) -> memoryview:
        asked = {asyncio.ensure_future(self._asked(span))}
        try:
            done, _ = await asyncio.wait(asked, timeout=self._hedge_after)
            if not done:
                self.traffic.hedged += 1
                asked.add(asyncio.ensure_future(self._asked(span)))
            while True:
                done, running = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                good = next((each for each in done if each.exception() is None), None)
                if good is not None:
                    return good.result()
                if not running:
                    return done.pop().result()
                asked = running
        finally:
            for each in asked:
                each.cancel()

    async def _asked(self, span: Span) -> memoryview:
        self.traffic.requests += 1
        slow, began = asyncio.get_running_loop().call_later(NOTICE_SECONDS, say_waiting, span[0]), time.monotonic()
        try:
            data = memoryview(await self._ask(span))
        finally:
            slow.cancel()
        self.traffic.bytes += len(data)
        if self._told:
            self._told(span, len(data), time.monotonic() - began)
        return data


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class AdaptiveLimit:
    """Limits concurrent requests, first come, first served; doubles the limit as long as that raises the throughput."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._done, self._since, self._bytes, self._best = 0, time.monotonic(), 0, 0.0

    async def __aenter__(self) -> None:
        if self._traffic.in_flight < self._traffic.limit and not self._waiting:
            self._traffic.in_flight += 1
            return
        free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(free)
        try:
            await free
        except asyncio.CancelledError:
            if free.done() and not free.cancelled():
                self._leave()  # the slot had just been given to this request
            raise

    async def __aexit__(self, *_: object) -> None:
        self._done += 1
        self._leave()
        if self._done >= 2 * self._traffic.limit:
            self._adapt()
            self._admit()

    def _leave(self) -> None:
        self._traffic.in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        """Give free slots to the requests that wait longest. Each slot is taken here, so none is given away twice."""
        while self._waiting and self._traffic.in_flight < self._traffic.limit:
            waiting = self._waiting.popleft()
            if not waiting.done():
                self._traffic.in_flight += 1
                waiting.set_result(None)

    def _adapt(self) -> None:
        now = time.monotonic()
        rate = (self._traffic.bytes - self._bytes) / max(1e-9, now - self._since)
        if self._waiting and rate > _BETTER * self._best:
            self._best = rate
            self._traffic.limit = min(_MOST, 2 * self._traffic.limit)
        self._done, self._since, self._bytes = 0, now, self._traffic.bytes


def _asker(
    url: str, loop: asyncio.AbstractEventLoop, pool: ThreadPoolExecutor
) -> Callable[[Span], Awaitable[bytes | memoryview]]:
    """Return a coroutine function that reads one range of an origin once."""
    if "://" not in url:

        async def local(span: Span) -> bytes:
            return await loop.run_in_executor(pool, _pread, span)

        return local
    if url.startswith(WEB):
        # A web address may contain a token, which obstore would mistake for a part of the name.
        system, _ = file_system(url)

        async def web(span: Span) -> bytes:
            found: bytes = await loop.run_in_executor(
                pool, lambda: system.cat_file(span[0], start=span[1], end=span[2])
            )
            return found

        return web
    bucket = open_bucket(url, "to cache a store behind a URL")

    async def remote(span: Span) -> memoryview:
        found = await bucket.module.get_range_async(bucket.store, key_of(span[0]), start=span[1], end=span[2])
        return memoryview(found)

    return remote


def _pread(span: Span) -> bytes:
    descriptor = os.open(span[0], os.O_RDONLY)
    try:
        data = os.pread(descriptor, span[2] - span[1], span[1])
        while len(data) < span[2] - span[1]:
            more = os.pread(descriptor, span[2] - span[1] - len(data), span[1] + len(data))
            if not more:
                break
            data += more
    finally:
        os.close(descriptor)
    return data
