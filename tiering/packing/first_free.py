"""An executor that gives each task to the first of several executors that is free."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from typing import Any, TypeVar

R = TypeVar("R")
_Task = tuple[Future[Any], Callable[[], Any]]


class FirstFree(Executor):
    """Shares tasks among executors. They belong to the caller, who shuts them down.

    executors: how many tasks each may have at a time. Of those that are free, the first one gets a task. So the thread
    of this process works while other processes start.
    """

    def __init__(self, executors: Mapping[Executor, int]) -> None:
        self._free = dict(executors)
        self._waiting: deque[_Task] = deque()
        # Reentrant, because a task that is done at once calls _done inside _hand_out.
        self._lock = threading.RLock()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Queue a task."""
        future: Future[R] = Future()
        with self._lock:
            self._waiting.append((future, partial(fn, *args, **kwargs)))
            self._hand_out()
        return future

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
