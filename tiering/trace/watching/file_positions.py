"""Where processes read and write on and on in files that stay open, from the positions of their descriptors."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import polars as pl

from tiering.system.open_files import OpenFile, open_files
from tiering.system.process_files import NO_COUNTERS, Identity
from tiering.trace.events import EVENT_SCHEMA, UNPLACED
from tiering.trace.watching.data_files import DataFiles, identity
from tiering.trace.watching.observation import SourceUse
from tiering.trace.watching.source import NO_EVENTS, KeptByKernel, Look, moved_bytes

#: The share of one core that listing open files may take.
_SHARE = 0.005
#: The share, and the B, by which positions may be ahead of the counts of bytes, which are taken a little earlier.
_SLACK, _AHEAD = 0.25, 1 << 20
#: Listings of a process after which its only file is taken for what it reads.
_SURE = 3


@dataclass(slots=True)
class _Known:
    """The open files of a process: the last position of each descriptor, and the first two paths that it could read."""

    positions: dict[tuple[int, str], int]
    paths: set[str]
    listings: int = 0


class _Move(NamedTuple):
    """A position that moved on, from `offset` by `size` B."""

    op: str
    descriptor: int
    path: str
    offset: int
    size: int


class FilePositions(KeptByKernel):
    """Turns moves of positions into reads and writes, where they do not exceed what the process read and wrote."""

    counted = True

    def __init__(self, files: DataFiles) -> None:
        self._files = files
        self._known: dict[Identity, _Known] = {}
        self._due = self._cost = 0.0
        #: The data files that are open, at the last listing.
        self.paths: set[str] = set()

    def use(self) -> SourceUse:
        """Return what positions show."""
        return SourceUse(
            "positions of open files",
            used=True,
            shows="which data files stay open, and how far they are read or written on and on",
            lacks="files that are open for less than the time between two looks, and reads by pread",
        )

    def take(self, look: Look) -> pl.DataFrame:
        """Return the reads and writes that moved positions, and the reads of processes that have a single file."""
        if time.monotonic() < self._due:
            return NO_EVENTS
        begin = time.thread_time()
        self.paths = set()
        rows: list[tuple[object, ...]] = []
        explained = moved_bytes(look.events)
        for pid, stat in look.tree.alive.items():
            count = look.counts.get(pid, NO_COUNTERS)
            left = {
                "read": count.bytes_read - explained.get((pid, "read"), 0),
                "write": count.bytes_written - explained.get((pid, "write"), 0),
            }
            rows += [
                (look.time, op, identity(path), offset, size, pid, look.job, None, path, flags)
                for op, path, offset, size, flags in self._moved(stat.identity, left)
            ]
        living = {stat.identity for stat in look.tree.alive.values()}
        self._known = {process: known for process, known in self._known.items() if process in living}
        self._due = time.monotonic() + (time.thread_time() - begin) / _SHARE
        return pl.DataFrame(rows, EVENT_SCHEMA, orient="row") if rows else NO_EVENTS

    def _moved(self, process: Identity, left: dict[str, int]) -> list[tuple[str, str, int | None, int, str | None]]:
        """Return operation, path, offset, size and flags of what a process did. left: B that it read and wrote."""
        files = open_files(process.pid, self._files.is_data)
        known = self._known.get(process)
        if known is None:
            known = self._known[process] = _Known({}, set())
            moves: list[_Move] = []
        else:
            moves = [move for file in files if (move := _move(file, known, left)) is not None]
        known.listings += 1
        known.positions = {(file.descriptor, file.path): file.position for file in files}
        if len(known.paths) < 2:
            known.paths.update(islice({file.path for file in files if file.is_read} - known.paths, 2))
        self.paths |= {file.path for file in files}
        found: list[tuple[str, str, int | None, int, str | None]] = []
        for op in ("read", "write"):
            mine = [move for move in moves if move.op == op]
            # Positions that moved much further than the process read were set: it is not known where it read. A little
            # further is what it read since its counts were taken, which waits for the next look.
            if sum(move.size for move in mine) > left[op] * (1 + _SLACK) + _AHEAD:
                continue
            for move in mine:
                size = min(move.size, left[op])
                known.positions[move.descriptor, move.path] -= move.size - size
                left[op] -= size
                if size > 0:
                    found.append((op, move.path, move.offset, size, None))
        if left["read"] > 0 and known.listings > _SURE and len(known.paths) == 1 and not found:
            (path,) = known.paths
            # With a dataset, files that are open for a moment are rather its own than another one that stays open.
            if not self._files.has_dataset or self._files.is_of_dataset(path):
                found.append(("read", path, None, left["read"], UNPLACED))
        return found


def _move(file: OpenFile, known: _Known, left: dict[str, int]) -> _Move | None:
    """Return how a position moved on, or None."""
    before = known.positions.get((file.descriptor, file.path), 0)
    size = file.position - before
    if size <= 0:
        return None
    is_read = file.is_read and (not file.is_written or left["read"] >= left["write"])
    return _Move("read" if is_read else "write", file.descriptor, file.path, before, size)
