"""The meaning of each system call in strace's output: the events it makes, and its effect on descriptors."""

from __future__ import annotations

import re
from collections.abc import Callable

from tiering.trace.readers.processes import OpenFile, Process
from tiering.trace.readers.strace_state import FORKS, Call, Calls, Line, advance
from tiering.trace.readers.strace_unnamed import UNNAMED

_QUOTED = r'"((?:[^"\\]|\\.)*)"(?:\.\.\.)?'
_DIRECTORY = r"(?:(?:AT_FDCWD|(\d+))(?:<([^>]*)>)?)?(?:, )?"
_PATH = re.compile(_DIRECTORY + _QUOTED + r"(?:, (?:\{flags=)?([\w|]+))?")
_TWO_PATHS = re.compile(_DIRECTORY + _QUOTED + ", " + _DIRECTORY + _QUOTED)
_ANNOTATED = r"(\d+)(?:<((?:->|[^>])*)>>?)?(?:\(deleted\))?"
_MAPPING = re.compile(r".*?, (\d{1,18}), ([\w|]+), ([\w|]+), " + _ANNOTATED + r", (\w{1,17})$")
_SENDFILE = re.compile(r", " + _ANNOTATED + r", (?:NULL|\[(\d+)\].*), \d+$")
_COPY = re.compile(r", (?:NULL|\[(\d+)\].*?), " + _ANNOTATED + r", (?:NULL|\[(\d+)\].*?), \d+, [\w|]+$")
_SIZE = re.compile(r"\bstx?_size=(\d+)")

STATS = frozenset({"stat", "lstat", "fstat", "stat64", "lstat64", "fstat64", "newfstatat", "statx"})


def _moves(op: str, position: Callable[[str], int | None] | None = None) -> Call:
    """Return the handler of a call that reads or writes. position: extracts an explicit offset, or is None."""

    def call(calls: Calls, process: Process, line: Line) -> None:
        opened = calls.tree.descriptor(process, line.fd, line.fd_path)
        offset = advance(opened, op, line.result, position(line.arguments) if position else None)
        calls.add(line, op, opened.file, process, offset=offset, size=line.result)

    return call


def _last(arguments: str) -> int | None:
    return int(arguments.rsplit(", ", 1)[-1], 0)


def _last_but_one(arguments: str) -> int | None:
    offset = int(arguments.rsplit(", ", 2)[-2], 0)
    return None if offset == -1 else offset


def _open(calls: Calls, process: Process, line: Line) -> None:
    parsed = _PATH.match(line.arguments)
    if parsed is None:
        raise ValueError("no path")
    flags = parsed[4] or ""
    if line.result_path is not None:
        file = calls.files.annotated(line.result_path)
    else:
        file = calls.resolve(process, line.fd if line.fd >= 0 else None, line.fd_path or parsed[2], parsed[3])
    created = "O_" not in flags  # creat has a mode here
    if created or "O_TRUNC" in flags or "O_EXCL" in flags:
        file.size = 0
    process.descriptors[line.result] = OpenFile(file, 0, "O_APPEND" in flags)
    if "O_DIRECTORY" in flags or "O_PATH" in flags:
        return
    mode = "w" if created or "O_WRONLY" in flags else "rw" if "O_RDWR" in flags else "r"
    calls.add(line, "open", file, process, flags=mode)


def _close(calls: Calls, process: Process, line: Line) -> None:
    begun = calls.closing.pop(line.tid, None)
    if begun is not None and line.fd_path is None and process.descriptors.get(line.fd) is not begun:
        # Since the call began, another thread has got the number.
        file = begun.file
    else:
        file = calls.tree.closed(process, line.fd, line.fd_path)
    calls.add(line, "close", file, process)


def _close_range(_calls: Calls, process: Process, line: Line) -> None:
    descriptors = process.descriptors
    last = int(line.arguments.split(", ")[1], 0)
    if "CLOEXEC" not in line.arguments:
        for closed in [known for known in descriptors if line.fd <= known <= last]:
            del descriptors[closed]


def _seek(calls: Calls, process: Process, line: Line) -> None:
    opened = calls.tree.descriptor(process, line.fd, line.fd_path)
    opened.offset = line.result
    if line.arguments == ", 0, SEEK_END":
        opened.file.size = line.result


def _duplicate(calls: Calls, process: Process, line: Line) -> None:
    opened = calls.tree.descriptor(process, line.fd, line.fd_path)
    if line.arguments.startswith(", F_SETFL"):
        opened.append = "O_APPEND" in line.arguments
    elif line.arguments.startswith(", F_DUPFD") or not line.arguments.startswith(", F_"):
        process.descriptors[line.result] = opened


def _map(calls: Calls, process: Process, line: Line) -> None:
    parsed = _MAPPING.match(line.arguments)
    if parsed is None or "MAP_ANONYMOUS" in parsed[3]:
        return
    opened = calls.tree.descriptor(process, int(parsed[4]), parsed[5])
    file = opened.file
    if "MAP_DENYWRITE" in parsed[3] and opened.offset == 0:
        # Only the dynamic loader maps like this, after it has read the library's header.
        calls.unseen.add("read")
    flags = "rw" if "PROT_WRITE" in parsed[2] and "MAP_SHARED" in parsed[3] else "r"
    calls.add(line, "mmap", file, process, offset=int(parsed[6], 0), size=int(parsed[1]), flags=flags)


def _send(calls: Calls, process: Process, line: Line) -> None:
    parsed = _SENDFILE.search(line.arguments)
    if parsed is None:
        raise ValueError("no second descriptor")
    origin = calls.tree.descriptor(process, int(parsed[1]), parsed[2])
    target = calls.tree.descriptor(process, line.fd, line.fd_path)
    _transfer(calls, process, line, (origin, parsed[3]), (target, None))


