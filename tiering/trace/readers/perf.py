"""Read the output of `perf trace`: its calls are translated into strace's form and read as those are.

Source: tools/perf/builtin-trace.c of the kernel. A line is `time ( duration ms): command/thread call(name: value, ...)
= result`.

perf prints the name passed to open if it could probe the kernel for it. Otherwise it looks up a descriptor some time
after the call, when it may be another file or none. So an open waits here until a later call on its descriptor names
the file, and the positions of reads from such a file are uncertain (UNPLACED).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tiering.trace.events import UNPLACED
from tiering.trace.readers import perf_words, strace
from tiering.trace.readers.base import Damage, Reader, line_blocks, shows
from tiering.trace.readers.tables import first_lines
from tiering.units import counted

_BLOCK = 1 << 22
_LINE = re.compile(
    r" *(?P<at>\d{1,12}\.\d{1,6}|\?) +\( *+(?:(?P<took>\d{1,12}\.\d{1,6}) ms)? *+\): +(?:(?P<comm>.{0,16}?)/)?"
    r"(?:(?P<tid>\d{1,9}) +)?(?P<call>.*)$"
)
_RESULT = r" += (?P<result>-?\d{1,18}|0x[0-9a-f]{1,16})?(?: .*)?$"
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)" + _RESULT)
_BEGUN = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) +\.\.\.$")
_CONTINUED = re.compile(r"\.\.\. \[continued\]: (?P<name>\w+)\(\)\)" + _RESULT)
_LOST = re.compile(r"LOST (\d{1,12}) events!\s*")
#: Stacks under a call, tracepoints and other events, the summary of -s, and perf's own remarks.
_REMARK = re.compile(r"\s*$|\s{10}| *[\d.]+ |LOST |Warning|\[|\(|perf|#| Summary| [\w./-]+ \(\d+\), \d+ events")
#: After these calls, a descriptor without a name will get none.
_SETTLE = frozenset({"close", "dup", "dup2", "dup3", "fcntl", "sendfile64", "sendfile", "copy_file_range"})
_MOST_HELD = 1000


def sniff(head: bytes) -> bool:
    """Return whether the text is perf trace's: one of its first lines is a call."""
    return any(map(_is_call, first_lines(head)))


