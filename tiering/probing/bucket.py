"""Measure an object store: latency and bandwidth of ranged reads at rising concurrency, and of writes."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, Final, Literal

import numpy as np

from tiering.advice.catalog import ReadPoint
from tiering.errors import MachineError
from tiering.storage.bucket import key_of, open_bucket
from tiering.storage.failures import asking, remote_errors
from tiering.storage.objects import again
from tiering.system.signals import put_off

OBJECT: Final = 8 << 20
BLOCKS: Final = (4096, 131072, 1048576, OBJECT)
CONCURRENCY: Final = (1, 2, 4, 8, 16, 32, 64)

#: Most requests of one point: enough for a p99, and nearly free (0.4 USD a million on Amazon S3).
MOST_REQUESTS: Final = 1000
#: Most requests in all: each point, the look-ups and small writes, and some to write, list and delete.
REQUESTS: Final = MOST_REQUESTS * (len(BLOCKS) * len(CONCURRENCY) + 2)

_SMALL: Final = 4096
_WRITERS: Final = 8
#: Seconds between attempts to clean up.
_PAUSES: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
_WRITE, _LOOK, _SYNC = 0.2, 0.05, 0.05


@dataclass(frozen=True, slots=True)
class BucketFigures:
    """The figures of an object store.

    Attributes:
        points: Ranged reads of objects of 8 MiB: "sequential" for whole objects, "random" for parts.
        write_bandwidth: B/s of writes of objects of 8 MiB, 8 at a time.
        sync_rate: Writes of objects of 4 KiB/s, one at a time.
        metadata_rate: Look-ups (HEAD)/s, one at a time.
        written: Bytes written.
    """

    points: tuple[ReadPoint, ...]
    write_bandwidth: float
    sync_rate: float
    metadata_rate: float
    written: int


class _StoppedError(Exception):
    """The measurement was stopped, and its figures are not needed."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Completed requests: the seconds of all together, and of each."""

    seconds: float
    latencies: list[float]


