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
        # Reentrant, because a task that is done at once calls _done inside _hand_out.
        self._lock = threading.RLock()
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
            if not self._closed and self._count:
                self._free[self._opened.enter_context(self._others())] = self._count
                self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and (executor := next((each for each, free in self._free.items() if free), None)):
            future, work = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            self._free[executor] -= 1
            try:
                given = executor.submit(work)
            except BrokenExecutor as error:
                future.set_exception(error)
            else:
                given.add_done_callback(partial(self._done, executor, future))

    def _done(self, executor: Executor, future: Future[Any], given: Future[Any]) -> None:
        with self._lock:
            self._free[executor] += 1
            self._hand_out()
        if given.cancelled():
            future.set_exception(BrokenExecutor("a task was dropped"))
        elif (error := given.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(given.result())
