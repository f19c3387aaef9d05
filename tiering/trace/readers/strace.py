"""Read the output of `strace -f -ttt -T -yy`, and of most other options (strace_lines).

Format: strace(1). A line is `pid time call(arguments) = result <duration>`. A call that is interrupted by one of
another thread is split in two: `call(... <unfinished ...>` and `<... call resumed>...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from tiering.trace.readers import strace_quick
from tiering.trace.readers.base import Damage, Reader, line_blocks, shows
from tiering.trace.readers.strace_calls import CALLS
from tiering.trace.readers.strace_lines import DETACHED, UNFINISHED, UNTIMED, Block, canonical
from tiering.trace.readers.strace_state import FORKS, Calls, Line

_BATCH = 100_000
#: B of lines processed at once: large enough to hide the cost per block, small enough for the processor's cache.
_BLOCK = 1 << 22
_PREFIX = r"(\d{1,9}+) ++(\d{1,12}+\.\d{1,9}+) ++"
#: pid, time, call, a first argument that is a descriptor, its path, the other arguments, result, the result's path,
#: duration. The arguments are greedy, so that they skip ") = 5" inside a quoted buffer. The text after a result is
#: restricted, so that it is not mistaken for one.
_CALL = re.compile(
    _PREFIX + r"(\w++)\((?:(\d{1,10}+)(?=[<,)])(?:<([^>]*+)>)?)?(.*)\)"
    r" += (-?\d{1,18}|0x[0-9a-f]{1,16}|\?)(?:<((?:->|[^>])*)>(?:>|\(deleted\))?)?"
    r"(?: E\w+)?(?: \(.*\)| <unavailable>)?(?: <(\d{1,12}(?:\.\d{1,9})?)>)?$"
)
_BEGUN = re.compile(_PREFIX + r"(\w+)\(")
_CLOSING = re.compile(_PREFIX.replace("(", "(?:") + r"close\((\d{1,10})")
_RESUMED = re.compile(_PREFIX + r"<\.\.\. (\w+) resumed>(.*)$")
_GONE = re.compile(_PREFIX + r"\+\+\+ (?:exited with (\d{1,3})|killed by (\w+))")
#: Signals that end a run from outside. A program that handles them may still end with status 0.
_SENT = re.compile(_PREFIX + r"--- (SIG(?:INT|TERM|HUP|QUIT|XCPU)) ")
_DETACHED = re.compile(r"(?:strace: )?Process (\d{1,9}) detached")
#: Signals, other ends of processes, stacks of -k, buffers of -e read, sums of -C, and strace's own remarks.
_REMARK = re.compile(
    r"\s*(?:<unfinished \.\.\.>)?$|"
    + _PREFIX
    + r"(?:\+\+\+ |--- |\w+\(<\.\.\. resuming)|(?:strace: )?Process \d+ |strace: | > .*|"
    r" \| [0-9a-f]{5,16}  | \* \d+ bytes in buffer \d+$|"
    r"% time +seconds |(?:-{2,} *){5,}$| *\d{1,3}\.\d\d +\d+\.\d+ +\d+ +\d+ (?: *\d+)? *\w+$"
)
#: The contents of the file of a thread that made no traced call.
_NO_CALL = re.compile(
    r"(?:\[pid +\d{1,9}\] +|\d{1,9} +)?(?:[\d.:]{1,30} +)?(?:\(\+ *[\d.]+\) +)?(?:\[[ ?0-9a-f]{4,16}\] +)*"
    r"(?:\+\+\+ (?:exited with \d{1,3}|killed by SIG\w+(?: \(core dumped\))?) \+\+\+|--- SIG\w+ \{.*\} ---)\r?$"
)
_MARK = " resumed>"
_LOOKED_AT = 200
_SUMMARY = "% time     seconds  usecs/call     calls"
_TORN = "its last line is cut short"


def sniff(head: bytes) -> bool:
    """Return whether text is strace output: one of its first lines is a call, or all are ends and signals, or -c's."""
    lines = head.decode("latin-1").split("\n")[:_LOOKED_AT]
    if (some := [line for line in lines if line.strip()]) and all(map(_NO_CALL.match, some)):
        return True
    shaped = [line for _, some in canonical([(1, lines)], Damage(Path(), "strace")) for line in some]
    return "\n".join(lines).lstrip().startswith(_SUMMARY) or any(
        _CALL.match(line) or (line.endswith(UNFINISHED) and _BEGUN.match(line)) for line in shaped
    )


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn strace output into batches of about 100,000 events, in order of time within a batch.

    Failed calls, and calls that neither move data nor concern files or processes, are no events. Memory is bounded by a
    batch, the open files and the distinct paths. Raises TraceError for a line that strace does not write, or counts and
    skips it if damage.lenient.
    """
    return events(line_blocks(path, damage, _BLOCK), damage)


def events(blocks: Iterable[Block], damage: Damage) -> Iterator[pl.DataFrame]:
    """Do the same as read, for blocks of lines, each with the number of its first line."""
    return events_of(canonical(_calls_in(blocks, damage), damage), damage)


def _calls_in(blocks: Iterable[Block], damage: Damage) -> Iterator[Block]:
    for first, lines in blocks:
        if first == 1 and "\n".join(lines[:2]).lstrip().startswith(_SUMMARY):
            damage.at(1, "the table of strace -c, which counts calls", expected="the calls: strace -f -ttt -T -yy")
        yield first, lines


def events_of(blocks: Iterable[Block], damage: Damage) -> Iterator[pl.DataFrame]:
    """Do the same as read, for lines in the shape of strace_lines. `damage` shows at the end if the run is whole."""
    calls = Calls()
    unfinished: dict[int, str] = {}
    last = 0

    def thoroughly(line: str, number: int) -> None:
        if not damage.is_torn(number, last):
            _thoroughly(line, number, calls, unfinished, damage)
            return
        torn = Damage(damage.path, damage.format, lenient=True)
        _thoroughly(line, number, calls, unfinished, torn)
        damage.gaps += [_TORN] * bool(torn.skipped)

    for first, lines in blocks:
        last = first + len(lines) - 1
        strace_quick.take(calls, lines, first, damage, thoroughly)
        if len(calls) >= _BATCH:
            yield calls.take(_earliest(unfinished.values()))
            calls.forget_names()
    if len(rest := calls.take()):
        yield rest
    damage.gaps += calls.gaps()
    damage.missing |= bool(calls.unseen)
    damage.failed |= calls.tree.failed
    damage.complete = bool(last) and not damage.gaps
    if damage.untimed:
        damage.notes.append(UNTIMED)


def _earliest(unfinished: Iterable[str]) -> float:
    """Return the time, in s, of the first unfinished call that will make an event."""
    begun = (_BEGUN.match(line) for line in unfinished)
    return min((float(each[2]) for each in begun if each is not None and each[3] in CALLS), default=float("inf"))


def _thoroughly(line: str, number: int, calls: Calls, unfinished: dict[int, str], damage: Damage) -> None:
    """Process any line."""
    line = line.rstrip("\r")
    # On an unfinished call, the pattern would try every position as the end.
    if line.endswith((UNFINISHED, DETACHED)):
        _begin(line, number, calls, unfinished, damage)
        return
    resumed = _RESUMED.match(line) if _MARK in line else None
    if resumed is not None:
        name = resumed[3]
        whole = _rejoined(int(resumed[1]), name, resumed[4], number, calls, unfinished, damage)
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


def _rejoined(
    thread: int, name: str, rest: str, number: int, calls: Calls, unfinished: dict[int, str], damage: Damage
) -> str | None:
    """Join the two halves of a call. The first half has its pid and time."""
    members = calls.tree.members
    if thread not in unfinished and f" {name}(" in unfinished.get(0, ""):
        # strace does not number the first process while it is alone.
        calls.tree.is_first(thread)
    beginning = unfinished.pop(calls.tree.number(thread), None)
    if beginning is None:
        # strace -p starts in the middle of calls, and so does a log without its beginning.
        if thread in members:
            damage.at(number, f"the rest of a call to {name} that was never begun")
        return None
    return beginning.rstrip(" ") + rest


def _apply(match: re.Match[str], number: int, calls: Calls, damage: Damage) -> None:
    """Process a complete call."""
    tid, when, name, fd, fd_path, arguments, result, result_path, duration = match.groups()
    call = CALLS.get(name)
    thread = int(tid)
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
    """Keep the first half of an interrupted call."""
    begun = _BEGUN.match(line)
    if begun is None:
        if not _REMARK.match(line):
            damage.at(number, _shown(line))
        return
    thread, name = int(begun[1]), begun[3]
    if thread not in calls.tree.members:
        calls.tree.process(thread, begins_with_exec=name == "execve")
    if line.endswith(DETACHED):
        calls.detached = True
        return
    known = calls.tree.number(thread)
    calls.lost += known in unfinished
    unfinished[known] = line[: -len(UNFINISHED)]
    if name in FORKS:
        calls.tree.forking(thread, line)
    elif name == "close" and (fd := _CLOSING.match(line)):
        opened = calls.tree.members[thread].descriptors.get(int(fd[1]))
        if opened is not None:
            calls.closing[thread] = opened


def _other_line(line: str, number: int, calls: Calls, unfinished: dict[int, str], damage: Damage) -> None:
    """Process a line that is not a call."""
    if gone := _GONE.match(line):
        thread = int(gone[1])
        unfinished.pop(calls.tree.number(thread), None)
        calls.tree.gone(thread, _how(gone[3], gone[4]))
    elif sent := _SENT.match(line):
        calls.tree.sent(int(sent[1]), sent[3])
    elif not _REMARK.match(line):
        damage.at(number, _shown(line))
    elif _DETACHED.match(line):
        calls.detached = True


def _how(status: str | None, signal: str | None) -> str:
    return f"it was killed by {signal}" if signal else "" if status == "0" else f"it ended with exit status {status}"


def _shown(line: str) -> str:
    return repr(line if len(line) <= 80 else f"{line[:60]}...{line[-17:]}")


READER = Reader(
    "strace",
    "strace -f -ttt -T -yy",
    "file",
    sniff,
    read,
    shows("operations sizes", partly="times durations offsets names processes opens closes end"),
    lambda line: sniff(line.encode("latin-1")),
)
