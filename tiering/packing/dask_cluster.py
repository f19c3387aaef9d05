"""A Dask cluster as an executor, with a time limit on every wait, a check of each worker, and a watch while it works.

Dask itself waits without a limit for workers to join, for one that can unpickle a task, and for lost ones to return.
Here the error says what is missing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Final, TypeVar

from tiering.errors import MachineError, TieringError, UsageError, needs_package
from tiering.packing.dask_workers import ASK, dotted, fault, our_version
from tiering.system.machine import usable_cores
from tiering.units import format_seconds, parse_seconds

R = TypeVar("R")

#: How long to wait for workers, and for an answer from a silent scheduler or worker, s.
WAIT_VARIABLE: Final = "TIERING_DASK_WAIT"
_WAIT: Final = 30.0
_CONNECT: Final = 10.0
#: A worker may take at least this long to answer: it imports all that packing needs, perhaps from a slow disk.
_ANSWER: Final = 25.0
_LOOK: Final = 0.2
#: How long each step of closing may take: running tasks are dropped.
_CLOSE: Final = 0.4

#: How often Dask repeats a task whose worker was lost.
RETRIES: Final = 3

_log: Final = logging.getLogger("tiering")


@contextmanager
def dask_cluster(address: str) -> Iterator[Executor]:
    """Connect to a Dask cluster whose workers can pack.

    address: of its scheduler, or "local" for a cluster on this machine. TIERING_DASK_WAIT sets how many seconds to wait
    for workers and for answers (30).
    Raises UsageError if Dask is not installed; MachineError if no scheduler answers, no worker comes, or a worker has
    another Python or version of tiering, or lacks a package; the error says which.
    """
    limit = _limit()
    distributed = _dask(address)
    cluster = None
    if address == "local":
        cluster = distributed.LocalCluster(n_workers=usable_cores(), threads_per_worker=1, dashboard_address=None)
    else:
        _greet(distributed, address, min(_CONNECT, limit))
    try:
        with warnings.catch_warnings():
            # Dask compares versions too and prints a table; our own check says what to do.
            warnings.simplefilter("ignore")
            client = distributed.Client(cluster or address, timeout=min(_CONNECT, limit))
    except (OSError, ValueError) as error:
        raise _no_scheduler(address, str(error)) from error
    ended = False
    try:
        executor = ClusterExecutor(client, address, limit)
        while not executor.check():
            time.sleep(_LOOK)
        yield executor
        ended = True
    finally:
        with nullcontext() if ended else _quiet():
            if cluster is not None and not ended:
                _kill(cluster)
            for each in (client, *([cluster] if cluster is not None else [])):
                with suppress(OSError):
                    each.close(timeout=_CLOSE)


class ClusterExecutor(Executor):
    """Runs tasks on a Dask cluster, and explains what is wrong if it cannot.

    client: of distributed. address: as the caller named it, for messages. limit: seconds to wait for workers.
    """

    def __init__(self, client: Any, address: str, limit: float) -> None:
        self._client, self._address, self._limit = client, address, limit
        #: Dask drops a task when its last future goes.
        self._held: set[Any] = set()
        self._sound: set[str] = set()
        self._since: float | None = None
        self._warned = False

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Send a task to the cluster. A cancelled task ends when the client is closed."""
        future: Future[R] = Future()
        held = self._client.submit(fn, *args, pure=False, retries=RETRIES, **kwargs)
        self._held.add(held)
        held.add_done_callback(partial(self._pass_on, future))
        return future

    def _pass_on(self, future: Future[R], held: Any) -> None:
        """Copy the outcome of a task to our future. Runs on one of Dask's threads."""
        self._held.discard(held)
        if not future.set_running_or_notify_cancel():
            return
        try:
            if held.status == "finished":
                future.set_result(held.result())
            elif held.status == "error":
                future.set_exception(held.exception())
            else:
                future.set_exception(CancelledError())
        except BaseException as error:  # noqa: BLE001 - the client may be closed by now; result() raises it
            future.set_exception(error)

    def check(self) -> bool:
        """Check new workers. Returns whether there are any workers.

        Raises MachineError for a worker that cannot pack, and if there were no workers, or the scheduler was silent,
        for longer than the limit.
        """
        workers = self._workers()
        if workers:
            self._since, self._warned = None, False
            if new := sorted(workers - self._sound):
                self._question(new)
                self._sound.update(new)
            return True
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        what = "the scheduler is silent" if workers is None else "the cluster has no workers"
        if now - self._since > self._limit:
            raise MachineError(
                self._address, expected="a Dask cluster with workers",
                found=f"{what}, for {format_seconds(self._limit)}",
                action=f"Start workers (dask worker {self._shown}), or wait longer: {WAIT_VARIABLE}=10min",
            )  # fmt: skip
        if not self._warned:
            self._warned = True
            _log.warning(
                "%s: %s; waiting for up to %s (%s).",
                self._address, what, format_seconds(self._limit), WAIT_VARIABLE,
            )  # fmt: skip
        return False

    @property
    def _shown(self) -> str:
        return "ADDRESS" if self._address == "local" else self._address

    def _workers(self) -> set[str] | None:
        """Return the addresses of all workers; None if the scheduler does not answer."""
        client = self._client
        if client.status != "running" or client.scheduler is None:
            return None
        try:
            answer = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=min(_CONNECT, self._limit))
        except (OSError, RuntimeError, AttributeError):
            # The scheduler is shutting down or gone. The client retries for a while, then cancels the tasks.
            return None
        return set(answer["workers"])

    def _question(self, workers: list[str]) -> None:
        """Check the software of workers. Raises MachineError that names those that cannot pack, and says why."""
        limit = max(_ANSWER, self._limit)
        try:
            found = self._client.run(eval, ASK, workers=workers, on_error="return", callback_timeout=limit)
        except OSError as error:
            raise MachineError(
                self._address,
                found=f"no answer from the workers {', '.join(workers)} in {format_seconds(limit)}",
                action="Look at their logs, or stop those that hang.",
            ) from error  # fmt: skip
        faults = {worker: found_fault for worker, answer in found.items() if (found_fault := fault(answer))}
        if faults:
            raise MachineError(
                self._address,
                expected=f"workers with Python {dotted(sys.version_info[:2])} and tiering {our_version()}",
                found="; ".join(f"{worker} {each}" for worker, each in sorted(faults.items())),
                action=f"Run there: pip install 'tiering[dask]=={our_version()}'. Then restart the worker.",
            )


