"""Read the output of `strace -f -ttt -T -yy` (with or without -f, -T and -yy).

Format: strace(1). A line is `[pid] time call(arguments) = result <duration>`. A call during which another
thread makes one is split in two, `call(... <unfinished ...>` and `<... call resumed>...`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

from tiering.trace.readers import strace_quick
from tiering.trace.readers.base import Damage, Reader, line_blocks, shows
from tiering.trace.readers.strace_calls import CALLS, FORKS, Calls, Line

_BATCH = 100_000
#: B of lines cut at once: what a block costs by itself hardly shows, and it stays in the processor's cache.
_BLOCK = 1 << 22
_PREFIX = r"(?:\[pid +)?(?:(\d{1,9}+)\]? ++)?(\d{1,12}+\.\d{1,9}+|\d\d:\d\d:\d\d(?:\.\d+)?) ++"
#: pid, time, call, a first argument that is a descriptor, its path, the other arguments, result, the result's
#: path, duration. The arguments are greedy so that ") = 5" inside a quoted buffer is passed over; what may
#: follow a result is narrow so that it is not mistaken for one.
_CALL = re.compile(
    _PREFIX + r"(\w++)\((?:(\d{1,10}+)(?=[<,)])(?:<([^>]*+)>)?)?(.*)\)"
    r" += (-?\d{1,18}|0x[0-9a-f]{1,16}|\?)(?:<((?:->|[^>])*)>(?:>|\(deleted\))?)?"
    r"(?: E\w+)?(?: \(.*\)| <unavailable>)?(?: <(\d{1,12}\.\d{1,9})>)?$"
)
_BEGUN = re.compile(_PREFIX + r"(\w+)\(")
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
#: With -r, strace prints the time since the line before, beginning with 0.
_FROM_ZERO = re.compile(r"(?:\[pid +\d+\] +|\d+ +)? *0\.000000 ")
_SINCE = re.compile(r"(\[pid +\d+\] +|\d+ +)? *(\d{1,12}\.\d{1,9}) ")
#: With -t or -tt, the time of day.
_OF_DAY = re.compile(r"(\[pid +\d+\] +|\d+ +)? *(\d\d):(\d\d):(\d\d(?:\.\d{1,9})?) ")
_DAY = 86400
_MARK = " resumed>"


def sniff(head: bytes) -> bool:
    """Tell whether text is strace output: one of its first hundred lines is a call, whole or unfinished."""
    lines = [line.lstrip(" ") for line in head.decode("latin-1").split("\n")[:100]]
    return any(
        _CALL.match(line) or (line.endswith(strace_quick.UNFINISHED) and _BEGUN.match(line)) or _UNTIMED.match(line)
        for line in lines
    )


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn strace output into batches of about 100,000 events, in order of time within a batch.

    Calls that failed, and calls that neither move data nor concern files or processes, are no events.
    Memory is bounded by a batch, the open files and the distinct paths. Raises TraceError for a line that is
    none of strace's (damage.lenient: it is counted and left out).
    """
    return events(line_blocks(path, damage, _BLOCK), damage)


def events(blocks: Iterable[tuple[int, list[str]]], damage: Damage) -> Iterator[pl.DataFrame]:
    """Do the same with blocks of lines, each with the number of its first."""
    calls = Calls()
    unfinished: dict[int, str] = {}

    def thoroughly(line: str, number: int) -> None:
        _thoroughly(line, number, calls, unfinished, damage)

    for first, lines in _absolute(blocks):
        strace_quick.take(calls, lines, first, damage, thoroughly)
        if len(calls) >= _BATCH:
            yield calls.take()
    if len(calls):
        yield calls.take()


