"""The processes of a job: a process and all its descendants, as they come and go.

A process is known by its number and its start together, so that a number that is given away again is never followed.
A process that is once in the tree stays in it, also when its parent ends and another process adopts it. One look costs
a list of /proc, and reads the `stat` of processes that are in the tree or new since the look before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tiering.system.process_files import TICKS, Identity, Stat, process_numbers, stat_of

#: s by which two records of the start of one process may differ. Its number is not given away again that soon.
_APART: Final = 0.5


class TreeLook(NamedTuple):
    """The processes of a tree at one look: those alive, by number, parents first; that came; and that ended.

    A process that came and ended between two looks is in none of them.
    """

    alive: dict[int, Stat]
    came: tuple[Stat, ...]
    ended: tuple[Stat, ...]


class ProcessTree:
    """Follows processes and their descendants. `roots` must be alive when it is made; see `look`."""

    def __init__(self, roots: Sequence[Identity]) -> None:
        self._members: dict[int, Stat] = {}
        self._others: dict[int, None] = {}
        self._roots = dict.fromkeys(roots)
        #: Process groups whose leader was in the tree. Their later members belong to it even if their parent is gone.
        #: The number of a group without members may be given away again.
        self._groups: set[int] = set()
        self._outside = {stat.parent for root in roots if (stat := stat_of(root.pid)) is not None}
        self._is_first = True
        self._adopted: dict[int, float] = {}

    def adopt(self, pid: int, begun: float) -> None:
        """Name a process that a member started, whoever its parent is at the next look. begun: s since boot."""
        self._adopted[pid] = begun

    def look(self) -> TreeLook:
        """Find the processes that are there now."""
        listed = process_numbers()
        present, stats = set(listed), dict[int, Stat]()
        for pid in listed:
            if pid not in self._others and (stat := stat_of(pid)) is not None:
                stats[pid] = stat
        alive = {pid: stats[pid] for pid, member in self._members.items() if self._is_same(stats.get(pid), member)}
        ended = tuple(self._last(stats.get(pid), member) for pid, member in self._members.items() if pid not in alive)
        came = self._found(stats, alive)
        self._members = alive
        self._groups |= {pid for pid, stat in alive.items() if stat.group == pid}
        self._groups &= {stat.group for stat in alive.values()}
        self._others = {pid: None for pid in self._others if pid in present}
        self._others |= {pid: None for pid in stats if pid not in alive}
        self._is_first = False
        self._adopted = {}
        return TreeLook(dict(alive), came, ended)

    @staticmethod
    def _is_same(now: Stat | None, before: Stat) -> bool:
        return now is not None and now.started == before.started and not now.is_ended

    @staticmethod
    def _last(now: Stat | None, before: Stat) -> Stat:
        """Return the last figures of a process that has ended: those that its parent may still ask for, if any."""
        return now if now is not None and now.started == before.started else before

    def _found(self, stats: dict[int, Stat], alive: dict[int, Stat]) -> tuple[Stat, ...]:
        """Add the roots, and processes whose parent is in the tree, generation by generation."""
        came: list[Stat] = []
        waiting = {pid: stat for pid, stat in stats.items() if pid not in alive and not stat.is_ended}
        while True:
            fresh = [stat for stat in waiting.values() if self._belongs(stat, alive)]
            if not fresh:
                return tuple(came)
            for stat in fresh:
                alive[stat.pid] = stat
                came.append(stat)
                del waiting[stat.pid]

    def _belongs(self, stat: Stat, alive: dict[int, Stat]) -> bool:
        if stat.identity in self._roots:
            return True
        if (begun := self._adopted.get(stat.pid)) is not None and abs(stat.started / TICKS - begun) < _APART:
            return True
        if (parent := alive.get(stat.parent)) is not None:
            # A number that was given away again may look like the parent of processes that are older than itself.
            return parent.started <= stat.started
        # Its parent ended between two looks, and its process group still says whose it was.
        return not self._is_first and stat.group in self._groups and stat.parent not in self._outside
