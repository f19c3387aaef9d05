"""Which processes of a job load, which takes the batches, and which do neither."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tiering.trace.waiting import Role

#: A worker reads at least at this share of the rate of the child of its parent that reads most.
_ALIKE: Final = 0.02
#: Below all three, a process only waits for its children: processors that it keeps busy, the share of its time that it
#: waits for storage, and calls of read and write a second.
_IDLE_CORES: Final = 0.02
_IDLE_DISK: Final = 0.1
_IDLE_CALLS: Final = 0.5
#: torch.utils.data names its workers.
_NAMED_WORKER: Final = "pt_data_worker"
_NAMED_MAIN: Final = "pt_main_thread"


@dataclass(frozen=True, slots=True)
class Member:
    """A process of a job, with its sums since it was first seen.

    seconds, processor, disk: s alive, on a processor, and waiting for storage. calls: of read and write. bytes_read: B.
    """

    pid: int
    parent: int
    command: str
    seconds: float
    processor: float
    disk: float
    calls: int
    bytes_read: int

    @property
    def rate(self) -> float:
        """B read each s."""
        return self.bytes_read / self.seconds if self.seconds else 0.0

    @property
    def is_idle(self) -> bool:
        """Whether it does little but wait."""
        used = self.processor < _IDLE_CORES * self.seconds and self.disk < _IDLE_DISK * self.seconds
        return used and self.calls < _IDLE_CALLS * self.seconds


def roles(members: Sequence[Member]) -> Mapping[int, Role]:
    """Return the role of each process, by its pid.

    Children of one process that run the same program, read, and have no such children themselves are its workers. If
    their parent only waits, it is a server that starts processes (multiprocessing's forkserver), and they work for its
    parent; without such a parent it is a launcher, and each of them trains by itself.
    """
    by_pid = {each.pid: each for each in members}
    readers = defaultdict[int, list[Member]](list)
    for each in members:
        parent = by_pid.get(each.parent)
        if parent is not None and each.bytes_read and _is_same_program(parent, each):
            readers[parent.pid].append(each)
    found: dict[int, Role] = {}
    for parent_pid, children in readers.items():
        consumer = _consumer(by_pid[parent_pid], by_pid)
        leaves = [each for each in children if each.pid not in readers]
        most = max((each.rate for each in leaves), default=0.0)
        workers = [each for each in leaves if each.rate >= _ALIKE * most]
        if consumer is None or not workers:
            continue
        found |= {each.pid: "worker" for each in workers}
        found[consumer.pid] = "consumer"
    for each in members:
        found.setdefault(each.pid, "other" if each.is_idle else "single")
    return found


def _is_same_program(parent: Member, child: Member) -> bool:
    names = {_NAMED_WORKER, _NAMED_MAIN}
    return child.command.startswith(_NAMED_WORKER) or parent.command == child.command or parent.command in names


def _consumer(parent: Member, by_pid: Mapping[int, Member]) -> Member | None:
    """Return the process for which the children of a process work; None if they work for themselves."""
    if not parent.is_idle:
        return parent
    above = by_pid.get(parent.parent)
    return above if above is not None and _is_same_program(above, parent) and not above.is_idle else None
