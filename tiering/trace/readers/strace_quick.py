"""The calls that make up most of a trace, taken from their lines without a pattern.

A line of `strace -f -ttt -T -y` is cut at the marks between its parts. That costs a third of matching strace.py's
pattern, which decides wherever a line does not look as expected: both ways give the same events of sound lines.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from tiering.trace.readers.processes import OpenFile
from tiering.trace.readers.strace_calls import Calls, advance

#: Larger numbers are for the thorough way, which knows what is too much.
_LARGE, _LARGEST_PID, _LATEST = 1 << 50, 10**9, 1e12
_SIMPLE = frozenset({"read", "write", "close", "lseek"})


@lru_cache(maxsize=1024)
def _opening(flags: str) -> tuple[bool, bool, str | None]:
    """Say of an open's flags: whether the file is empty now, whether writes append, and the event's flags, if any."""
    mode = "w" if "O_WRONLY" in flags else "rw" if "O_RDWR" in flags else "r"
    anew = "O_TRUNC" in flags or "O_EXCL" in flags
    return anew, "O_APPEND" in flags, None if "O_DIRECTORY" in flags or "O_PATH" in flags else mode


def quick(calls: Calls) -> Callable[[str], bool]:  # noqa: C901 - a call more for each line shows
    """Make what takes a line and tells whether it dealt with it: its call is in `calls` then.

    That raises ValueError where the call makes no sense. Costs some us a line (benchmarks/tracing.py).
    """
    tree, cells, annotated = calls.tree, calls.cells, calls.files.annotated
    members, known = tree.members, calls.files.written

    def take(line: str) -> bool:  # noqa: PLR0911 - as many ways to look unlike a plain line
        head, _, rest = line.partition("(")
        body, _, after = rest.rpartition(" <")
        words = head.split()
        if len(words) != 3 or not after.endswith(">"):
            return False
        tid, clock, name = words
        arguments, _, result = body.rpartition(") = ")
        try:
            thread, when, took = int(tid), float(clock), float(after[:-1])
            if not (0 <= thread < _LARGEST_PID and 0 <= took < _LATEST and 0 <= when < _LATEST):
                return False
            if name not in _SIMPLE:
                return name == "openat" and opened(thread, when, took, arguments, result)
            number, _, annotation = arguments.partition("<")
            fd, moved = int(number), int(result)
        except ValueError:
            return False
        path, closed, arguments = annotation.partition(">")
        if not (closed and number.isdigit() and result.isdigit()) or moved > _LARGE:
            return False
        process = members.get(thread) or tree.process(thread)
        description = process.descriptors.get(fd)
        if description is None or description.file is not known.get(path):
            description = tree.descriptor(process, fd, path)
        file = description.file
        if name == "lseek":
            description.offset = moved
            if arguments == ", 0, SEEK_END":
                file.size = moved
            return True
        offset = None
        if name == "close":
            process.descriptors.pop(fd, None)
            moved = 0
        else:
            offset = advance(description, name, moved)
        cells.extend((when, name, file.identity, offset, moved, process.pid, process.group, took, file.path, None))
        return True

    def opened(thread: int, when: float, took: float, arguments: str, result: str) -> bool:
        number, _, annotation = result.partition("<")
        _, quoted, flags = arguments.rpartition('", ')
        path, fd = annotation[:-1], int(number)
        if not (annotation.endswith(">") and quoted and number.isdigit() and arguments.startswith("AT_FDCWD<")):
            return False
        if ">" in path or '>, "' not in arguments or not flags.startswith("O_"):
            return False
        process = members.get(thread) or tree.process(thread)
        file = annotated(path)
        anew, append, mode = _opening(flags)
        if anew:
            file.size = 0
        process.descriptors[fd] = OpenFile(file, 0, append)
        if mode is not None:
            cells.extend((when, "open", file.identity, None, 0, process.pid, process.group, took, file.path, mode))
        return True

    return take
