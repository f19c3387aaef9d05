"""A trace that is open for one reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tiering.progress import Progress
from tiering.trace.completeness import Completeness, least
from tiering.trace.readers.base import Damage, Level
from tiering.trace.waiting import Waiting

_SEVERAL = "Where jobs wait is not added up over several traces: classify each of them by itself."


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace that is open for one reading: iterate over `batches`, then read skipped_lines, notes and so on.

    path: the file or directory. format: the reader's name. level: the layer at which the trace was taken. batches: data
    frames in EVENT_SCHEMA; they are made while iterating, so that is where errors in the middle are raised.
    """

    path: Path
    format: str
    level: Level
    batches: Iterator[pl.DataFrame]
    damage: tuple[Damage, ...]

    def reporting(self, progress: Progress) -> Iterator[pl.DataFrame]:
        """Yield the batches, and report the events read, and how many there may be by the share of the bytes read."""
        events = 0
        progress(0, 0, 0)
        for batch in self.batches:
            events += len(batch)
            yield batch
            size, taken = (sum(getattr(each, name) for each in self.damage) for name in ("size", "taken"))
            progress(events, max(events, events * size // taken) if taken else 0, 0)

    @property
    def skipped_lines(self) -> int:
        """Lines that a lenient reading has skipped so far."""
        return sum(each.skipped for each in self.damage)

    @property
    def complete(self) -> bool:
        """Whether the trace, as far as it was read, shows the whole run: from its start to its end, with status 0."""
        return all(each.complete for each in self.damage) and not self.gaps

    @property
    def gaps(self) -> list[str]:
        """Distinct reasons why the trace cannot contain the whole run."""
        return list(dict.fromkeys(gap for each in self.damage for gap in each.gaps))

    @property
    def missing(self) -> bool:
        """Whether calls that move data are known to be missing."""
        return any(each.missing for each in self.damage)

    @property
    def failed(self) -> set[int]:
        """Processes that ended with a status other than 0, although the run did not."""
        return {pid for each in self.damage for pid in each.failed}

    @property
    def untimed(self) -> bool:
        """Whether the trace has no times. Those of its events then only give their order."""
        return any(each.untimed for each in self.damage)

    @property
    def waiting(self) -> Waiting | None:
        """Where the processes of a watched job spent their time; None if unknown, and of several traces in one."""
        known = [each.waiting for each in self.damage if each.waiting is not None]
        return known[0] if len(known) == 1 else None

    @property
    def completeness(self) -> Completeness:
        """What the sources of a watched trace showed; of several traces in one, what all of them did."""
        return least([each.completeness for each in self.damage])

    @property
    def notes(self) -> list[str]:
        """Distinct remarks of the readers about the trace as a whole, so far."""
        several = sum(each.waiting is not None for each in self.damage) > 1
        notes = [note for each in self.damage for note in each.notes]
        return list(dict.fromkeys([*notes, *([_SEVERAL] if several else [])]))
