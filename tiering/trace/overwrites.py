"""Track what each job has read of files since it was written: overwritten bytes are new to a reader.

Within a batch, files are cut wherever an access begins or ends, so that every access covers whole pieces. For each
piece, the number of earlier writes is its version. A read is a repeat if the same group has read the same version of
the piece.

Example: job 1 reads [0, 8), [0, 4) is written, job 1 reads [0, 8) again. The cuts are 0, 4, 8. Piece [0, 4) is read at
versions 0 and 1: new both times. Piece [4, 8) is read twice at version 0: the second is a repeat. New bytes: 8 + 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiering.trace.hash_share import HashShare
from tiering.trace.intervals import MOST, Ranges, Spans, chosen, chosen_rows, joined, length, over_groups, union

#: How many accesses wait at least before they are processed together; how many pieces are processed together; and
#: beyond how many pieces per access, on average, the accesses of a file are processed one by one.
_FEWEST, _SLICE, _DEEP = 1 << 17, 1 << 21, 2
#: Represents all process groups.
_ANYBODY = -1 << 31
#: B; the end of a file that is replaced as a whole.
WHOLE = 1 << 62


class Accesses(NamedTuple):
    """Reads and writes in order: bytes [start, end) of a file by a process group; one row per access."""

    file: NDArray[np.uint64]
    group: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    writes: NDArray[np.bool_]

    def at(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Accesses:
        """Return some of the accesses."""
        return Accesses(self.file[rows], self.group[rows], self.start[rows], self.end[rows], self.writes[rows])

    def ranges(self) -> Ranges:
        """Return the bytes they move, without the order."""
        return Ranges(self.file, self.group, self.start, self.end)


class ReadHistory:
    """The bytes that each group has read since they were last written, while a trace is read.

    Accesses wait until they are as many as the ranges so far, so that each takes part in O(log n) sorts. Files that are
    only read cost nothing else. Memory is that of the disjoint ranges. Beyond two million, a share of all parts of
    files is kept, chosen by a hash of the position, and bytes are estimated (tiering.trace.intervals).
    """

    def __init__(self) -> None:
        self._current = self._past = _ranges([])
        self._gone_by_group = self._gone = 0.0
        self._waiting: list[Accesses] = []
        self._rows = 0
        self._share = HashShare()

    @property
    def rate(self) -> float:
        """The share of the parts of files that are kept, in (0, 1]."""
        return self._share.rate

    def add(self, accesses: Accesses) -> None:
        """Add accesses in order. The time of processing depends on their number, not on the size of the batches."""
        while len(accesses.file):
            free = max(_FEWEST, len(self._current.file)) - self._rows
            self._waiting.append(accesses.at(slice(0, free)))
            self._rows += len(self._waiting[-1].file)
            accesses = accesses.at(slice(free, None))
            if self._rows >= max(_FEWEST, len(self._current.file)):
                self._look()

    def first_reads(self) -> int:
        """Return the bytes that were new to the group that read them."""
        self._look()
        return round(length(self._current) / self.rate + self._gone_by_group)

    def new_content(self) -> int:
        """Return the bytes that no group had read before."""
        self._look()
        return round(length(over_groups(self._current)) / self.rate + self._gone)

    def ranges_read(self) -> Ranges:
        """Return the ranges that any group read, in any version, as group 0."""
        self._look()
        return over_groups(joined(self._current, self._past))

    def _look(self) -> None:
        if not self._waiting:
            return
        rows = Accesses(*(np.concatenate(columns) for columns in zip(*self._waiting, strict=True)))
        self._waiting, self._rows = [], 0
        if self.rate < 1:
            rows = _sampled(rows, self._share)
        current, fresh, replayed = self._current, rows, rows.at(slice(0, 0)).ranges()
        if rows.writes.any():
            written = np.unique(rows.file[rows.writes])
            both = written[np.isin(written, rows.file[~rows.writes]) | np.isin(written, current.file)]
            contended, held = np.isin(rows.file, both), np.isin(current.file, both)
            replayed = self._replayed(current.at(held), rows.at(contended))
            current, fresh = current.at(~held), rows.at(~contended & ~rows.writes)
        self._current = union(joined(current, fresh.ranges(), replayed))
        while len(self._current.file) + len(self._past.file) > MOST and self._share.halve():
            self._current, self._past = (chosen(each, self._share) for each in (self._current, self._past))

    def _replayed(self, current: Ranges, rows: Accesses) -> Ranges:
        """Process accesses of files that are both read and written, in order.

        Returns the ranges that were read and not overwritten since.
        """
        rows = rows.at(rows.end > rows.start)
        if not len(rows.file):
            return current
        before = Accesses(*current, np.zeros(len(current.file), np.bool_))
        every = Accesses(*(np.concatenate(columns) for columns in zip(*[before, rows], strict=True)))
        file, position, first, count = _cut(every)
        if int(count.sum()) > _SLICE and len(deep := _deep(every.file, count)):
            held, taken = np.isin(current.file, deep), np.isin(rows.file, deep)
            rest = self._replayed(current.at(~held), rows.at(~taken))
            return joined(rest, self._one_by_one(current.at(held), rows.at(taken)))
        # One row per piece of each access, sorted by piece, and in order within a piece.
        row = np.repeat(np.arange(len(count)), count)
        piece = first[row] + np.arange(len(row)) - (np.cumsum(count) - count)[row]
        order = np.argsort(piece, kind="stable")
        piece, row = piece[order], row[order]
        written = np.cumsum(every.writes[row])
        begins = np.flatnonzero(np.append(True, piece[1:] != piece[:-1])[: len(piece)])
        of = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(piece))))
        # How often a piece had been written: the version that is read, and the final one.
        version: NDArray[np.int64] = written - (written - every.writes[row])[begins][of]
        last: NDArray[np.int64] = version[np.append(begins[1:], len(piece)) - 1][of]
        read = ~every.writes[row]
        piece, version, last, group = piece[read], version[read], last[read], every.group[row[read]]
        if len(group) and (group != group[0]).any():
            # Versions only grow within a piece, so the reads of a single job would be in order already.
            order = np.lexsort((group, version, piece))
            piece, version, last, group = piece[order], version[order], last[order], group[order]
        other = (piece[1:] != piece[:-1]) | (version[1:] != version[:-1])
        new_version = np.append(True, other)[: len(piece)]
        new = np.append(True, other | (group[1:] != group[:-1]))[: len(piece)]
        size = position[piece + 1] - position[piece]
        gone: NDArray[np.bool_] = version < last
        self._gone_by_group += int(size[new & gone].sum()) / self.rate
        self._gone += int(size[new_version & gone].sum()) / self.rate
        past, stays = piece[new_version & gone], new & ~gone
        zero = np.zeros(len(past), np.int32)
        self._past = union(joined(self._past, Ranges(file[past], zero, position[past], position[past + 1])))
        kept = piece[stays]
        return Ranges(file[kept], group[stays], position[kept], position[kept + 1])

    def _one_by_one(self, current: Ranges, rows: Accesses) -> Ranges:
        """Do the same as _replayed, one access at a time. Each costs about 5 us, however many pieces it covers."""
        seen: dict[int, dict[int, Spans]] = {}
        for file, group, start, end in zip(*(column.tolist() for column in current), strict=True):
            _spans(seen, file, group).add(start, end)
            _spans(seen, file, _ANYBODY).add(start, end)
        past: list[tuple[int, int, int, int]] = []
        for file, group, start, end, writes in zip(*(column.tolist() for column in rows), strict=True):
            if not writes:
                _spans(seen, file, group).add(start, end)
                _spans(seen, file, _ANYBODY).add(start, end)
                continue
            for reader, spans in seen.get(file, {}).items():
                gone = spans.cut(start, end)
                size = sum(last - begin for begin, last in gone) / self.rate
                if reader == _ANYBODY:
                    self._gone += size
                    past += [(file, 0, begin, last) for begin, last in gone]
                else:
                    self._gone_by_group += size
        self._past = union(joined(self._past, _ranges(past)))
        return _ranges(
            [
                (file, group, begin, last)
                for file, groups in seen.items()
                for group, spans in groups.items()
                if group != _ANYBODY
                for begin, last in spans
            ]
        )


def _deep(file: NDArray[np.uint64], pieces: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Return the files whose accesses cover several pieces each. By pieces, n such accesses may cost n * n."""
    names, of, accesses = np.unique(file, return_inverse=True, return_counts=True)
    return np.asarray(names[np.bincount(of, weights=pieces) > _DEEP * accesses])


