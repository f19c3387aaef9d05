"""Read the output of `strace -f -ttt -T -yy` (with or without -f, -T and -yy).

Format: strace(1). A line is `[pid] time call(arguments) = result <duration>`. A call during which another
thread makes one is split in two, `call(... <unfinished ...>` and `<... call resumed>...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.trace.readers.base import Damage, Reader, line_blocks
from tiering.trace.readers.strace_calls import CALLS, FORKS, Calls, Line

_BATCH = 100_000
_PREFIX = r"(?:\[pid +)?(?:(\d{1,9}+)\]? ++)?(\d{1,12}+\.\d{1,9}+|\d\d:\d\d:\d\d(?:\.\d+)?) ++"
#: pid, time, call, a first argument that is a descriptor, its path, the other arguments, result, the result's
#: path, duration. The arguments are greedy so that ") = 5" inside a quoted buffer is passed over; what may
#: follow a result is narrow so that it is not mistaken for one.
_CALL = re.compile(
    _PREFIX + r"(\w++)\((?:(\d{1,10}+)(?=[<,)])(?:<([^>]*+)>)?)?(.*)\)"
    r" += (-?\d{1,18}|0x[0-9a-f]{1,16}|\?)(?:<((?:->|[^>])*)>(?:>|\(deleted\))?)?"
    r"(?: E\w+)?(?: \(.*\)| <unavailable>)?(?: <(\d{1,12}\.\d{1,9})>)?$"
)
_UNFINISHED = re.compile(_PREFIX + r"(\w+)\(.*<unfinished \.\.\.>$")
#: On a terminal, strace interrupts itself; the line after this one is " <unfinished ...>".
_CUT = re.compile(_PREFIX + r"(\w+)\(.*(?=strace: Process \d+ attached$)")
_RESUMED = re.compile(_PREFIX + r"<\.\.\. (\w+) resumed>(.*)$")
_GONE = re.compile(_PREFIX + r"\+\+\+ (?:exited with|killed by) ")
#: Signals, other ends of processes, and what strace says about itself.
_REMARK = re.compile(
    r"\s*(?:<unfinished \.\.\.>)?$|"
    + _PREFIX
    + r"(?:\+\+\+ |--- |\w+\(<\.\.\. resuming)|strace: |(?:strace: )?Process \d+ |\[pid +\d+\] \+\+\+ "
)
_UNTIMED = re.compile(r"(?:\[pid +\d+\] +|\d+ +)?(?:execve|openat|read|brk|mmap|access)\(.*\) += ")
_UNFINISHED_END = "<unfinished ...>"


def sniff(head: bytes) -> bool:
    """Tell whether text is strace output: one of its first hundred lines is a call, whole or unfinished."""
    lines = head.decode("latin-1").split("\n")[:100]
    return any(_CALL.match(line) or _UNFINISHED.match(line) or _UNTIMED.match(line) for line in lines)


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn strace output into batches of about 100,000 events, in order of time within a batch.

    Calls that failed, and calls that neither move data nor concern files or processes, are no events.
    Memory is bounded by a batch, the open files and the distinct paths. Raises TraceError for a line that is
    none of strace's (damage.lenient: it is counted and left out).
    """
    calls = Calls()
    unfinished: dict[int, str] = {}
    for first, lines in line_blocks(path, damage):
        for number, line in enumerate(lines, start=first):
            # An unfinished call makes the pattern try every place to end at: twice the cost of a match.
            match = None if line.endswith(_UNFINISHED_END) else _CALL.match(line)
            if match is None:
                match = _other_line(line, number, calls, unfinished, damage)
                if match is None:
                    continue
            tid, when, name, fd, fd_path, arguments, result, result_path, duration = match.groups()
            call = CALLS.get(name)
            thread = int(tid) if tid else 0
            if call is None or result[0] in "-?":
                if name in FORKS:
                    calls.tree.not_forked(thread)
                continue
            try:
                process = calls.tree.process(thread, begins_with_exec=name == "execve")
                whole = Line(
                    thread,
                    float(when) if ":" not in when else _seconds(when),
                    -1 if fd is None else int(fd),
                    fd_path,
                    arguments,
                    int(result, 16 if result.startswith("0x") else 10),
                    result_path,
                    None if duration is None else float(duration),
                )
                call(calls, process, whole)
            except ValueError as error:
                damage.at(number, f"arguments of {name} that make no sense ({error})")
        if len(calls) >= _BATCH:
            yield calls.take()
    if len(calls):
        yield calls.take()


def _other_line(
    line: str, number: int, calls: Calls, unfinished: dict[int, str], damage: Damage
) -> re.Match[str] | None:
    """Deal with a line that is not a whole call; returns the whole call where this line completes one."""
    line = line.rstrip("\r")
    if begun := _UNFINISHED.match(line) or _CUT.match(line):
        tid = int(begun[1] or 0)
        unfinished[tid] = begun[0].removesuffix(_UNFINISHED_END)
        calls.tree.process(tid, begins_with_exec=begun[3] == "execve")
        if begun[3] in FORKS:
            calls.tree.forking(tid, line)
    elif resumed := _RESUMED.match(line):
        tid = int(resumed[1] or 0)
        if tid not in unfinished and 0 in unfinished:
            # The first process had no number while it was alone.
            calls.tree.same(tid, 0)
            tid = 0
        return _complete(resumed, unfinished.pop(tid, None), number, damage)
    elif gone := _GONE.match(line):
        unfinished.pop(int(gone[1] or 0), None)
        calls.tree.gone(int(gone[1] or 0))
    elif _UNTIMED.match(line):
        damage.at(number, "a call without its time", expected="output of strace -f -ttt -T -yy")
    elif not _REMARK.match(line):
        damage.at(number, repr(line if len(line) <= 80 else f"{line[:60]}...{line[-17:]}"))
    return None


def _complete(resumed: re.Match[str], beginning: str | None, number: int, damage: Damage) -> re.Match[str] | None:
    """Join the two halves of a call. The beginning carries its pid and time."""
    name = resumed[3]
    if beginning is None:
        damage.at(number, f"the rest of a call to {name} that was never begun")
        return None
    whole = _CALL.match(beginning.rstrip(" ") + resumed[4])
    if whole is None or whole[3] != name:
        damage.at(number, f"the rest of a call to {name} that does not complete the one begun")
        return None
    return whole


def _seconds(clock: str) -> float:
    """Read the time of day that -t and -tt print, into seconds since midnight."""
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


READER = Reader("strace", "strace -f -ttt -T -yy", "file", sniff, read)