def measure_bucket(url: str, seconds: float, size: int, say: Callable[[str], None]) -> BucketFigures:
    """Measure an object store with new objects below a unique prefix, which are deleted whatever happens.

    It first tries to write, read and delete one small object.

    Args:
        url: A bucket or a prefix in it.
        seconds: About how long the measurement may take.
        size: Most bytes to write, besides small objects of 4 MB in all. A point reads no more than that.
        say: Called with the name of each part.

    Raises:
        UsageError: For a URL that obstore does not open.
        MachineError: Without obstore, without a connection, or without the right to write, read and delete objects.
    """
    with remote_errors(url):
        bucket = open_bucket(url, "to measure what lies behind a URL")
    obstore, store = bucket.module, bucket.store
    prefix = f"{key_of(url).strip('/')}/tiering-probe-{uuid.uuid4().hex}".lstrip("/")
    first = f"{prefix}/first"
    with remote_errors(url):
        stop, pool, refused = Event(), ThreadPoolExecutor(1), False
        try:
            try:
                with asking(url):
                    obstore.put(store, first, b"tiering", use_multipart=False)
            except Exception:
                refused = True
                raise
            with asking(url):
                obstore.get_range(store, first, start=0, end=7)
                obstore.delete(store, first)
            # On a thread, where no signal can interrupt the loop in the middle of a step. A signal that interrupted the
            # start of the thread would leave a pool that does not know of it, and does not wait for it.
            with put_off():
                work = pool.submit(
                    asyncio.run, _measured(obstore, store, prefix, seconds, max(1, size // OBJECT), say, stop)
                )
            return work.result()
        finally:
            with put_off():
                stop.set()
                pool.shutdown()
                # An interrupted first write may still have reached the server, but a refused one left nothing.
                if not refused:
                    _remove(obstore, store, url, prefix)


def _remove(obstore: Any, store: Any, url: str, prefix: str) -> None:
    """Delete all objects below the prefix until a listing finds none. Ask a failing server again."""
    failure: Exception | None = None
    for pause in (0.0, *_PAUSES):
        time.sleep(pause)
        try:
            found = [each["path"] for chunk in obstore.list(store, prefix=f"{prefix}/") for each in chunk]
            if not found:
                return
            obstore.delete(store, found)
        except Exception as error:  # noqa: BLE001 - drivers raise their own kinds; the last one is reported
            failure = error
    raise MachineError(
        url,
        expected="to delete the probe's objects",
        found=f"{type(failure).__name__}: {failure}" if failure else "objects that remain",
        action=f"Delete the objects below {prefix}/ yourself.",
    ) from failure


async def _measured(
    obstore: Any, store: Any, prefix: str, seconds: float, count: int, say: Callable[[str], None], stop: Event
) -> BucketFigures:
    end = time.perf_counter() + seconds
    say("writing")
    payload = os.urandom(OBJECT)

    async def put(number: int) -> None:
        await again(obstore, lambda: obstore.put_async(store, f"{prefix}/{number}", payload, use_multipart=False))

    async def small(number: int) -> None:
        key, data = f"{prefix}/small-{number}", payload[:_SMALL]
        await again(obstore, lambda: obstore.put_async(store, key, data, use_multipart=False))

    async def look(number: int) -> None:
        await again(obstore, lambda: obstore.head_async(store, f"{prefix}/{number % kept}"))

    put_run = await _run(put, min(count, MOST_REQUESTS), _WRITERS, seconds * _WRITE, stop)
    kept = len(put_run.latencies)
    looks = await _run(look, MOST_REQUESTS, 1, seconds * _LOOK, stop)
    smalls = await _run(small, MOST_REQUESTS, 1, seconds * _SYNC, stop)
    say("reading")
    points, left = [], [(block, depth) for block in BLOCKS for depth in CONCURRENCY]
    while left:
        share = (end - time.perf_counter()) / len(left)
        block, depth = left.pop(0)
        get = _getter(obstore, store, prefix, kept, block)
        most = min(MOST_REQUESTS, kept * OBJECT // block)
        if most >= depth:
            points.append(_point(block, depth, await _run(get, most, depth, share, stop)))
    return BucketFigures(
        points=tuple(points),
        write_bandwidth=kept * OBJECT / put_run.seconds,
        sync_rate=len(smalls.latencies) / smalls.seconds,
        metadata_rate=len(looks.latencies) / looks.seconds,
        written=kept * OBJECT + len(smalls.latencies) * _SMALL,
    )


def _getter(
    obstore: Any, store: Any, prefix: str, objects: int, block: int
) -> Callable[[int], Coroutine[Any, Any, None]]:
    """Return a function that makes the nth read: each part of each object once, in a random order."""
    inside = OBJECT // block
    order = np.random.default_rng().permutation(objects * inside).tolist()

    async def get(number: int) -> None:
        which, part = divmod(order[number], inside)
        key = f"{prefix}/{which}"
        ask = obstore.get_range_async
        await again(obstore, lambda: ask(store, key, start=part * block, end=(part + 1) * block))

    return get


async def _run(request: Callable[[int], Awaitable[None]], most: int, depth: int, seconds: float, stop: Event) -> _Run:
    """Make requests 0, 1, ..., `depth` at a time, until there are `most` or the time is up; at least one each.

    No request is ever cancelled, because a write that arrives after the clean-up would stay for ever. When one
    fails, or the measurement stops, this waits for the others.
    """
    numbers, latencies = iter(range(most)), list[float]()
    start = time.perf_counter()

    async def work() -> None:
        for number in numbers:
            begun = time.perf_counter()
            try:
                await request(number)
            except BaseException:
                stop.set()
                raise
            now = time.perf_counter()
            latencies.append(now - begun)
            if now - start > seconds or stop.is_set():
                break

    ends = await asyncio.gather(*(work() for _ in range(depth)), return_exceptions=True)
    for end in ends:
        if end is not None:
            raise end
    if stop.is_set():
        raise _StoppedError
    return _Run(time.perf_counter() - start, latencies)


def _point(block: int, depth: int, run: _Run) -> ReadPoint:
    p50, p99 = np.percentile(run.latencies, [50, 99])
    pattern: Literal["random", "sequential"] = "sequential" if block == OBJECT else "random"
    bandwidth = len(run.latencies) * block / run.seconds
    return ReadPoint(pattern=pattern, block=block, depth=depth, bandwidth=bandwidth, p50=float(p50), p99=float(p99))
