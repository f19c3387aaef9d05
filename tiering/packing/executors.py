"""Executors: processes on this machine by default, a Dask cluster beyond it. The packer does not know which.

Ctrl-C drops unfinished shards. A shard appears complete or not at all, and the next conversion packs the missing ones.
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
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from tiering.errors import MachineError
from tiering.packing.dask_cluster import dask_cluster, named
from tiering.packing.first_free import FirstFree
from tiering.system.machine import usable_cores

T = TypeVar("T")
R = TypeVar("R")

#: About how long processes take to start, s.
_START: Final = 1.0

#: Copying keeps a disk busy with this many threads, without the start of processes. Further ones join after a while, s.
#: Beyond this much work, s on one thread, processes do all of it.
_THREADS: Final = 2
_DELAY: Final = 2.0
_LONG: Final = 20.0

#: If a pool breaks this often in a row without finishing anything, the work itself probably kills it.
ATTEMPTS: Final = 3

#: How often to check a watched executor, s.
_LOOK: Final = 1.0
_WAKE: Final = 0.2

#: How long a stopped task may take to clean up, s. A task that still waits for a server is abandoned.
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


#: A number of processes (None: one for each usable core if that is quicker), a Dask cluster, or an open executor.
Workers = int | Dask | Executor | None


def opener(workers: Workers, tasks: int, seconds: float, *, decoded: bool) -> MakeExecutor:
    """Return a function that opens an executor.

    tasks: how many there are. seconds: about how long one thread needs for all of them. decoded: whether they decode
    images, and not only copy them. By default, threads do what is done before processes would have started.
    """

    def open_executor() -> AbstractContextManager[Executor]:
        if isinstance(workers, Dask):
            return dask_cluster(workers.address)
        if workers is None and decoded and seconds < _START:
            return _one_thread()
        if workers is None and not decoded and seconds < _LONG:
            return _threads_and_processes(min(usable_cores(), tasks))
        if workers is None or isinstance(workers, int):
            return process_pool(workers, tasks)
        return nullcontext(workers)

    return open_executor


def tasks_ahead(workers: Workers) -> int:
    """Return how many tasks to submit at a time, so that no worker waits."""
    if isinstance(workers, Dask):
        return 64
    return 2 * max(workers if isinstance(workers, int) else usable_cores(), 2)


@runtime_checkable
class Watched(Protocol):
    """An executor whose workers may all disappear without an error."""

    def check(self) -> object:
        """Raise an error that says what is wrong."""
        ...


def run_tasks(make: MakeExecutor, work: Callable[[T], R], tasks: Iterable[T], *, ahead: int) -> Generator[R]:
    """Run tasks and yield their results as they finish.

    make: opens an executor. If a worker process dies and breaks its pool, a new pool is made and the running tasks are
    run again. ahead: how many tasks to submit at a time, so that they are never all in memory.
    Raises the error of a task, or MachineError if workers keep dying. When closed or interrupted, it does not wait for
    running tasks.
    """
    waiting = iter(tasks)
    #: Tasks that no pool has, in order.
    lost: list[T] = []
    breaks = 0
    while True:
        with make() as executor:
            running: dict[Future[R], T] = {}
            try:
                while True:
                    lost += islice(waiting, ahead - len(running) - len(lost))
                    while lost:
                        # It stays in the list until the pool has it: a pool may break here, too.
                        running[executor.submit(work, lost[0])] = lost[0]
                        del lost[0]
                    if not running:
                        return
                    for future in _done(executor, running):
                        result = future.result()
                        del running[future]
                        breaks = 0
                        yield result
            except (BrokenExecutor, CancelledError) as error:
                breaks += 1
                lost += running.values()
                if breaks == ATTEMPTS:
                    raise _keeps_dying() from error
            except Exception as error:
                raise named(error, _keeps_dying()) from error
            finally:
                for future in running:
                    future.cancel()


def process_pool(workers: int | None, tasks: int) -> AbstractContextManager[Executor]:
    """Open a pool of processes, by default one for each usable core, but no more than there are tasks."""
    processes = min(workers or usable_cores(), tasks)
    return _one_thread() if processes <= 1 else _processes(processes)


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    # Spawned, not forked: Polars and fsspec have threads, and forking a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    wanted, parent_end = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(wanted,))
    try:
        yield pool
    except Exception:
        raise
    except BaseException:
        # Interrupted: the unfinished shards are no longer needed.
        parent_end.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        parent_end.close()
        wanted.close()


@contextmanager
def _threads_and_processes(count: int) -> Iterator[Executor]:
    """Open an executor of up to two threads and, after a while, of a process for each further task at a time."""
    with ExitStack() as stack:
        here = [stack.enter_context(_one_thread()) for _ in range(min(count, _THREADS))]
        more = count - len(here)
        yield stack.enter_context(FirstFree(here, lambda: _processes(more), more, delay=_DELAY))


def _done(executor: Executor, running: Iterable[Future[R]]) -> set[Future[R]]:
    """Wait until some futures are done. Raises the error of a watched executor that finds a fault meanwhile.

    It wakes up regularly: Polars handles SIGINT with SA_RESTART, so Ctrl-C would not end an unlimited wait.
    """
    checked = time.monotonic()
    while not (done := wait(running, timeout=_WAKE, return_when=FIRST_COMPLETED).done):
        if isinstance(executor, Watched) and time.monotonic() - checked > _LOOK:
            executor.check()
            checked = time.monotonic()
    return done


def _begin(wanted: Connection) -> None:
    """Set up a worker process, so that it always ends with its parent, and without a message on Ctrl-C.

    wanted: a pipe that the parent closes when it no longer needs the current work.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def watch(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel, wanted])
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def _keeps_dying() -> MachineError:
    return MachineError(
        "a worker process",
        found="died several times without an error (out of memory, or no `if __name__ == '__main__':` in a script)",
        action="Convert again; fewer processes take less memory (`workers` 1).",
    )


class UnwantedError(BaseException):
    """Raised inside a task that is no longer needed. The task cleans up as after any error."""


class _Here(threading.local):
    """unwanted: on a thread of _OneThread, an Event that is set when the running task is no longer needed."""

    unwanted: threading.Event | None = None


_here: Final = _Here()


def end_if_unwanted() -> None:
    """Raise UnwantedError if this task was interrupted. A task calls this often, and before it publishes its result.

    To raise an exception in the thread from outside, at any instruction, could leave a library's lock held for ever.
    Tasks in processes of their own do not need this, because the process is killed.
    """
    if _here.unwanted is not None and _here.unwanted.is_set():
        raise UnwantedError


@contextmanager
def _one_thread() -> Iterator[Executor]:
    """Open an executor of one thread. Ctrl-C drops the running task; an error drops only the waiting ones."""
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