def _spans(seen: dict[int, dict[int, Spans]], file: int, group: int) -> Spans:
    return seen.setdefault(file, {}).setdefault(group, Spans())


def _ranges(rows: list[tuple[int, int, int, int]]) -> Ranges:
    kinds = (np.uint64, np.int32, np.int64, np.int64)
    columns = zip(*rows, strict=True) if rows else ((),) * len(kinds)
    return Ranges(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))


def _sampled(rows: Accesses, share: HashShare) -> Accesses:
    """Cut reads at the bounds of parts, and keep those in the sample. Writes are kept, as others have no effect."""
    writes = np.flatnonzero(rows.writes)
    reads = np.flatnonzero(~rows.writes)
    row, cut = chosen_rows(rows.at(reads).ranges(), share)
    both = joined(cut, rows.at(writes).ranges())
    order = np.argsort(np.concatenate([reads[row], writes]), kind="stable")
    return Accesses(*both, np.arange(len(both.file)) >= len(row)).at(order)


def _cut(rows: Accesses) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.intp], NDArray[np.intp]]:
    """Cut files where any access begins or ends.

    Returns file and position of each cut, in order; and for each access, the cut where it begins and the number of
    pieces that it covers.
    """
    file, position = np.tile(rows.file, 2), np.concatenate([rows.start, rows.end])
    names = np.unique(file)
    most = int(position.max()) + 1
    if most * len(names) < WHOLE:
        # One key sorts in a third of the time of two.
        order = np.argsort(np.searchsorted(names, file) * most + position)
    else:
        order = np.lexsort((position, file))
    file, position = file[order], position[order]
    new = np.append(True, (file[1:] != file[:-1]) | (position[1:] != position[:-1]))
    cut = np.empty(len(order), np.intp)
    cut[order] = np.cumsum(new) - 1
    begin, end = np.split(cut, 2)
    return file[new], position[new], begin, end - begin