def named(error: Exception, keeps_dying: TieringError) -> Exception:
    """Translate Dask's own errors into ours. keeps_dying: the error to return when workers die again and again."""
    kind: Any = type(error)
    if isinstance(error, TieringError) or kind.__module__.split(".")[0] != "distributed":
        return error
    return keeps_dying if kind.__name__ == "KilledWorker" else MachineError("Dask", found=f"{kind.__name__}: {error}")


def _limit() -> float:
    given = os.environ.get(WAIT_VARIABLE)
    try:
        return parse_seconds(given) if given else _WAIT
    except UsageError as error:
        raise UsageError(WAIT_VARIABLE, rule=f"must be {error.expected}", found=repr(given)) from error


def _kill(cluster: Any) -> None:
    """Kill the workers of a cluster that we started. Their unfinished shards are no longer needed."""

    async def every() -> None:
        for nanny in cluster.workers.values():
            nanny.auto_restart = False
        await asyncio.gather(*(nanny.kill(timeout=0) for nanny in cluster.workers.values()))

    with suppress(OSError):
        cluster.sync(every, callback_timeout=_CLOSE)
    # Otherwise Dask would retry for ten seconds when the interpreter ends, which kills the workers anyway.
    cluster.shutdown_on_close = False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from logging every dropped task."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _greet(distributed: Any, address: str, limit: float) -> None:
    """Check that a scheduler answers at an address. Dask's client would wait without limit for a silent one."""

    async def asked() -> Any:
        arguments = distributed.Security().get_connection_args("client")
        async with distributed.rpc(address, timeout=limit, connection_args=arguments) as peer:
            return await peer.identity()

    def ask() -> Any:
        return asyncio.run(asyncio.wait_for(asked(), limit))

    try:
        # On another thread: this one may have a running event loop, as in a notebook.
        with ThreadPoolExecutor(1) as thread:
            kind = thread.submit(ask).result()["type"]
    except TimeoutError as error:
        raise _no_scheduler(address, f"no answer in {format_seconds(limit)}") from error
    except MemoryError as error:
        # Dask takes the first bytes of an answer for a size.
        raise _no_scheduler(address, "a server that does not speak Dask's protocol") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _no_scheduler(address, str(error)) from error
    if kind != "Scheduler":
        raise _no_scheduler(address, f"a Dask {str(kind).lower()}")


def _no_scheduler(address: str, found: str) -> MachineError:
    return MachineError(
        address, expected="a Dask scheduler (tcp://host:8786)", found=found or "none", action="Check the address."
    )


def _dask(address: str) -> Any:
    """Import Dask's distributed package."""
    try:
        import distributed  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise UsageError(
            f"workers {address}", rule=needs_package("Dask", error), action="pip install 'tiering[dask]'"
        ) from error
    return distributed
