"""Executors: processes on this machine by default, a Dask cluster beyond it. The packer does not know which.

Ctrl-C drops unfinished shards: a shard appears whole or not at all, and the next run packs those that are missing.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from tiering.errors import MachineError
from tiering.packing.dask_cluster import dask_cluster, named
from tiering.system.machine import usable_cores

T = TypeVar("T")
R = TypeVar("R")

#: How often in a row a pool may break without finishing anything before we believe that it is the work that kills it.
ATTEMPTS: Final = 3

#: How often to check an executor that can say why nothing happens, s.
_LOOK: Final = 1.0
_WAKE: Final = 0.2

#: How long a task may take to clean up when it is told to stop. One that still waits for a server is abandoned.
_STOP_SECONDS: Final = 1.5

_Task = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]
MakeExecutor = Callable[[], AbstractContextManager[Executor]]


@dataclass(frozen=True, slots=True)
class Dask:
    """Workers of a Dask cluster. All of them must see the source and the store.

    Args:
        address: Of the scheduler, such as "tcp://host:8786"; "local" starts a cluster on this machine.
    """

    address: str = "local"


#: Who packs: a number of processes (None: one for each usable core), a Dask cluster, or an open executor.
Workers = int | Dask | Executor | None


def opener(workers: Workers, tasks: int) -> MakeExecutor:
    """Return a function that opens an executor for a given number of tasks."""

    def open_executor() -> AbstractContextManager[Executor]:
        if isinstance(workers, Dask):
            return dask_cluster(workers.address)
        if workers is None or isinstance(workers, int):
            return process_pool(workers, tasks)
        return _given(workers)

    return open_executor


def tasks_ahead(workers: Workers) -> int:
    """Return how many tasks to submit at a time, so that no worker waits."""
    if isinstance(workers, Dask):
        return 64
    return 2 * max(workers if isinstance(workers, int) else usable_cores(), 2)


@runtime_checkable
class Watched(Protocol):
    """An executor whose workers may all disappear without an error."""

    def check(self) -> None:
        """Raise an error that says what is wrong."""
        ...


def run_tasks(make: MakeExecutor, work: Callable[[T], R], tasks: Iterable[T], *, ahead: int) -> Generator[R]:
    """Run tasks and yield their results as they finish.

    make: opens an executor; when a worker process dies and takes its pool along, a new one is made and the tasks that
    were under way are run again. ahead: tasks submitted at a time, so that a plan is never held whole.
    Raises what a task raises, and MachineError when workers keep dying. When closed or interrupted, it does not wait
    for running tasks.
    """
    waiting = iter(tasks)
    lost: list[T] = []
    breaks = 0
    while True:
        with make() as executor:
            running: dict[Future[R], T] = {}
            try:
                while True:
                    for task in [*lost, *islice(waiting, ahead - len(running) - len(lost))]:
                        running[executor.submit(work, task)] = task
                    lost = []
                    if not running:
                        return
                    for future in _done(executor, running):
                        result = future.result()
                        del running[future]
                        breaks = 0
                        yield result
            except (BrokenExecutor, CancelledError) as error:
                breaks += 1
                lost = list(running.values())
                if breaks == ATTEMPTS:
                    raise _keeps_dying() from error
            except Exception as error:
                raise named(error, _keeps_dying()) from error
            finally:
                for future in running:
                    future.cancel()


def process_pool(workers: int | None, tasks: int) -> AbstractContextManager[Executor]:
    """Open a pool of processes: as many as asked for or as there are usable cores, and no more than tasks."""
    processes = min(workers or usable_cores(), tasks)
    return _one_thread() if processes <= 1 else _processes(processes)


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    # Spawned, not forked: Polars and fsspec keep threads, and a fork in their midst can hang.
    context = multiprocessing.get_context("spawn")
    told, teller = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(told,))
    try:
        yield pool
    except Exception:
        raise
    except BaseException:
        # Interrupted: the unfinished shards are not wanted any more.
        teller.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        teller.close()
        told.close()


@contextmanager
def _given(executor: Executor) -> Iterator[Executor]:
    """Use an executor that somebody else opened and will close."""
    yield executor


def _done(executor: Executor, running: Iterable[Future[R]]) -> set[Future[R]]:
    """Wait until some futures are done. Raises what a watched executor finds wrong meanwhile.

    It wakes up regularly: Polars handles SIGINT with SA_RESTART, so Ctrl-C would not end an unlimited wait.
    """
    checked = time.monotonic()
    while not (done := wait(running, timeout=_WAKE, return_when=FIRST_COMPLETED).done):
        if isinstance(executor, Watched) and time.monotonic() - checked > _LOOK:
            executor.check()
            checked = time.monotonic()
    return done


def _begin(told: Connection) -> None:
    """Set up a worker process, so that it ends with its parent, however that ends, and quietly on Ctrl-C.

    told: the parent closes it when it no longer wants the current work.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def watch(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel, told])
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def _keeps_dying() -> MachineError:
    return MachineError(
        "a worker process",
        found="ended without a word, again and again (out of memory, or no `if __name__ == '__main__':` in a script)",
        action="Convert again; fewer processes take less memory (`workers` 1).",
    )


class UnwantedError(BaseException):
    """Raised inside a task that is no longer wanted; the task cleans up as for any error."""


#: On a thread of _OneThread: `unwanted`, an Event that is set when the running task is no longer wanted.
_here: Final = threading.local()


def end_if_unwanted() -> None:
    """Raise UnwantedError if the run of this task was interrupted. A task calls this often, and before it publishes.

    Raising an exception from outside, at any instruction of the thread, could leave a lock of some library held for
    ever. A task in a process of its own needs no call: the process is ended.
    """
    unwanted: threading.Event | None = getattr(_here, "unwanted", None)
    if unwanted is not None and unwanted.is_set():
        raise UnwantedError


@contextmanager
def _one_thread() -> Iterator[Executor]:
    """Open an executor of one thread. Ctrl-C drops the running task; an error drops only those that wait."""
    executor = _OneThread()
    try:
        yield executor
    except Exception:
        executor.shutdown(cancel_futures=True)
        raise
    except BaseException:
        executor.stop()
        raise
    executor.shutdown()


class _OneThread(Executor):
    """Runs tasks in turn on a daemon thread, so that the interpreter does not wait for it at exit."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._waiting: list[Future[Any]] = []
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tiering-pack", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Queue a task."""
        future: Future[R] = Future()
        self._waiting = [each for each in self._waiting if not each.done()] + [future]
        self._tasks.put((future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks, and wait for those in the queue."""
        if cancel_futures:
            for future in self._waiting:
                future.cancel()
        self._tasks.put(None)
        if wait:
            self._thread.join()

    def stop(self) -> None:
        """Drop the running task and those that wait."""
        self._unwanted.set()
        self.shutdown(wait=False, cancel_futures=True)
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        _here.unwanted = self._unwanted
        while (task := self._tasks.get()) is not None:
            future, fn, args, kwargs = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = fn(*args, **kwargs)
            except UnwantedError:
                return
            except Exception as error:  # noqa: BLE001 - result() raises it
                future.set_exception(error)
            else:
                future.set_result(result)
