"""File operations, as printed by bcc's ext4slower, xfsslower, nfsslower and fileslower, and bpftrace's fileslower.

Sources: iovisor/bcc, tools/ext4slower_example.txt, xfsslower_example.txt, nfsslower_example.txt, fileslower.py, and
libbpf-tools/fsslower.c; brendangregg/bpf-perf-tools-book, fileslower.bt. They print operations that took longer than a
threshold (10 ms by default). Unless it was 0, quick operations are missing, most of which the page cache served. Names
are without their directories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.trace.events import UNPLACED
from tiering.trace.readers.base import Damage, Reader, byte_blocks, shows
from tiering.trace.readers.tables import as_events, first_lines, in_order, matched
from tiering.trace.readers.times import DayClock, seconds_of_day

_BLOCK = 1 << 22
#: Of ext4slower and the similar tools: time of day; offsets are KiB, rounded down.
_PLACED = (
    r"^(?P<time>\d\d:\d\d:\d\d) +(?P<comm>.{1,16}?) +(?P<pid>\d{1,9}) +(?P<kind>[RWOSFG]) +(?P<size>-?\d{1,18}|LL_MAX)"
    r" +(?P<offset>-?\d{1,18}) +(?P<took>\d+\.\d+) (?P<name>.*)$"
)
#: With -j or -c: the time of completion since the machine started, in us or ns; offsets are B.
_CSV = (
    r"^(?P<time>\d+),(?P<comm>[^,]*),(?P<pid>\d{1,9}),(?P<kind>[RWOSFG]),(?P<size>-?\d{1,18}|LL_MAX),(?P<offset>-?\d{1,18}),"
    r"(?P<took>\d+),(?P<name>.*)$"
)
#: Of fileslower: s or ms since it started; no offsets.
_UNPLACED = (
    r"^(?P<time>\d+(?:\.\d+)?) +(?P<comm>.{1,16}?) +(?P<pid>\d{1,9}) +(?P<kind>[RW]) +(?P<size>\d{1,18}) +"
    r"(?P<took>\d+(?:\.\d+)?) (?P<name>.*)$"
)
_TITLES = re.compile(
    r"TIME +COMM +PID +T +BYTES +OFF_KB|ENDTIME_[un]s,TASK,PID,TYPE,BYTES,OFFSET_b,LATENCY_us,FILE"
    r"|TIMEms +COMM +PID +T +BYTES +LATms|TIME\(s\) +COMM +TID +D +BYTES +LAT\(ms\)"
)
_TRACING = re.compile(r"Tracing (?:\w+ operations|sync read/writes)(?: (?:that are )?slower than (?P<least>\d+) ms)?")
_OPS = {"R": "read", "W": "write", "O": "open", "S": "sync", "F": "sync", "G": "stat"}
_KIB = 1024
#: How many positions in files are remembered. Without one, a call is assumed to begin at its KiB.
_MOST_OPEN = 1 << 20


def sniff(head: bytes) -> bool:
    """Return whether the text is from one of these tools, by its header or its lines."""
    lines = first_lines(head)
    if any(_TITLES.match(line) or _TRACING.match(line) for line in lines[:2]):
        return True
    return bool(lines) and any(all(re.match(kind, line) for line in lines) for kind in (_PLACED, _CSV))


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn the lines of such a tool into batches of events.

    Raises TraceError for a line that none of them writes, or counts and skips it if damage.lenient.
    """
    state = _State()
    for number, block in byte_blocks(path, damage, _BLOCK):
        if number == 1:
            state.begin(block.decode("utf-8", "replace").split("\n", 20)[:20])
        ignored = rf"^\s*$|^(?:{_TITLES.pattern})|^Tracing "
        yield state.events(matched(number, block, state.line, ignored, damage, "ext4slower or a similar tool"))
    damage.notes.append("Files are distinguished only by name, without directories: those with one name count as one.")
    damage.gaps.extend(gaps := list(state.gaps()))
    damage.missing |= bool(gaps)


