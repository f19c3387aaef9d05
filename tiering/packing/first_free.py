"""An executor that shares tasks between threads of this process and other processes, which it may start later."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

R = TypeVar("R")
_Task = tuple[Future[Any], Callable[[], Any]]


class FirstFree(Executor):
    """Gives each task to the executor that is free first. Use it as a context manager, which closes the others.

    here: each takes one task at a time, and belongs to the caller. others: opens an executor that takes `count` tasks
    at a time. delay: s until that is opened, because all tasks may be done before.
    """

    def __init__(
        self,
        here: Sequence[Executor],
        others: Callable[[], AbstractContextManager[Executor]],
        count: int,
        *,
        delay: float,
    ) -> None:
        #: How many more tasks each executor takes.
        self._free = dict.fromkeys(here, 1)
        self._others, self._count = others, count
        self._waiting: deque[_Task] = deque()
        # Never held while another executor is called: that may hold a lock of its own, and end tasks, in _done.
        self._lock = threading.Lock()
        self._opened = ExitStack()
        self._closed = False
        self._timer = threading.Timer(delay, self._open)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._timer.cancel()
        with self._lock:
            self._closed = True
            self._waiting.clear()
        return self._opened.__exit__(kind, failure, trace)

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Queue a task."""
        future: Future[R] = Future()
        with self._lock:
            self._waiting.append((future, partial(fn, *args, **kwargs)))
        self._hand_out()
        return future

    def _open(self) -> None:
        with self._lock:
            if self._closed or not self._count:
                return
            self._free[self._opened.enter_context(self._others())] = self._count
        self._hand_out()

    def _hand_out(self) -> None:
        while (given := self._next()) is not None:
            executor, (future, work) = given
            try:
                running = executor.submit(work)
            except (RuntimeError, OSError) as error:  # it is broken or closed, or no process can be started
                self._ended(executor, broken=True)
                future.set_exception(error)
            else:
                running.add_done_callback(partial(self._done, executor, future))

    def _next(self) -> tuple[Executor, _Task] | None:
        """Take a task that waits, and an executor that is free; None unless there are both."""
        with self._lock:
            while self._waiting and (executor := next((each for each, free in self._free.items() if free), None)):
                task = self._waiting.popleft()
                if task[0].set_running_or_notify_cancel():
                    self._free[executor] -= 1
                    return executor, task
        return None

    def _ended(self, executor: Executor, *, broken: bool) -> None:
        with self._lock:
            if broken:
                self._free.pop(executor, None)
            elif executor in self._free:
                self._free[executor] += 1

    def _done(self, executor: Executor, future: Future[Any], given: Future[Any]) -> None:
        error = BrokenExecutor("a task was dropped") if given.cancelled() else given.exception()
        # A process pool that broke ends its tasks while it holds a lock that `submit` takes, too: it gets no more.
        broken = isinstance(error, BrokenExecutor)
        self._ended(executor, broken=broken)
        if not broken:
            self._hand_out()
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(given.result())
