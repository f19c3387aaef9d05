"""Executors: processes on this machine by default, a Dask cluster beyond it. The packer does not know which."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

from tiering.errors import MachineError, TieringError, UsageError
from tiering.system.machine import usable_cores

T = TypeVar("T")
R = TypeVar("R")

#: How often in a row a pool may break without finishing anything before we believe that it is the work that kills it.
ATTEMPTS: Final = 3

MakeExecutor = Callable[[], AbstractContextManager[Executor]]


def run_tasks(make: MakeExecutor, work: Callable[[T], R], tasks: Iterable[T], *, ahead: int) -> Iterator[R]:
    """Run tasks and yield their results as they finish.

    make: opens an executor; when a worker process dies and takes its pool along, a new one is made and the tasks that
    were under way are run again. ahead: tasks submitted at a time, so that a plan is never held whole.
    Raises what a task raises, and MachineError when workers keep dying.
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
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
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
                raise _named(error) from error
            finally:
                for future in running:
                    future.cancel()


def process_pool(workers: int | None, tasks: int) -> AbstractContextManager[Executor]:
    """Open a pool of processes: as many as asked for or as there are usable cores, and no more than tasks."""
    processes = min(workers or usable_cores(), tasks)
    if processes <= 1:
        return ThreadPoolExecutor(1)
    # Spawned, not forked: Polars and fsspec keep threads, and a fork in their midst can hang.
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


@contextmanager
def dask_cluster(address: str) -> Iterator[Executor]:
    """Connect to a Dask cluster: the address of its scheduler, or "local" for one on this machine.

    Raises UsageError without Dask, MachineError where no scheduler answers.
    """
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise UsageError(
            f"--dask {address}", expected="Dask", found=str(error), action="pip install 'tiering[dask]'"
        ) from error
    cluster = None
    try:
        if address == "local":
            cluster = LocalCluster(n_workers=usable_cores(), threads_per_worker=1, dashboard_address=None)
        client = Client(cluster or address, timeout=10)
    except (OSError, ValueError) as error:
        raise MachineError(
            address, expected="a Dask scheduler, as tcp://host:8786", found=str(error), action="Check the address."
        ) from error
    with client:
        try:
            yield client.get_executor(pure=False, retries=ATTEMPTS)
        finally:
            if cluster is not None:
                cluster.close()


@contextmanager
def given(executor: Executor) -> Iterator[Executor]:
    """Use an executor that somebody else opened and will close."""
    yield executor


def _begin() -> None:
    """Begin the life of a worker process: it ends with its parent, however that ends, and quietly on Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def watch(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def _named(error: Exception) -> Exception:
    """Name what a cluster's own kinds of failure mean."""
    kind: Any = type(error)
    if isinstance(error, TieringError) or kind.__module__.split(".")[0] != "distributed":
        return error
    return (
        _keeps_dying() if kind.__name__ == "KilledWorker" else MachineError("Dask", found=f"{kind.__name__}: {error}")
    )


def _keeps_dying() -> MachineError:
    return MachineError(
        "a worker process",
        found="ended without a word, again and again (out of memory, or no `if __name__ == '__main__':` in a script)",
        action="Convert again; fewer processes take less memory (--workers 1).",
    )