class _State:
    """Which of the tools it is, and the state that one block of lines leaves for the next."""

    def __init__(self) -> None:
        self.line = _PLACED
        self._unit = 1.0
        self._least: str | None = None
        self._clock = DayClock()
        self._ends: dict[tuple[int, str], int] = {}

    def begin(self, lines: list[str]) -> None:
        """Recognise the tool by the first lines."""
        announced = next(filter(None, map(_TRACING.match, lines)), None)
        self._least = None if announced is None else announced["least"] or "0"
        text = "\n".join(lines)
        title = _TITLES.search(text)
        if (title is not None and title[0].startswith("ENDTIME")) or any(re.match(_CSV, line) for line in lines):
            self.line, self._unit = _CSV, 1e9 if title is not None and "_ns" in title[0] else 1e6
        elif title is not None and ("OFF" not in title[0]):
            self.line, self._unit = _UNPLACED, 1e3 if title[0].startswith("TIMEms") else 1.0

    def events(self, table: pl.DataFrame) -> pl.DataFrame:
        """Make events from lines."""
        scale = 1e6 if self.line == _CSV else 1e3
        op = pl.col("kind").replace_strict(_OPS, default=None, return_dtype=pl.String)
        moves = op.is_in(["read", "write"])
        size = pl.col("size").cast(pl.Int64, strict=False)
        table = table.with_columns(name=pl.col("name").str.strip_chars_end())
        # A negative size is an error that the call returned.
        table = table.with_columns(
            op=op,
            took=pl.col("took").cast(pl.Float64, strict=False) / scale,
            bytes=pl.when(moves).then(size.fill_null(0)).otherwise(0),
            pid=pl.col("pid").cast(pl.Int32, strict=False).fill_null(0),
        ).filter(pl.col("bytes") >= 0)
        table = table.with_columns(when=pl.Series(self._times(table)), start=self._offsets(table))
        lost = (op == "read") & (self.line == _UNPLACED)
        return in_order(
            as_events(
                table,
                {
                    "time": pl.col("when"),
                    "op": pl.col("op"),
                    "file": pl.col("name").hash(),
                    "offset": pl.when(moves).then("start"),
                    "size": pl.col("bytes"),
                    "pid": pl.col("pid"),
                    "duration": pl.col("took"),
                    "path": pl.col("name"),
                    "flags": pl.when(op == "open").then(pl.lit("rw")).when(lost).then(pl.lit(UNPLACED)),
                },
            )
        )

    def gaps(self) -> Iterator[str]:
        """Return what is missing from the trace."""
        if self._least != "0":
            least = "10 ms, if it was not set otherwise" if self._least is None else f"{self._least} ms"
            yield f"operations quicker than the tool's threshold ({least}) are missing; 0 records all of them"

    def _times(self, table: pl.DataFrame) -> pl.Series:
        if self.line == _PLACED:
            times = table.select(seconds_of_day(pl.col("time"))).to_series()
            return pl.Series(self._clock.since_first_midnight(times.to_numpy()))
        return table["time"].cast(pl.Float64) / self._unit - table["took"]

    def _offsets(self, table: pl.DataFrame) -> pl.Series:
        """Return the B at which calls begin: within the KiB, preferably where the last call on the file ended."""
        if self.line == _UNPLACED:
            return pl.repeat(None, len(table), dtype=pl.Int64, eager=True)
        offsets = table["offset"].cast(pl.Int64, strict=False)
        if self.line == _CSV:
            return offsets
        starts = []
        if len(self._ends) > _MOST_OPEN:
            self._ends.clear()
        for pid, name, op, kib, size in zip(
            table["pid"], table["name"], table["op"], offsets, table["bytes"], strict=True
        ):
            if kib is None or not 0 <= kib < 1 << 52:
                starts.append(None if kib is None else -1)
                continue
            end = self._ends.get((pid, name), 0)
            start = end if end // _KIB == kib else kib * _KIB
            if op in ("read", "write"):
                self._ends[pid, name] = start + size
            elif op == "open":
                self._ends.pop((pid, name), None)
            starts.append(start)
        return pl.Series(starts, dtype=pl.Int64)


READER = Reader(
    "fsslower",
    "output of ext4slower, xfsslower or nfsslower",
    "file",
    sniff,
    read,
    shows("times durations operations sizes names processes opens", partly="offsets"),
    lambda line: re.match(_PLACED, line) or re.match(_CSV, line),
)
