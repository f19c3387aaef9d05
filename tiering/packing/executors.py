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
from itertools import islice
from multiprocessing.connection import Connection
from typing import Final, Protocol, TypeVar, runtime_checkable

from tiering.errors import MachineError
from tiering.packing.dask_cluster import named
from tiering.packing.thread_executor import one_thread
from tiering.system.machine import usable_cores

T = TypeVar("T")
R = TypeVar("R")

#: How often in a row a pool may break without finishing anything before we believe that it is the work that kills it.
ATTEMPTS: Final = 3

#: How often to check an executor that can say why nothing happens, s.
_LOOK: Final = 1.0
_WAKE: Final = 0.2

MakeExecutor = Callable[[], AbstractContextManager[Executor]]


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
    return one_thread() if processes <= 1 else _processes(processes)


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
def given(executor: Executor) -> Iterator[Executor]:
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
        action="Convert again; fewer processes take less memory (--workers 1).",
    )
