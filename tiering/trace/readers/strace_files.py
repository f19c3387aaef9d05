"""Read the files of `strace -ff -o LOG`: one file LOG.PID per thread, whose lines do not name the thread.

The files are merged by time, so that descriptors are inherited correctly. Without times, or with those of -r, which
count from line to line over all files, a thread's lines follow the call that began it.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import polars as pl

from tiering.trace.readers.base import Damage, line_blocks
from tiering.trace.readers.strace import events_of
from tiering.trace.readers.strace_lines import DAY, Block, canonical, tells_others, tells_times, time_of_day

_SUFFIX = re.compile(r"(.+)\.(\d{1,9})(?:\.(?:gz|zst|xz))?")
_BEGUN = re.compile(r"\d+ \S+ (?:<\.\.\. )?(?:clone[23]?|v?fork)\b.*\) += (\d+)")
#: B read of a file at once, and of all of them together.
_BLOCK, _TOGETHER = 1 << 20, 1 << 26
#: How many lines are passed on together.
_LINES = 1 << 15


@dataclass(frozen=True, slots=True)
class _Line:
    """A line, its position, and whether it is unfinished."""

    text: str
    damage: Damage
    number: int
    torn: bool


@dataclass(slots=True)
class _Joined(Damage):
    """Damage in one of several files, reported with the file and its own line number."""

    first: int = field(default=1, init=False)
    lines: list[_Line] = field(default_factory=list, init=False)

    def is_torn(self, number: int, last: int) -> bool:  # noqa: ARG002
        """Return whether a line is the unfinished last line of its file."""
        return self.lines[number - self.first].torn

    def at(self, number: int, found: str, *, expected: str = "", unit: str = "line") -> None:
        """Report damage in the line with this number in the merged text."""
        line = self.lines[number - self.first]
        line.damage.at(line.number, found, expected=expected, unit=unit)


def grouped(files: Iterable[Path]) -> dict[Path, dict[int, Path]]:
    """Group files into single runs of strace -ff, by name and thread. Other files are left out.

    `strace -f -o rank.0` writes similar names, but its lines name their processes.
    """
    found: dict[Path, dict[int, Path]] = {}
    for file in files:
        match = _SUFFIX.fullmatch(file.name)
        if match is None or tells_others(_first_lines(file, Damage(file, "strace", lenient=True)), int(match[2])):
            continue
        found.setdefault(file.with_name(match[1]), {})[int(match[2])] = file
    return found


def run_of(file: Path) -> Path | None:
    """Return the run of strace -ff that a file belongs to, judging by its name, or None."""
    match = _SUFFIX.fullmatch(file.name)
    return None if match is None else file.with_name(match[1])


def read_files(
    shown: Path, files: Mapping[int, Path], damages: Sequence[Damage], into: Damage
) -> Iterator[pl.DataFrame]:
    """Turn the files of one run, by thread, into batches of events, as strace.read does.

    damages: one per file, for its lines. into: for remarks about all of them.
    """
    joined = _Joined(shown, "strace", into.lenient)
    each = dict(zip(files, damages, strict=True))
    first = {thread: _first_lines(path, each[thread]) for thread, path in files.items()}
    timed = all(map(tells_times, first.values()))
    # The first thread has the lowest number, unless numbers wrapped around.
    begin = time_of_day(first[min(first)]) if timed else None
    block = max(1 << 14, min(_BLOCK, _TOGETHER // len(files)))
    streams = {
        thread: _lines(line_blocks(path, each[thread], block), each[thread], thread, begin)
        for thread, path in files.items()
    }
    lines = heapq.merge(*(_by_time(stream, thread) for thread, stream in streams.items())) if timed else None
    ordered = (line for _, _, line in lines) if lines is not None else _as_begun(streams)
    joined.untimed = not timed
    latest = 0.0
    for batch in events_of(_blocks(ordered, joined, timed=timed), joined):
        latest = max(latest, float(batch["time"].to_numpy()[-1]))
        yield batch
    if begin is not None and latest > begin + DAY:
        into.gaps.append("it lasts longer than a day and its times have no dates: how its threads follow is not known")
    into.complete, into.untimed = joined.complete, joined.untimed
    into.gaps += [*joined.gaps, *(gap for damage in damages for gap in damage.gaps)]
    into.failed |= joined.failed
    into.missing |= joined.missing
    into.skipped += sum(damage.skipped for damage in damages)
    into.notes += joined.notes


def _first_lines(path: Path, damage: Damage) -> list[str]:
    return next(iter(line_blocks(path, damage, 1 << 14)), (1, []))[1]


def _lines(blocks: Iterable[Block], damage: Damage, thread: int, begin: float | None) -> Iterator[_Line]:
    for first, lines in canonical(blocks, damage, thread, begin):
        for number, text in enumerate(lines, first):
            yield _Line(text, damage, number, damage.torn)


def _by_time(lines: Iterator[_Line], thread: int) -> Iterator[tuple[float, int, _Line]]:
    """Yield each line with its time, or with that of the line before. Equal times are ordered by thread."""
    time = 0.0
    for line in lines:
        head = line.text.split(" ", 2)
        if len(head) == 3 and head[0].isdigit():
            time = float(head[1]) if head[1].replace(".", "", 1).isdigit() else time
        yield time, thread, line


def _as_begun(streams: Mapping[int, Iterator[_Line]]) -> Iterator[_Line]:
    """Put the lines of each thread after the call that began it."""
    waiting = dict(streams)
    for thread in sorted(streams):
        stack = [waiting.pop(thread)] if thread in waiting else []
        while stack:
            line = next(stack[-1], None)
            if line is None:
                stack.pop()
                continue
            yield line
            begun = _BEGUN.match(line.text)
            if begun is not None and int(begun[1]) in waiting:
                stack.append(waiting.pop(int(begun[1])))


def _blocks(lines: Iterator[_Line], joined: _Joined, *, timed: bool) -> Iterator[Block]:
    first = 1
    while chunk := list(islice(lines, _LINES)):
        joined.first, joined.lines = first, chunk
        texts = [line.text for line in chunk]
        yield first, texts if timed else [_placed(text, number) for number, text in enumerate(texts, first)]
        first += len(chunk)


def _placed(text: str, number: int) -> str:
    """Use a line's position among all lines as its time."""
    head = text.split(" ", 2)
    return f"{head[0]} {number}.0 {head[2]}" if len(head) == 3 and head[0].isdigit() else text