def _copy(calls: Calls, process: Process, line: Line) -> None:
    parsed = _COPY.search(line.arguments)
    if parsed is None:
        raise ValueError("no second descriptor")
    origin = calls.tree.descriptor(process, line.fd, line.fd_path)
    target = calls.tree.descriptor(process, int(parsed[2]), parsed[3])
    _transfer(calls, process, line, (origin, parsed[1]), (target, parsed[4]))


def _transfer(
    calls: Calls,
    process: Process,
    line: Line,
    origin: tuple[OpenFile, str | None],
    target: tuple[OpenFile, str | None],
) -> None:
    """Record a copy inside the kernel as a read and a write; the write has the duration."""
    for op, (opened, explicit), half in (
        ("read", origin, line._replace(duration=0.0)),
        ("write", target, line),
    ):
        offset = advance(opened, op, line.result, None if explicit is None else int(explicit))
        calls.add(half, op, opened.file, process, offset=offset, size=line.result)


def _fork(calls: Calls, process: Process, line: Line) -> None:
    # A thread is not a process.
    if calls.tree.forked(line.tid, line.result, line.arguments) is not process:
        calls.add(line, "fork", calls.files.named(f"<process {line.result}>"), process)


def _execute(calls: Calls, process: Process, line: Line) -> None:
    parsed = _PATH.match(line.arguments)
    if parsed is None:
        raise ValueError("no path")
    directory = line.fd if line.fd >= 0 else None
    calls.add(line, "exec", calls.resolve(process, directory, line.fd_path or parsed[2], parsed[3]), process)


def _concerns(op: str) -> Call:
    """Return the handler of a call that concerns one file, named by its path or by a descriptor."""

    def call(calls: Calls, process: Process, line: Line) -> None:
        parsed = _PATH.match(line.arguments)
        if parsed is not None and parsed[3]:
            file = calls.resolve(process, line.fd if line.fd >= 0 else None, line.fd_path or parsed[2], parsed[3])
        elif line.fd >= 0:
            file = calls.tree.descriptor(process, line.fd, line.fd_path).file
        else:
            return
        if op == "stat" and (size := _SIZE.search(line.arguments)):
            file.size = int(size[1])
        elif op == "truncate":
            file.size = int(line.arguments.rsplit(", ", 1)[-1], 0)
        elif op == "unlink":
            file.size = None
        calls.add(line, op, file, process)

    return call


def _rename(calls: Calls, process: Process, line: Line) -> None:
    parsed = _TWO_PATHS.match(line.arguments)
    if parsed is None:
        raise ValueError("no two paths")
    old = calls.resolve(process, line.fd if line.fd >= 0 else parsed[1], line.fd_path or parsed[2], parsed[3])
    new = calls.resolve(process, parsed[4], parsed[5], parsed[6])
    new.size, old.size = old.size, None
    for opened in process.descriptors.values():
        if opened.file is old:
            opened.file = new
    calls.add(line, "rename", old, process)
    calls.add(line, "rename", new, process, flags="w")


def _listed(calls: Calls, process: Process, line: Line) -> None:
    """Record that a directory was listed. That is a use of the open directory, but moves no data."""
    calls.add(line, "read", calls.tree.descriptor(process, line.fd, line.fd_path).file, process)


def _unseen(name: str) -> Call:
    """Return the handler of a call that starts transfers which no other call shows."""

    def call(calls: Calls, _process: Process, _line: Line) -> None:
        calls.unseen.add(name)

    return call


def _ring(calls: Calls, _process: Process, line: Line) -> None:
    """Record a ring that the kernel polls: unlike other rings, it works without calls of io_uring_enter.

    If strace does not print the flags, it may be such a ring.
    """
    if "flags=" not in line.arguments or "IORING_SETUP_SQPOLL" in line.arguments:
        calls.unseen.add("io_uring_setup")


CALLS: dict[str, Call] = (
    dict.fromkeys(("open", "openat", "openat2", "creat"), _open)
    | dict.fromkeys(("read", "readv"), _moves("read"))
    | dict.fromkeys(("pread64", "pread", "preadv"), _moves("read", _last))
    | dict.fromkeys(("write", "writev"), _moves("write"))
    | dict.fromkeys(("pwrite64", "pwrite", "pwritev"), _moves("write", _last))
    | {"preadv2": _moves("read", _last_but_one), "pwritev2": _moves("write", _last_but_one)}
    | {"close": _close, "close_range": _close_range, "lseek": _seek, "_llseek": _seek}
    | dict.fromkeys(("dup", "dup2", "dup3", "fcntl", "fcntl64"), _duplicate)
    | dict.fromkeys(("mmap", "mmap2"), _map)
    | dict.fromkeys(("sendfile", "sendfile64"), _send)
    | dict.fromkeys(("copy_file_range", "splice"), _copy)
    | dict.fromkeys(FORKS, _fork)
    | dict.fromkeys(("execve", "execveat"), _execute)
    | dict.fromkeys(("fsync", "fdatasync", "sync_file_range"), _concerns("sync"))
    | dict.fromkeys(STATS, _concerns("stat"))
    | dict.fromkeys(("unlink", "unlinkat", "rmdir"), _concerns("unlink"))
    | dict.fromkeys(("getdents", "getdents64"), _listed)
    | dict.fromkeys(("truncate", "ftruncate", "truncate64", "ftruncate64"), _concerns("truncate"))
    | dict.fromkeys(("rename", "renameat", "renameat2"), _rename)
    | {name: _unseen(name) for name in ("io_uring_enter", "io_submit")}
    | {"io_uring_setup": _ring}
    | UNNAMED
)
