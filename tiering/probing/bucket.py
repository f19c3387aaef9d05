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
from tiering.storage.bucket import open_bucket
from tiering.storage.failures import asking, remote_errors
from tiering.storage.objects import again
from tiering.system.signals import put_off

OBJECT: Final = 8 << 20
BLOCKS: Final = (4096, 131072, 1048576, OBJECT)
CONCURRENCY: Final = (1, 2, 4, 8, 16, 32, 64)

#: Requests of one point: enough for a p99, few enough to cost nothing (0.4 USD a million on Amazon S3).
MOST_REQUESTS: Final = 1000
#: Requests in all: every point, the look-ups and small writes, and some to write, list and delete.
REQUESTS: Final = MOST_REQUESTS * (len(BLOCKS) * len(CONCURRENCY) + 2)

_SMALL: Final = 4096
_WRITERS: Final = 8
#: s between attempts to clear up.
_PAUSES: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
_WRITE, _LOOK, _SYNC = 0.2, 0.05, 0.05


@dataclass(frozen=True, slots=True)
class BucketFigures:
    """What was measured of an object store.

    points: ranged reads of objects of 8 MiB, "sequential" where they are read whole, "random" where in parts.
    write_bandwidth: B/s of writing objects of 8 MiB, 8 at a time. sync_rate: writes of objects of 4 KiB/s, one at a
    time. metadata_rate: look-ups (HEAD)/s, one at a time. written: B.
    """

    points: tuple[ReadPoint, ...]
    write_bandwidth: float
    sync_rate: float
    metadata_rate: float
    written: int


class _StoppedError(Exception):
    """The measurement was stopped; nobody waits for its figures."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Requests that were made: s that all took, and s of each."""

    seconds: float
    latencies: list[float]


def measure_bucket(url: str, seconds: float, size: int, say: Callable[[str], None]) -> BucketFigures:
    """Measure an object store with objects of its own below a unique prefix, which are deleted whatever happens.

    url: a bucket or a prefix in it. seconds: about how long it may take. size: B that are written at most, small
    objects apart (4 MB); a point reads no more than that either. say: told what begins.
    Raises UsageError for a URL that obstore does not open, and MachineError where it is missing, or the server cannot
    be asked or does not let objects be written, read and deleted: that is tried with one small object first.
    """
    with remote_errors(url):
        bucket = open_bucket(url, "to measure what lies behind a URL")
    obstore, store = bucket.module, bucket.store
    below = url.removeprefix(bucket.base.rstrip("/")).strip("/")
    prefix = "/".join(part for part in (below, f"tiering-probe-{uuid.uuid4().hex}") if part)
    first = f"{prefix}/first"
    with remote_errors(url):
        with asking(url):
            obstore.put(store, first, b"tiering", use_multipart=False)
        stop, pool = Event(), ThreadPoolExecutor(1)
        try:
            with asking(url):
                obstore.get_range(store, first, start=0, end=7)
                obstore.delete(store, first)
            # On a thread, where no signal interrupts the loop in the middle of a step.
            work = pool.submit(
                asyncio.run, _measured(obstore, store, prefix, seconds, max(1, size // OBJECT), say, stop)
            )
            return work.result()
        finally:
            with put_off():
                stop.set()
                pool.shutdown()
                _remove(obstore, store, url, prefix)


def _remove(obstore: Any, store: Any, url: str, prefix: str) -> None:
    """Delete what lies below the prefix, until a listing finds nothing; a server that fails is asked again."""
    failure: Exception | None = None
    for pause in (0.0, *_PAUSES):
        time.sleep(pause)
        try:
            found = [each["path"] for chunk in obstore.list(store, prefix=f"{prefix}/") for each in chunk]
            if not found:
                return
            obstore.delete(store, found)
        except Exception as error:  # noqa: BLE001 - drivers raise their own kinds; the last one is told
            failure = error
    raise MachineError(
        url,
        expected="to delete what was written for the probe",
        found=f"{type(failure).__name__}: {failure}" if failure else "objects that stay",
        action=f"Delete what lies below {prefix}/ yourself.",
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
    """Return what makes the nth read of a block: each part of each object once, in a random order."""
    inside = OBJECT // block
    order = np.random.default_rng().permutation(objects * inside).tolist()

    async def get(number: int) -> None:
        which, part = divmod(order[number], inside)
        key = f"{prefix}/{which}"
        ask = obstore.get_range_async
        await again(obstore, lambda: ask(store, key, start=part * block, end=(part + 1) * block))

    return get


async def _run(request: Callable[[int], Awaitable[None]], most: int, depth: int, seconds: float, stop: Event) -> _Run:
    """Make requests 0, 1, ... with so many under way, until there are `most` or the time is up; at least one each.

    No request is ever called off: a write that arrived after the clearing up would stay for ever. When one fails, or
    the measurement is stopped, those under way are waited for.
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
