"""Normalise the lines of strace to one shape: `PID TIME call(arguments) = result`.

Options change them (strace(1)): -i, -n, -Y, and -r beside -ttt put more before a call; -t, -tt, -r and --timestamps
write other times, or none. Without -o FILE, the command's output is mixed into the lines and cuts some of them in two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from tiering.trace.readers.base import Damage
from tiering.trace.readers.strace_calls import CALLS

#: Lines, with the number of the first, counted from 1.
Block = tuple[int, list[str]]

UNFINISHED, DETACHED = "<unfinished ...>", "<detached ...>"
UNTIMED = "The trace has no times: the order of its calls stands for time, and rates are left out."

_NUMBER = r"(\d{1,9})(?:<[^>]*>)?(?: /\* \d+ in strace's PID NS \*/)?"
#: Process, time, time since the line before, number of the call, instruction pointer; and how a line continues.
_LEAD = re.compile(
    r" *(?:\[pid +" + _NUMBER + r"\] +|" + _NUMBER + r" +)?"
    r"(\d\d:\d\d:\d\d(?:\.\d{1,9})? +|\d{1,12}\.\d{1,9} +|\d{10,12} +)?"
    r"(?:\(\+ *\d+(?:\.\d+)?\) +)?(?:\[ *\d{1,4}\] +)?(?:\[(?:[0-9a-f]{8,16}|\?{8,16})\] +)?"
    r"(?=[A-Za-z_]\w*\(|<\.\.\. \w+ resumed>|\+\+\+ |--- )"
)
#: A line that needs no change.
_PLAIN = re.compile(r"\d{1,9} +\d{1,12}\.\d{1,9} +(?=[A-Za-z_]\w*\(|<\.\.\. |\+\+\+ |--- )")
_WHOLE = re.compile(r"\) += (?:-?\d|0x|\?)|(?:<unfinished|<detached) \.\.\.>$")
#: A remark of strace's in the middle of a line; ^C comes from the terminal.
_REMARK = re.compile(r"(?:\^C)?(?:strace: )?Process \d+ (?:attached|detached).*$")
#: A line of strace's after unfinished output of the command. It begins with a process, a time or both.
_TIME = r"(?:\d\d:\d\d:\d\d(?:\.\d{1,9})?|[1-9]\d{9}(?:\.\d{1,9})?|\d{1,6}\.\d{6,9}) +"
_GLUED = re.compile(
    rf"(?:\[pid +\d+\] +(?:{_TIME})?|{_TIME})(?:\(\+ *\d+(?:\.\d+)?\) +)?(?:\[[ 0-9a-f?]{{4,16}}\] +)*"
    r"(?=[A-Za-z_]\w*\(|<\.\.\. \w+ resumed>|\+\+\+ |--- )"
)
#: A call somewhere in a line. _WHOLE checks whether it is complete.
_CALLED = re.compile(rf"(?:{'|'.join(CALLS)})(?:\(| resumed>)")
_OF_DAY = re.compile(r"(\d\d):(\d\d):(\d\d(?:\.\d{1,9})?)")
_LOOKED_AT = 200
DAY = 86400
#: s by which threads that strace attached to may seem to begin before their run.
_SLACK = 3600

#: Turns a time as written, or its absence, into growing s, as text.
_Clock = Callable[[str | None], str]


def canonical(blocks: Iterable[Block], damage: Damage, thread: int = 0, begin: float | None = None) -> Iterator[Block]:
    """Bring lines to one shape. No line is added or removed, so that line numbers stay correct.

    thread: the thread that lines without one belong to. begin: s since midnight at the beginning of the run, if other
    files contain it.
    """
    shape: _Shape | None = None
    end = 1
    for first, lines in blocks:
        shape = shape or _Shape(lines, damage, thread, begin)
        end = first + len(lines)
        yield (first, lines) if shape.is_plain else (first - len(shape.held), shape.rewritten(lines))
    if shape is not None and shape.held:
        yield end - len(shape.held), shape.held
    if shape is not None and shape.dropped:
        damage.gaps.append(f"{shape.dropped} of its calls are mixed with output of the command and cannot be read")


class _Shape:
    """The form in which one trace is written, and the lines that wait for the rest of a call."""

    def __init__(self, lines: list[str], damage: Damage, thread: int, begin: float | None) -> None:
        leads = [(found, line) for line in lines[:_LOOKED_AT] if (found := _LEAD.match(line))]
        times = [found[3].strip() for found, _ in leads if found[3]]
        #: Whether the command's output cannot be among the lines. With -o, process numbers have no brackets.
        self._is_file = thread != 0 or any(found[2] for found, _ in leads[:1])
        self.is_plain = self._is_file and thread == 0 and all(_PLAIN.match(line) for _, line in leads)
        self.is_plain &= _clock(times) is _as_written
        self.held: list[str] = []
        #: How many skipped lines contain a call.
        self.dropped = 0
        self._thread, self._clock, self._is_timed = thread, _clock(times, begin), bool(times)
        damage.untimed |= bool(leads) and not times

    def rewritten(self, lines: list[str]) -> list[str]:
        """Rewrite the waiting lines and these. From an unfinished call on, keep lines waiting."""
        made: list[str] = self.held
        cut = 0 if self.held else None
        for line in lines:
            found = self._lead(line)
            if found is None and not self._is_file and (glued := _GLUED.search(line)):
                line = line[glued.start() :]  # noqa: PLW2901
                found = self._lead(line)
            if found is not None:
                if cut is not None:
                    made[cut] += UNFINISHED
                rest = line[found.end() :]
                cut = None
                if not self._is_file and rest[0] not in "+-" and not _WHOLE.search(rest):
                    rest, cut = _REMARK.sub("", rest), len(made)
                made.append(f"{found[1] or found[2] or self._thread} {self._clock(found[3])} {rest}")
            elif self._is_file:
                made.append(line)
            elif cut is not None and _WHOLE.search(line):
                made.append(made[cut] + line)
                made[cut], cut = "", None
            else:
                # Output of the command, or a remark of strace's.
                made.append(line if _REMARK.match(line) else "")
                self.dropped += bool(_CALLED.search(line) and (_WHOLE.search(line) or " resumed>" in line))
        self.held = [] if cut is None else made[cut:]
        return made if cut is None else made[:cut]

    def _lead(self, line: str) -> re.Match[str] | None:
        """Match the part before a call, if it has everything that this trace has."""
        found = _LEAD.match(line)
        if found is None or (self._is_timed and not found[3]):
            return None
        return found if found[1] or found[2] or self._thread or not self._is_file else None


def tells_times(lines: list[str]) -> bool:
    """Return whether lines have absolute times, not only the time since the line before."""
    times = [found[3].strip() for line in lines[:_LOOKED_AT] if (found := _LEAD.match(line)) and found[3]]
    return bool(times) and (_OF_DAY.match(times[0]) is not None or all(float(time) for time in times))


def tells_others(lines: list[str], thread: int) -> bool:
    """Return whether all lines name a process or thread, and some of them another one than this."""
    leads = filter(None, map(_LEAD.match, lines[:_LOOKED_AT]))
    named = [int(found[1] or found[2] or -1) for found in leads]
    return -1 not in named and any(number != thread for number in named)


def time_of_day(lines: list[str]) -> float | None:
    """Return the first time of the lines, in s since midnight, if they only have times of day."""
    for line in lines[:_LOOKED_AT]:
        if (found := _LEAD.match(line)) and found[3]:
            return _seconds(of_day) if (of_day := _OF_DAY.match(found[3])) else None
    return None


def _seconds(of_day: re.Match[str]) -> float:
    return int(of_day[1]) * 3600 + int(of_day[2]) * 60 + float(of_day[3])


def _clock(times: list[str], begin: float | None = None) -> _Clock:
    if not times:
        return _counted()
    if _OF_DAY.match(times[0]):
        return _times_of_day(begin)
    # With -r alone, strace prints the time since the line before, starting at 0.
    return _since_before() if any(float(time) == 0 for time in times) else _as_written


def _as_written(time: str | None) -> str:
    return "0.0" if time is None else time.strip() if "." in time else f"{time.strip()}.0"


def _counted() -> _Clock:
    count = 0

    def clock(_time: str | None) -> str:
        nonlocal count
        count += 1
        return f"{count}.0"

    return clock


def _since_before() -> _Clock:
    now = 0.0

    def clock(time: str | None) -> str:
        nonlocal now
        now += float(time or 0)
        return f"{now:.9f}"

    return clock


def _times_of_day(begin: float | None) -> _Clock:
    """Return a clock that counts from the midnight before the run. begin: when the run begins, if elsewhere."""
    last: float | None = None

    def clock(time: str | None) -> str:
        nonlocal last
        of_day = _OF_DAY.match(time or "")
        if of_day is None:
            return f"{last or 0.0:.9f}"
        now = _seconds(of_day)
        if last is None:
            # A thread that begins earlier in the day than its run began after midnight.
            now += DAY * (begin is not None and now < begin - _SLACK)
        else:
            # Threads may be slightly out of order, so only a jump back by hours starts another day.
            now += round((last - now) / DAY) * DAY
        last = now if last is None else max(last, now)
        return f"{now:.9f}"

    return clock
