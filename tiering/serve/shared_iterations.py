"""The iterations of a dataset that the workers of a DataLoader serve, in memory that all its processes share.

The rule is that of iterations.py. A DataLoader tells only its workers that an iteration begins, each at its own time,
and it may start new workers for each iteration. So the first worker of an iteration takes the next epoch, and the
others find it in the shared memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from multiprocessing import current_process, parent_process
from typing import Any, Final

from tiering.serve.states import State
from tiering.serve.worker_state import other_worker, plain_state
from tiering.system.shared_memory import SharedDocument

#: Iterations that are remembered for workers that begin late. A worker lags by no more than the batches that a
#: DataLoader reads ahead.
_REMEMBERED: Final = 32


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker of a DataLoader.

    Attributes:
        number: Its number.
        workers: The number of workers.
        seed: The random number that the workers of one iterator share. Two iterators have the same one only if the
            program seeds PyTorch alike for both.
        nth: How many iterations this process has begun as this worker with this seed.
    """

    number: int = 0
    workers: int = 1
    seed: int = 0
    nth: int = 0

    @property
    def identity(self) -> tuple[int, int]:
        """The number of the worker and the number of workers, as saved states hold them."""
        return self.number, self.workers

    @property
    def group(self) -> list[int]:
        """The numbers by which the workers of one iteration are recognised: all of them have the same."""
        parent = parent_process()
        return [parent.pid or 0 if parent else 0, self.seed, self.nth, self.workers]

    @property
    def origin(self) -> int:
        """The number of this process among those that its parent has started, less the number of the worker.

        A DataLoader starts its workers one after the other, so they have one origin. It differs by less than the number
        of workers if threads start other processes meanwhile, and by at least that for the workers of two iterators.
        """
        found = re.search(r"\d+$", current_process().name)
        return int(found[0]) - self.number if found else 0


@dataclass(frozen=True, slots=True)
class Begun:
    """Where an iteration began.

    Attributes:
        number: The number of the iteration; -1 for the next one, which has not begun.
        epoch: Its epoch.
        state: The state with which it began; None for the start of the epoch.
        ended: Whether all its workers have served it to its end.
    """

    number: int
    epoch: int
    state: State | None
    ended: bool = False


class SharedIterations:
    """The iterations of all processes that share a dataset."""

    def __init__(self) -> None:
        # current: the number of the iteration that began last; None if the next one has been chosen since.
        self._document = SharedDocument({"count": 0, "current": None, "next": {"epoch": 0, "state": None}, "begun": []})

    def set_epoch(self, epoch: int) -> bool:
        """Let the next iteration serve an epoch, from its start unless a state of that epoch was just loaded.

        Returns:
            Whether set_epoch had chosen the same epoch for the last iteration.
        """
        with self._document.changed() as found:
            if found["next"]["epoch"] != epoch:
                found["next"] = {"epoch": epoch, "state": None}
            found["next"]["chosen"], found["current"] = True, None
            last = found["begun"][-1] if found["begun"] and found["next"]["state"] is None else {}
            return "chosen" in last and bool(last["epoch"] == epoch)

    def load(self, epoch: int, state: State) -> None:
        """Let the next iteration serve the rest of a saved epoch."""
        with self._document.changed() as found:
            found["next"], found["current"] = {"epoch": epoch, "state": state}, None

    def begin(self, worker: Worker | None, own: State | None = None) -> Begun:
        """Begin an iteration, or join one that another worker began.

        Args:
            worker: This worker; None for an iteration without workers.
            own: The state that was loaded in this worker.

        Raises:
            ValueError: For a state of another worker. Nothing begins.
        """
        me = worker or Worker()
        with self._document.changed() as found:
            at = _joined(found["begun"], me) if worker else None
            if at is None:
                if own is not None:
                    found["next"] = {"epoch": own["epoch"], "state": plain_state(own)}
                at = found["next"] | {"number": found["count"], "ended": 0, "group": me.group, "origin": me.origin}
                found["next"] = {"epoch": at["epoch"] + 1, "state": None}
                found["begun"] = [*found["begun"], at][-_REMEMBERED:]
                found["current"] = at["number"]
                found["count"] += 1
            if other := other_worker(own or at["state"], me.identity):
                raise ValueError(f"the state is of (worker, workers) {other}, but this is {me.identity}")
            if own and own["epoch"] != at["epoch"]:
                raise ValueError(f"the state is of epoch {own['epoch']}, but this is in epoch {at['epoch']}")
        return Begun(at["number"], at["epoch"], at["state"])

    def end(self, number: int) -> None:
        """Note that one worker has reached the end of an iteration."""
        with self._document.changed() as found:
            for each in found["begun"]:
                each["ended"] += each["number"] == number

    def current(self) -> Begun:
        """Return the iteration that began last; the next one if it has been chosen since."""
        found = self._document.read()
        for each in found["begun"]:
            if each["number"] == found["current"]:
                return Begun(each["number"], each["epoch"], each["state"], each["ended"] >= each["group"][-1])
        return self.next()

    def next(self) -> Begun:
        """Return where the next iteration will begin."""
        found = self._document.read()["next"]
        return Begun(-1, found["epoch"], found["state"])


def _joined(begun: list[dict[str, Any]], worker: Worker) -> dict[str, Any] | None:
    """Return the iteration that a worker belongs to, if another one has begun it."""
    group, origin = worker.group, worker.origin
    found = (each for each in reversed(begun) if each["group"] == group)
    return next((each for each in found if abs(each["origin"] - origin) < worker.workers), None)
