"""When the minor page faults of a job are worth their cost, and what may be unseen while they are left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tiering.trace.watching.map_table import MapTable

#: Minor faults a second that are not worth their cost, 0.5 us each to the job: where those of mapped files are less
#: than a share of them, and in any case; and looks without them after that. Each copy of a sample causes others, too.
_TOO_MANY, _FAR_TOO_MANY = 10_000, 60_000
_WORTH = 0.003
_PAUSE = 9
#: s of as many faults from which on minor ones wait for the next look.
_BURST = 2.0


class MinorFaults:
    """Decides whether minor faults are watched."""

    def __init__(self) -> None:
        self.is_off = False
        #: Faults since the last look.
        self.waiting = 0
        self.looks = self.looks_without = 0
        self._pause = self._floods = 0
        #: Whether the last look with minor faults had enough of mapped files.
        self._worth = False
        #: The maps that were there at the last look without minor faults; and B of all such maps, by process.
        self._maps: set[tuple[int, int, int]] = set()
        self._unseen: dict[int, int] = {}

    @property
    def is_burst(self) -> bool:
        """Whether the faults since the last look are too many to handle before the next one."""
        return self.waiting > _BURST * self._bearable

    @property
    def _bearable(self) -> int:
        return _FAR_TOO_MANY if self._worth else _TOO_MANY

    def look(self, faults: int, useful: int, seconds: float, tables: Mapping[int, MapTable]) -> bool:
        """Take note of a look. Return whether minor faults are left out until the next.

        faults, useful: faults since the last look, and those of mapped files. tables: the maps of each process.
        """
        self.waiting, self.looks = 0, self.looks + 1
        self.looks_without += self.is_off
        if self.is_off:
            self._note(tables)
        if self._pause:
            self._pause -= 1
        else:
            self._worth = useful > _WORTH * faults
            is_flood = faults > self._bearable * max(seconds, 0.1) and useful < faults / 2
            self._floods = self._floods + 1 if is_flood else 0
            # Programs that start cause many faults for a moment.
            self._pause = _PAUSE if self._floods > 1 else 0
        self.is_off = bool(self._pause)
        return self.is_off

    def _note(self, tables: Mapping[int, MapTable]) -> None:
        """Each page of a map may have been mapped once without a fault that was seen."""
        now: set[tuple[int, int, int]] = set()
        for pid, table in tables.items():
            for each in table.maps:
                now.add(key := (pid, each.start, each.file))
                if key not in self._maps:
                    self._unseen[pid] = self._unseen.get(pid, 0) + each.end_in_file - each.offset
        self._maps = now

    def unseen(self, but: Collection[int] = ()) -> int:
        """Return the B of the maps that processes had while minor faults were off, but some processes."""
        return sum(size for pid, size in self._unseen.items() if pid not in but)