def _absolute(blocks: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Bring times of -r and of -t to s that only grow; lines with times of -ttt are passed on."""
    rewrite: Callable[[str], str] | None = None
    for first, lines in blocks:
        if first == 1:
            ways = (way(line) for line in lines[:100] for way in (_since_before, _times_of_day))
            rewrite = next(filter(None, ways), None)
        yield first, lines if rewrite is None else list(map(rewrite, lines))


def _since_before(line: str) -> Callable[[str], str] | None:
    """Make what adds up the times of -r, if this is a trace's first line of that kind."""
    if not _FROM_ZERO.match(line):
        return None
    clock = 0.0

    def rewrite(line: str) -> str:
        nonlocal clock
        since = _SINCE.match(line)
        if since is None:
            return line
        clock += float(since[2])
        return f"{since[1] or ''}{clock:.6f} {line[since.end() :]}"

    return rewrite


def _times_of_day(line: str) -> Callable[[str], str] | None:
    """Make what counts the times of -t and -tt from the first midnight on, if this line has one."""
    if not _OF_DAY.match(line):
        return None
    last: float | None = None

    def rewrite(line: str) -> str:
        nonlocal last
        said = _OF_DAY.match(line)
        if said is None:
            return line
        time = int(said[2]) * 3600 + int(said[3]) * 60 + float(said[4])
        # Threads may be out of order by a little, so only a leap back by hours is another day.
        time += 0 if last is None else round((last - time) / _DAY) * _DAY
        last = time if last is None else max(last, time)
        return f"{said[1] or ''}{time:.6f} {line[said.end() :]}"

    return rewrite


def _thoroughly(line: str, number: int, calls: Calls, unfinished: dict[int, str], damage: Damage) -> None:
    """Deal with any line."""
    line = line.rstrip("\r")
    # An unfinished call would make the pattern try every place to end at.
    if line.endswith(strace_quick.UNFINISHED):
        _begin(line, number, calls, unfinished, damage)
        return
    resumed = _RESUMED.match(line) if _MARK in line else None
    if resumed is not None:
        name = resumed[3]
        whole = _whole(int(resumed[1] or 0), name, resumed[4], number, calls, unfinished, damage)
        if whole is None:
            return
        match = _CALL.match(whole)
        if match is None or match[3] != name:
            damage.at(number, f"the rest of a call to {name} that does not complete the one begun")
            return
    else:
        match = _CALL.match(line)
        if match is None:
            _other_line(line, number, calls, unfinished, damage)
            return
    _apply(match, number, calls, damage)


def _whole(
    thread: int, name: str, rest: str, number: int, calls: Calls, unfinished: dict[int, str], damage: Damage
) -> str | None:
    """Join the two halves of a call. The beginning carries its pid and time."""
    if thread not in unfinished and 0 in unfinished:
        # The first process had no number while it was alone.
        calls.tree.same(thread, 0)
        thread = 0
    beginning = unfinished.pop(thread, None)
    if beginning is None:
        damage.at(number, f"the rest of a call to {name} that was never begun")
        return None
    return beginning.rstrip(" ") + rest


def _apply(match: re.Match[str], number: int, calls: Calls, damage: Damage) -> None:
    """Do what a whole call says."""
    tid, when, name, fd, fd_path, arguments, result, result_path, duration = match.groups()
    call = CALLS.get(name)
    thread = int(tid) if tid else 0
    if call is None or result[0] in "-?":
        if name in FORKS:
            calls.tree.not_forked(thread)
        return
    try:
        process = calls.tree.members.get(thread) or calls.tree.process(thread, begins_with_exec=name == "execve")
        at = float(when)
        descriptor = -1 if fd is None else int(fd)
        returned = int(result, 16 if result.startswith("0x") else 10)
        took = None if duration is None else float(duration)
        call(calls, process, Line(thread, at, descriptor, fd_path, arguments, returned, result_path, took))
    except ValueError as error:
        damage.at(number, f"arguments of {name} that make no sense ({error})")


def _begin(line: str, number: int, calls: Calls, unfinished: dict[int, str], damage: Damage) -> None:
    """Keep the beginning of a call that another one interrupts."""
    begun = _BEGUN.match(line)
    if begun is None:
        if not _REMARK.match(line):
            damage.at(number, _shown(line))
        return
    thread, name = int(begun[1] or 0), begun[3]
    unfinished[thread] = line[: -len(strace_quick.UNFINISHED)]
    if thread not in calls.tree.members:
        calls.tree.process(thread, begins_with_exec=name == "execve")
    if name in FORKS:
        calls.tree.forking(thread, line)


def _other_line(line: str, number: int, calls: Calls, unfinished: dict[int, str], damage: Damage) -> None:
    """Deal with a line that is no call."""
    if begun := _CUT.match(line):
        _begin(f"{begun[0]}{strace_quick.UNFINISHED}", number, calls, unfinished, damage)
    elif gone := _GONE.match(line):
        thread = int(gone[1] or 0)
        unfinished.pop(thread, None)
        damage.complete |= calls.tree.is_root(thread)
        calls.tree.gone(thread)
    elif _UNTIMED.match(line):
        damage.at(number, "a call without its time", expected="output of strace -f -ttt -T -yy")
    elif not _REMARK.match(line):
        damage.at(number, _shown(line))


def _shown(line: str) -> str:
    return repr(line if len(line) <= 80 else f"{line[:60]}...{line[-17:]}")


READER = Reader(
    "strace",
    "strace -f -ttt -T -yy",
    "file",
    sniff,
    read,
    shows("operations sizes", partly="times durations offsets names processes opens closes end"),
    lambda line: _CALL.match(line) or _UNTIMED.match(line),
)
