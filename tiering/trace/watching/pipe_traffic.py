"""What workers send their parent through pipes: the kernel counts it as written, and as read, like data of files.

A worker of a DataLoader pickles its batches, and its parent reads them. What workers write that makes no page of a file
dirty, and what their parent reads, are then the same bytes, look by look. Where they mostly are, and parent and worker
share a pipe, they are taken out of both counts. A parent that reads other things all the time is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiering.system.open_files import pipes_of
from tiering.system.process_files import NO_COUNTERS, Counters
from tiering.trace.watching.source import Look
from tiering.units import format_bytes

#: B that workers must send between two looks to be compared; the share, and the B, by which what the parent reads may
#: differ: pipes hold some, and the counts of processes are taken one after another.
_LEAST, _SHARE, _APART = 1 << 20, 0.02, 1 << 17


@dataclass(slots=True)
class _Family:
    """A parent of workers. equal, other: looks at which it read what they sent, and did not. waiting: B in pipes."""

    equal: int = 0
    other: int = 0
    waiting: int = 0

    @property
    def is_sure(self) -> bool:
        return self.equal > self.other


class PipeTraffic:
    """Takes what went through pipes out of the counts of processes."""

    def __init__(self) -> None:
        self._families: dict[int, _Family] = {}
        self._left_out = 0

    def without(self, look: Look) -> Mapping[int, Counters]:
        """Return the counts of a look without what workers sent to their parents."""
        counts = dict(look.counts)
        workers: dict[int, dict[int, int]] = {}
        for pid, stat in look.tree.alive.items():
            if stat.parent in look.tree.alive and (sent := _sent(look, pid)):
                workers.setdefault(stat.parent, {})[pid] = sent
        # The counts of those that ended are their parent's now.
        bereft = {stat.parent for stat in look.tree.ended}
        self._families = {pid: family for pid, family in self._families.items() if pid in look.tree.alive}
        for parent in {*workers, *(bereft & self._families.keys())}:
            by_worker = workers.get(parent, {})
            if parent not in bereft:
                self._compare(parent, by_worker, look)
            family = self._families.get(parent)
            if family is not None and family.is_sure and parent in counts:
                if parent in bereft:
                    by_worker[parent] = _sent(look, parent)
                self._take_out(parent, family, by_worker, counts)
        return counts

    def notes(self) -> list[str]:
        """Say what was left out."""
        if not self._left_out:
            return []
        text = (
            f"{format_bytes(self._left_out)} went through pipes from workers to their parents, by the equal counts of "
            "both, and are left out of what was read and written. What a parent itself reads and writes between the "
            "looks at which workers end may be among them."
        )
        return [text]

    def _compare(self, parent: int, sent: Mapping[int, int], look: Look) -> None:
        total, read = sum(sent.values()), look.counts.get(parent, NO_COUNTERS).bytes_read
        if total < _LEAST:
            return
        family = self._families.get(parent)
        is_equal = abs(read - total) <= _SHARE * total + _APART
        if family is None and is_equal and _share_a_pipe(parent, max(sent, key=lambda pid: sent[pid])):
            family = self._families[parent] = _Family()
        if family is not None:
            family.equal += is_equal
            family.other += not is_equal

    def _take_out(self, parent: int, family: _Family, sent: Mapping[int, int], counts: dict[int, Counters]) -> None:
        total, read = sum(sent.values()) + family.waiting, counts[parent].bytes_read
        taken = min(total, read)
        family.waiting = min(total - taken, _APART * len(sent))
        self._left_out += taken
        counts[parent] = counts[parent]._replace(bytes_read=read - taken)
        for pid, size in sent.items():
            counts[pid] = counts[pid]._replace(bytes_written=max(0, counts[pid].bytes_written - size))


def _sent(look: Look, pid: int) -> int:
    """Return the B that a process wrote and that made no page of a file dirty."""
    count = look.counts.get(pid, NO_COUNTERS)
    return max(0, count.bytes_written - count.device_written)


def _share_a_pipe(reader: int, writer: int) -> bool:
    return bool(pipes_of(reader).read & pipes_of(writer).written)