def _is_call(line: str) -> bool:
    found = _LINE.match(line)
    return found is not None and any(kind.match(found["call"]) for kind in (_CALL, _BEGUN, _CONTINUED))


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn perf trace's text into batches of events, as strace.read does.

    Raises TraceError for a line that perf does not write, or counts and skips it if damage.lenient.
    """
    words = _Words(damage)
    for batch in strace.events(_rewritten(path, damage, words), damage):
        uncertain = (pl.col("op") == "read") & ~pl.col("path").is_in(list(words.printed)) & (pl.col("size") > 0)
        yield batch.with_columns(
            offset=pl.when(~uncertain).then("offset"),
            flags=pl.when(uncertain).then(pl.lit(UNPLACED)).otherwise("flags"),
        )
    if words.lost:
        damage.gaps.append(f"perf lost {counted(words.lost, 'event')}")
        damage.complete, damage.missing = False, True
    if words.looked_up:
        damage.notes.append(
            f"perf could not print the names of {words.looked_up:,} files that were opened, and looked them up later, "
            "when they may have been those of other files. strace -f -ttt -T -yy prints them, and so does perf once it "
            "has the probe vfs_getname."
        )


def _rewritten(path: Path, damage: Damage, words: _Words) -> Iterator[tuple[int, list[str]]]:
    last = 1
    for number, lines in line_blocks(path, damage, _BLOCK):
        yield number, [made for at, line in enumerate(lines, number) for made in words.of(line.rstrip("\r"), at)]
        last = number + len(lines)
    yield last, words.rest()


@dataclass(slots=True)
class _Open:
    """An open whose file has no name yet: its line except for the name, and later calls on its descriptor."""

    head: str
    tail: str
    known: str
    calls: list[str] = field(default_factory=list)

    def line(self, path: str) -> str:
        """Return the line with the name of its file."""
        return f"{self.head}{path}{self.tail}"


class _Words:
    """Translates perf's lines into strace's form, some of them with a delay."""

    def __init__(self, damage: Damage) -> None:
        self.lost = self.looked_up = 0
        self.printed: set[str] = set()
        self._damage = damage
        self._begun: dict[int, tuple[str, str, str]] = {}
        self._opens: dict[tuple[int, int], _Open] = {}
        self._leaders: dict[int, int] = {}

    def of(self, line: str, number: int) -> list[str]:
        """Return the lines that strace would have printed; none if the call does not matter."""
        if "LOST " in line:
            self.lost += sum(map(int, _LOST.findall(line)))
            line = _LOST.sub("", line)
        found = _LINE.match(line)
        if found is None:
            if not _REMARK.match(line):
                self._damage.at(number, repr(line if len(line) <= 80 else f"{line[:60]}...{line[-17:]}"))
            return []
        tid, text = int(found["tid"] or 0), found["call"].strip()
        at = "0.000000" if found["at"] == "?" else f"{float(found['at']) / 1e3:.6f}"
        if begun := _BEGUN.match(text):
            self._begun[tid] = (begun["name"], begun["arguments"].rstrip(), at)
            return []
        call = _CALL.match(text)
        if going_on := _CONTINUED.match(text):
            name, arguments, at = self._begun.pop(tid, ("", "", at))
            result = going_on["result"] if name == going_on["name"] else None
        elif call is not None:
            name, arguments, result = call["name"], call["arguments"], call["result"]
        else:
            return []
        if result is None or result.startswith("-"):
            return []
        return self._translated(tid, at, name, arguments, result, f"{float(found['took'] or 0) / 1e3:.6f}")

    def rest(self) -> list[str]:
        """Return the opens that no call named."""
        return [line for key in list(self._opens) for line in self._emitted(key, None)]

    def _translated(self, tid: int, at: str, name: str, arguments: str, result: str, took: str) -> list[str]:
        leader, end = self._leaders.get(tid, tid), f" = {result} <{took}>"
        if name in perf_words.OPENS:
            return self._open((leader, int(result, 0)), f"{tid} {at}", name, arguments, end)
        if name in perf_words.FORKS and perf_words.makes_thread(name, arguments) and result != "0":
            self._leaders[int(result, 0)] = leader
        call = perf_words.as_strace_prints(name, arguments)
        lines = [] if call is None else [f"{tid} {at} {call}{end}"]
        fd = perf_words.descriptor(arguments)
        waiting = None if fd is None else self._opens.get((leader, fd[0]))
        if fd is None or waiting is None:
            return lines
        if fd[1] is None and name not in _SETTLE and len(waiting.calls) < _MOST_HELD:
            waiting.calls += lines
            return []
        return [*self._emitted((leader, fd[0]), fd[1]), *lines]

    def _open(self, key: tuple[int, int], begin: str, name: str, arguments: str, end: str) -> list[str]:
        left = self._emitted(key, None)
        flags = perf_words.flags_of_open(name, arguments)
        opened = _Open(f'{begin} openat(AT_FDCWD, "', f'", {flags}){end}', begin)
        if named := perf_words.paths(arguments):
            self.printed.add(posixpath.normpath(named[0]))
            return [*left, opened.line(named[0])]
        self.looked_up += 1
        self._opens[key] = opened
        return left

    def _emitted(self, key: tuple[int, int], path: str | None) -> list[str]:
        """Emit an open that waited, and the later calls on its descriptor: it is named now, or never will be."""
        waiting = self._opens.pop(key, None)
        if waiting is None:
            return []
        return [waiting.line(path or "<opened by {} at {}>".format(*waiting.known.split())), *waiting.calls]


READER = Reader(
    "perf",
    "perf trace's text",
    "file",
    sniff,
    read,
    shows("times durations operations sizes", partly="offsets names processes opens closes"),
    _is_call,
)
