"""One thread as an executor; Ctrl-C does not wait for it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Final, TypeVar

R = TypeVar("R")

#: How long a task may take to clean up when it is told to stop. One that still waits for a server is abandoned.
_STOP_SECONDS: Final = 1.5

_Task = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class _Stopped(BaseException):
    """Raised inside the running task when it is no longer wanted; the task cleans up as for any error."""


@contextmanager
def one_thread() -> Iterator[Executor]:
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
                except Exception as error:  # noqa: BLE001 - result() raises it
                    future.set_exception(error)
                else:
                    future.set_result(result)
        except _Stopped:
            return
