"""The further keys in the state of one worker of a DataLoader."""

from __future__ import annotations

import reprlib
from typing import Final

from tiering.serve.states import State, refused, stated

#: Its number and the number of workers, and the batches that it has handed out.
WORKER: Final = "worker"
SERVED: Final = "served"


def worker_of(state: State, batches: int) -> tuple[tuple[int, int] | None, int]:
    """Return (worker, workers) of a state, or None if it is not a worker's, and the batches that it had handed out."""
    worker = state.get(WORKER)
    if worker is None:
        return None, 0
    if not isinstance(worker, list | tuple) or len(worker) != 2:
        raise refused(f"{WORKER} with the number of a worker and the number of workers", reprlib.repr(worker))
    workers = stated({WORKER: worker[1]}, WORKER, 1)
    number = stated({WORKER: worker[0]}, WORKER, 0, workers - 1)
    return (number, workers), stated(state, SERVED, 0, batches)


def plain_state(state: State) -> State:
    """Return where all workers began: a state without the keys of one worker."""
    return {name: value for name, value in state.items() if name not in (WORKER, SERVED)}


def other_worker(state: State | None, worker: tuple[int, int]) -> tuple[int, int] | None:
    """Return (worker, workers) of a state if it is that of another worker."""
    found = tuple(state[WORKER]) if state and WORKER in state else None
    return None if found in (None, worker) else found
