"""One thread as an executor, which Ctrl-C need not wait for."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Final, TypeVar

R = TypeVar("R")

#: How long a task that is told to stop may take to clean up. One that waits for a server is left to itself.
_STOP_SECONDS: Final = 1.5

_Task = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class _Stopped(BaseException):
    """Raised inside the task in hand when it is no longer wanted; its blocks clean up as for any error."""


@contextmanager
def one_thread() -> Iterator[Executor]:
    """Open an executor of one thread. Ctrl-C, and whatever else ends the block early, drops the task in hand."""
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
    """Runs tasks in turn on a daemon thread, which the interpreter does not wait for when it ends."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._waiting: list[Future[Any]] = []
        self._thread = threading.Thread(target=self._run, name="tiering-pack", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Have a task run behind those that were given before."""
        future: Future[R] = Future()
        self._waiting = [each for each in self._waiting if not each.done()] + [future]
        self._tasks.put((future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more, and wait for what is there."""
        if cancel_futures:
            for future in self._waiting:
                future.cancel()
        self._tasks.put(None)
        if wait:
            self._thread.join()

    def stop(self) -> None:
        """Drop the task in hand and those that wait."""
        self.shutdown(wait=False, cancel_futures=True)
        if self._thread.is_alive():
            number = ctypes.c_ulong(self._thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(_Stopped))
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                future, fn, args, kwargs = task
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    result = fn(*args, **kwargs)
                except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
                    future.set_exception(error)
                else:
                    future.set_result(result)
        except _Stopped:
            return
