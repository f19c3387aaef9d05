"""Reads of mapped files that stay in memory and cause no page fault any more, by the accessed bits of their pages.

A look reads the bits and clears them, so it shows what was used since the look before, each page once. That much is
counted. Where it is over half of a file, or where a bit stands for 2 MiB, some of it was perhaps used several times:
there the bits are read once more after some milliseconds, in which hardly anything is used twice, and what the job
would have read at that speed since the look before is stated as perhaps read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import NamedTuple

import polars as pl

from tiering.system.accessed_bits import clear_accessed, used_maps
from tiering.system.process_files import TICKS
from tiering.trace.events import EVENT_SCHEMA, UNPLACED
from tiering.trace.watching.data_files import DataFiles, identity
from tiering.trace.watching.observation import SourceUse
from tiering.trace.watching.source import NO_EVENTS, KeptByKernel, Look

#: The share of one core that reading and clearing the bits may take, and s to the look that is the first to count.
_SHARE, _SECOND = 0.006, 2.0
#: If more than this share of a file was used between two looks, some of it was perhaps used twice.
_FULL = 0.5
#: s of a short look at most and at least, and the share of a file that is used in a good one at the most.
_LONGEST, _SHORTEST = 0.05, 0.002
_MUCH = 0.2
#: B a second that a process reads from memory at the most: what two threads do that only add up.
_FASTEST = 4e10
#: In place of a path, for all files of a process whose bits were cleared and not read since.
_UNREAD = ""

#: A mapped file of a process: its number, and the path.
Key = tuple[int, str]
#: Takes the B that page faults showed of a file since the last call, by process and file: counted, and at the most.
TakeFaults = Callable[[], dict[tuple[int, int], tuple[int, int]]]


class _Use(NamedTuple):
    """B of a file that a process used: all, and those in pieces of 2 MiB; B in its memory; and in which time.

    shortest, longest: s. A process runs on while its bits are read and cleared.
    """

    size: int
    huge: int
    resident: int
    shortest: float
    longest: float

    @property
    def rate(self) -> float:
        """B a second at the most, if nothing was used twice."""
        return self.size / self.shortest


_NONE = _Use(0, 0, 0, 1.0, 1.0)


class WarmMaps(KeptByKernel):
    """Counts the bytes of mapped files that were used between two looks."""

    counted = False

    def __init__(self, files: DataFiles, faults: TakeFaults) -> None:
        """Begin. faults: what page faults show already, which is not counted again."""
        self._files, self._faults = files, faults
        #: When the bits of each process were read and cleared: from and to, in s of the monotonic clock.
        self._cleared: dict[int, tuple[float, float]] = {}
        #: Clock ticks since boot: the bits of what started later say what it used since the watching began.
        self._begun = time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS
        #: Every process whose bits were read after they were cleared.
        self.covered: set[int] = set()
        #: B that page faults may still explain, as the last of them are reported later.
        self._open: dict[Key, int] = {}
        #: B a second at the most: by the last look, and of a file by any short look.
        self._rates: dict[Key, float] = {}
        self._fastest: dict[str, float] = {}
        self._seconds = _LONGEST
        self._due = self._now = 0.0
        #: Processes that ended before their bits were read a second time.
        self._once = 0
        self._looks = self._full = self._huge = 0
        self._refused = ""
        self._unsure = 0.0

    def use(self) -> SourceUse:
        """Return what accessed bits show."""
        return SourceUse(
            "accessed bits",
            used=not self._refused,
            shows="how much of the mapped files was used between two looks, also of what stays in memory",
            lacks="which pages, in which order, and what was used twice between two looks",
            reason=self._refused,
        )

    @property
    def unsure(self) -> int:
        """B that may have been used beyond those that were counted."""
        return int(self._unsure + sum(self._open.values()) + sum(self._since(key) for key in self._rates))

    def _since(self, key: Key) -> float:
        """Return the B that a process used of a file after the last look, if it went on as before."""
        return self._rates[key] * max(0.0, self._now - self._cleared[key[0]][0])

    def take(self, look: Look) -> pl.DataFrame:
        """Return the bytes of mapped files that were used, at unknown places, a row for each process and file."""
        self._now = time.monotonic()
        rows = [_row(look, key, size) for key, size in self._forgotten(look.tree.alive)]
        if self._now >= self._due:
            rows += self._new(look)
        return pl.DataFrame(rows, EVENT_SCHEMA, orient="row") if rows else NO_EVENTS

    def _forgotten(self, alive: Collection[int]) -> list[tuple[Key, int]]:
        """Forget the processes that have ended, and return what is counted of them."""
        ended = self._cleared.keys() - alive
        if not ended:
            return []
        # What they used after their last look is not known.
        self._unsure += sum(self._since(key) for key in self._rates if key[0] in ended)
        self._once += sum((pid, _UNREAD) in self._rates for pid in ended)
        self._rates = {key: rate for key, rate in self._rates.items() if key[0] not in ended}
        self._cleared = {pid: at for pid, at in self._cleared.items() if pid not in ended}
        return [(key, self._open.pop(key)) for key in list(self._open) if key[0] in ended]

    def _new(self, look: Look) -> list[tuple[object, ...]]:
        """Look at the bits, and return rows."""
        begin = time.thread_time()
        shown = self._faults()
        before, self._open, self._rates = self._open, {}, {}
        found = {key: use for pid in look.tree.alive for key, use in self._used(pid, look).items()}
        full = {key for key, use in found.items() if self._is_full(key, use)}
        short = self._short_look(full, look)
        rows = []
        self._fastest = {path: self._fastest[path] for _, path in found if path in self._fastest}
        for key, use in found.items():
            left = self._left(key, use, short.get(key), shown.get((key[0], identity(key[1])), (0, 0)))
            if left > 0:
                self._open[key] = left
            if (sure := before.pop(key, 0) + min(0, left)) > 0:
                rows.append(_row(look, key, sure))
        rows += [_row(look, key, size) for key, size in before.items()]
        self._looks, self._full = self._looks + len(found), self._full + len(full)
        self._huge += sum(use.huge > 0 for use in found.values())
        self._now = time.monotonic()
        pause = (time.thread_time() - begin) / _SHARE
        self._due = self._now + (pause if self._looks else min(pause, _SECOND))
        return rows

    def _used(self, pid: int, look: Look) -> dict[Key, _Use]:
        """Return what a process used of each data file since its bits were cleared, and clear them again."""
        begin = time.monotonic()
        try:
            maps = used_maps(pid, self._files.is_data)
            read = time.monotonic()
            if maps:
                clear_accessed(pid)
        except OSError as error:
            self._refused = f"{error.strerror} for process {pid}"
            return {}
        before, self._cleared[pid] = self._cleared.get(pid), (read, time.monotonic())
        if not maps:
            return {}
        if before is None:
            started = look.tree.alive[pid].started
            if started < self._begun:
                # The bits say what was used at any time before. What it uses from now on is not known until they are
                # read again.
                self._rates[pid, _UNREAD] = _FASTEST
                return {}
            before = (read - (time.clock_gettime(time.CLOCK_BOOTTIME) - started / TICKS),) * 2
        shortest, longest = max(_SHORTEST, begin - before[1]), max(_SHORTEST, read - before[0])
        self.covered.add(pid)
        found: dict[Key, _Use] = {}
        for each in maps:
            size, huge, resident, *_ = found.get((pid, each.path), _NONE)
            huge += min(each.used, each.huge)
            found[pid, each.path] = _Use(size + each.used, huge, resident + each.resident, shortest, longest)
        return found

    def _is_full(self, key: Key, use: _Use) -> bool:
        """Return whether some of what was used was perhaps used twice."""
        return use.huge > 0 or use.size > _FULL * self._whole(key, use)

    def _whole(self, key: Key, use: _Use) -> int:
        # A process that has just mapped a file has only what it used in memory: the whole file is the measure.
        return self._files.size(key[1], key[0]) or use.resident

    def _short_look(self, full: Collection[Key], look: Look) -> dict[Key, _Use]:
        """Look again after a moment, at the processes that used much."""
        if not full:
            return {}
        pids = {pid for pid, _ in full}
        total: dict[Key, _Use] = {}
        while True:
            time.sleep(self._seconds)
            found = {key: use for pid in pids for key, use in self._used(pid, look).items()}
            for key, use in found.items():
                size, huge, *_ = total.get(key, _NONE)
                total[key] = use._replace(size=size + use.size, huge=huge + use.huge)
            share = max((use.size / max(1, self._whole(key, use)) for key, use in found.items()), default=0.0)
            if share <= _MUCH or self._seconds <= _SHORTEST:
                break
            self._seconds = max(_SHORTEST, self._seconds / 4)
        if share < _MUCH / 4:
            self._seconds = min(_LONGEST, self._seconds * 2)
        for key, use in found.items():
            rate = use.rate if use.size <= _MUCH * self._whole(key, use) else _FASTEST
            self._fastest[key[1]] = max(rate, self._fastest.get(key[1], 0.0))
        return total

    def _left(self, key: Key, use: _Use, short: _Use | None, faults: tuple[int, int]) -> int:
        """Return the B of a file that page faults do not explain. short: what short looks after `use` showed."""
        counted, most = faults
        least, highest, self._rates[key] = use.size - use.huge, use.size, use.rate
        if short is not None:
            least, highest = least + short.size - short.huge, highest + short.size
        if self._is_full(key, use):
            fastest = self._fastest.get(key[1], 0.0)
            # If it is faster on average than in every short look, the job reads in bursts, at a speed that is unknown.
            self._rates[key] = fastest if fastest >= use.rate else _FASTEST
            highest = max(highest, int(self._rates[key] * use.longest))
        # The kernel marks the neighbours that it maps with a page as used, too.
        left = least - max(counted, most)
        self._unsure += max(0, highest - counted - max(0, left))
        return left

    def notes(self) -> list[str]:
        """Say when the bytes are only the least."""
        notes = []
        if unread := self._once + sum(path == _UNREAD for _, path in self._rates):
            notes.append(
                f"The accessed bits of {unread:,} of the processes were read only once, which shows nothing: how much "
                "of their mapped files they read is not known. Watch longer."
            )
        if self._full:
            notes.append(
                f"In {self._full:,} of {self._looks:,} looks at accessed bits over half of a mapped file had been "
                "used, so some of it was perhaps read more often than is counted."
            )
        if self._huge:
            notes.append(
                "Files are mapped in pieces of 2 MiB, each marked as used as a whole: how much of them was read, and "
                "how often, is not known. tiering.Loader(trace=) records each read."
            )
        return notes


def _row(look: Look, key: Key, size: int) -> tuple[object, ...]:
    pid, path = key
    return look.time, "read", identity(path), None, size, pid, look.job, None, path, UNPLACED
