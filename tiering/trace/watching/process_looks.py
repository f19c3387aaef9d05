"""What each process of a job did between two looks, by counters and by samples of its threads' states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tiering.system.process_files import NO_COUNTERS, Counters, Stat, counters_of, ignores_children, queued_of
from tiering.system.process_tree import TreeLook
from tiering.system.thread_states import Moment, State, ThreadStates
from tiering.trace.watching.observation import ProcessLook

#: Most threads of a process that one sample looks at; the means are of these.
_THREADS = 64


@dataclass(slots=True)
class _Followed:
    """A process and what was known of it at the look before.

    total: its counts so far, those of its ended children included; None if they may not be read. owed: counts of
    ended children, which were seen already and which it has taken over, or will.
    """

    stat: Stat
    total: Counters | None
    owed: Counters = NO_COUNTERS
    queued: float = 0.0
    samples: int = 0
    threads: dict[State, float] = field(default_factory=dict)
    main: Counter[State] = field(default_factory=Counter)
    opening: int | None = None


class ProcessLooks:
    """Follows the counters of processes. A process that was there from the start begins at its first look."""

    def __init__(self) -> None:
        self._followed: dict[int, _Followed] = {}
        self._states = ThreadStates()
        self._is_first = True
        #: Processes whose counts may not be read, by number.
        self.hidden: set[int] = set()

    @property
    def tells_waits(self) -> bool | None:
        """Whether it could be told what sleeping threads wait for; None if none slept."""
        return self._states.tells_waits

    def sample(self) -> None:
        """Look at what the threads of each process do."""
        for pid, process in self._followed.items():
            moments = self._states.of(pid, _THREADS)
            if not moments:
                continue
            process.samples += 1
            process.main[moments[0].state] += 1
            scale = process.stat.threads / len(moments) if len(moments) == _THREADS else 1.0
            for moment in moments:
                process.threads[moment.state] = process.threads.get(moment.state, 0.0) + scale
            _count_opening(process, moments)

    def look(self, tree: TreeLook, seconds: float) -> tuple[tuple[ProcessLook, ...], Mapping[int, Counters]]:
        """Return what the processes did in the last `seconds` s, the first of the tree first, and their counts."""
        gone = {stat.pid: stat for stat in tree.ended}
        found, counts = [], dict[int, Counters]()
        for stat in tree.came:
            if stat.pid in self._followed:
                # The number of a process that ended was given away at once.
                self._hand_over(self._followed.pop(stat.pid))
                gone.pop(stat.pid, None)
            self._followed[stat.pid] = self._begun(stat)
        self._is_first = False
        # Children before their parents: what a parent has taken over of a child that ends meanwhile is then known.
        for pid, process in reversed(self._followed.items()):
            stat = gone.get(pid) or tree.alive.get(pid, process.stat)
            # Of a process that has ended, the counts are there until its parent asks for its status.
            total = self._total(pid) if pid not in gone else self._last_total(stat)
            if total is None and pid not in self.hidden:
                gone.setdefault(pid, stat)
            did = self._since(process, total)
            if did is not None:
                counts[pid] = did
            found.append(_looked(process, stat, did, 0.0 if pid in gone else queued_of(pid), seconds))
            if pid in gone:
                self._hand_over(process)
            process.stat, process.samples, process.opening = stat, 0, None
            process.threads, process.main = {}, Counter()
        for pid in gone:
            self._followed.pop(pid, None)
        return tuple(reversed(found)), counts

    def _begun(self, stat: Stat) -> _Followed:
        """Begin with what a process has done so far, if it was there first, or with nothing."""
        if self._is_first:
            return _Followed(stat, self._total(stat.pid), queued=queued_of(stat.pid))
        return _Followed(stat._replace(user=0.0, system=0.0, minor_faults=0, major_faults=0), NO_COUNTERS)

    def _total(self, pid: int) -> Counters | None:
        try:
            return counters_of(pid)
        except OSError:
            self.hidden.add(pid)
            return None

    @staticmethod
    def _last_total(stat: Stat) -> Counters | None:
        """Return the counts of a process that has ended, while they may be read: as root, until it is waited for."""
        try:
            return counters_of(stat.pid) if stat.is_ended else None
        except OSError:
            return None

    @staticmethod
    def _since(process: _Followed, total: Counters | None) -> Counters | None:
        """Return what a process itself did since the look before, and remember its total."""
        if total is None or process.total is None:
            return None
        grown = total.minus(process.total)
        did = grown.minus(process.owed)
        process.owed = process.owed.minus(grown)
        process.total = total
        return did

    def _hand_over(self, child: _Followed) -> None:
        """Note that the parent of an ended process takes over its counts."""
        parent = self._followed.get(child.stat.parent)
        if parent is not None and child.total is not None and not ignores_children(child.stat.parent):
            parent.owed = parent.owed.plus(child.total).plus(child.owed)


def _count_opening(process: _Followed, moments: list[Moment]) -> None:
    waiting = [moment.opening for moment in moments if moment.state == "disk"]
    if None in waiting:
        return
    process.opening = (process.opening or 0) + sum(map(bool, waiting))


def _looked(process: _Followed, stat: Stat, did: Counters | None, queued: float, seconds: float) -> ProcessLook:
    before, samples = process.stat, max(1, process.samples)
    waited = max(0.0, queued - process.queued)
    process.queued = queued
    counts = did or NO_COUNTERS
    return ProcessLook(
        pid=stat.pid,
        started=stat.started,
        parent=stat.parent,
        command=stat.command,
        seconds=seconds,
        processor=max(0.0, stat.user + stat.system - before.user - before.system),
        queued=waited,
        kernel=max(0.0, stat.system - before.system),
        samples=process.samples,
        threads={state: count / samples for state, count in process.threads.items()},
        main={state: count / samples for state, count in process.main.items()},
        opening=None if process.opening is None else process.opening / samples,
        bytes_read=counts.bytes_read,
        bytes_written=counts.bytes_written,
        reads=counts.reads,
        writes=counts.writes,
        device_read=None if did is None else did.device_read,
        device_written=None if did is None else did.device_written,
        major_faults=max(0, stat.major_faults - before.major_faults),
        minor_faults=max(0, stat.minor_faults - before.minor_faults),
        resident=stat.resident,
    )
