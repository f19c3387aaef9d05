"""Turn the records of `CallRecorder` into events, with the state that strace's reader keeps.

Frequent calls go to `call_rows`, and rare ones to the handlers of strace's reader, in its words.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable

from tiering.system import call_records as records
from tiering.system.bpf import finished, records_of
from tiering.system.inherited_files import open_files_of
from tiering.trace.capturing.call_rows import NATIVE, CallRows, words_of
from tiering.trace.capturing.kernel_words import MAKES_RING, RING, WORDS, Row, how_it_ended, path_in, signed
from tiering.trace.capturing.real_names import without_links
from tiering.trace.readers.base import Damage
from tiering.trace.readers.processes import File, OpenFile, Process
from tiering.trace.readers.strace_calls import CALLS
from tiering.trace.readers.strace_state import Calls, Line, advance
from tiering.units import counted

_HERE = -100  # AT_FDCWD
_FD = 0xFFFFFFFF
_DIRECTORY = os.O_DIRECTORY | getattr(os, "O_PATH", 0)
_SEEK_END = 2
#: What an open allows, by the last bits of its flags.
_MODES = ("r", "w", "rw", "rw")

#: Takes the first ten words of a record, what was copied, and its process.
Handler = Callable[[Row, bytes, Process], None]


class KernelCalls:
    """The processes and files of a tree as its records describe them, and the events they make.

    Attributes:
        ended: Processes that ended since the caller last cleared this.
        strange: Calls that make no sense, such as one at a place that no file has.
    """

    def __init__(self, begin: float) -> None:
        """Start with no process. begin: s since the epoch when the machine's clock of records was 0."""
        self.calls = Calls()
        self._rows = CallRows(self.calls)
        self.ended: list[int] = []
        self.strange = 0
        self._begin = begin
        self._directories: dict[int, str] = {}
        self._threads: dict[int, int] = {}
        self._how: dict[int, str] = {}
        self._unborn: set[int] = set()
        self._handlers: dict[int, Handler] = {
            records.FORK: self._fork,
            records.EXEC: self._exec,
            records.END: self._end,
            records.SIGNAL: self._signal,
        }
        for names, handler in (
            (WORDS, self._in_words),
            (("read", "readv"), self._moves("read")),
            (("write", "writev"), self._moves("write")),
            (("pread64", "preadv", "preadv2"), self._moves_at("read")),
            (("pwrite64", "pwritev", "pwritev2"), self._moves_at("write")),
            (("open", "openat2", "creat"), self._open),
            (("openat",), self._open_at),
            (("close",), self._close),
            (("lseek",), self._seek),
            (("chdir",), self._enter),
            (("fchdir",), self._enter_open),
            (("truncate",), self._truncate),
            (("unlink", "unlinkat", "rmdir"), self._unlink),
            (("rename", "renameat", "renameat2"), self._rename),
        ):
            self._handlers |= {records.NUMBERS[name]: handler for name in names}

    def start(self, pid: int, directory: str) -> None:
        """Expect a process in a directory, whose own calls begin with its exec."""
        self._unborn.add(pid)
        self._directories[pid], self._threads[pid] = directory, 1

    def join(self, pid: int, directory: str, threads: int) -> None:
        """Add a process that runs already, with the files that it has open."""
        process = self.calls.tree.process(pid)
        self._directories[pid], self._threads[pid] = directory, threads
        self._inherit(process, pid)

    def add(self, taken: bytes | memoryview) -> int:
        """Process records, as `CallRecorder.drain` hands them over. Return how many B of them are finished."""
        if NATIVE:
            return self._rows.add(taken, self._directories, self._begin, self._name, self._one)
        words = memoryview(taken).cast("Q")
        for at in records_of(taken):
            self._one(*words_of(taken, words, at))
        return finished(taken)

    def _one(self, row: Row, copied: bytes) -> None:
        pid, call = row[records.WHO] >> 32, row[records.CALL]
        process = self.calls.tree.members.get(pid) or self._born(pid, call)
        handler = self._handlers.get(call)
        if process is not None and handler is not None:
            try:
                handler(row, copied, process)
            except ValueError:
                self.strange += 1

    def _born(self, pid: int, call: int) -> Process | None:
        """Return a process that was expected and begins with this call; None of any other that is not known."""
        if pid not in self._unborn or call not in (records.EXEC, records.END):
            return None
        self._unborn.discard(pid)
        process = self.calls.tree.process(pid, begins_with_exec=call == records.EXEC)
        self._inherit(process, os.getpid(), most=3)
        return process

    def alive(self) -> list[int]:
        """Return the processes that were not seen to end."""
        return list(self._threads)

    def lose(self, pid: int) -> None:
        """Forget a process that has ended without a record of its end, before its number is given away again."""
        if pid in self._threads:
            self._gone(pid)

    def describe(self, damage: Damage) -> None:
        """Note what is missing, and which processes failed."""
        damage.gaps += self.calls.gaps()
        if self.strange:
            damage.gaps.append(f"{counted(self.strange, 'call')} at places that no file has are missing")
        damage.missing |= bool(self.calls.unseen) or bool(self.strange)
        damage.failed |= self.calls.tree.failed

    def _fork(self, row: Row, _: bytes, process: Process) -> None:
        child = row[4]
        self._threads[child] = self._threads.get(child, 0) + 1
        if child == process.pid:
            return
        self.calls.tree.forked(process.pid, child, "")
        self._directories[child] = self._directories.get(process.pid, "")
        self.calls.add(self._line(row), "fork", self.calls.files.named(f"<process {child}>"), process)

    def _exec(self, row: Row, copied: bytes, process: Process) -> None:
        self.calls.add(self._line(row), "exec", self._file(process, _HERE, path_in(copied)), process)

    def _end(self, row: Row, _: bytes, process: Process) -> None:
        pid, code = process.pid, row[records.RESULT]
        if row[records.WHO] & _FD == pid or pid not in self._how:
            self._how[pid] = how_it_ended(code)
        self._threads[pid] = self._threads.get(pid, 1) - 1
        if self._threads[pid] <= 0:
            self._gone(pid)

    def _gone(self, pid: int) -> None:
        self.calls.tree.gone(pid, self._how.pop(pid, ""))
        self.ended.append(pid)
        self._unborn.discard(pid)
        for known in (self._directories, self._threads):
            known.pop(pid, None)

    def _signal(self, row: Row, _: bytes, process: Process) -> None:
        self.calls.tree.sent(process.pid, signal.Signals(row[records.RESULT]).name)

    def _inherit(self, process: Process, pid: int, most: int | None = None) -> None:
        for fd, found in open_files_of(pid, most).items():
            append = bool(found.flags & os.O_APPEND)
            process.descriptors[fd] = OpenFile(self._named_by_kernel(found.name), found.offset, append)

    def _opened(self, process: Process, fd: int) -> OpenFile:
        """Return the open file of a descriptor; one that another process sent is looked up."""
        known = process.descriptors.get(fd)
        if known is None:
            found = open_files_of(process.pid, only=fd).get(fd)
            name = f"<descriptor {fd} of process {process.pid}>" if found is None else found.name
            # Its position now is one after this call, so where this call was is not known.
            known = process.descriptors[fd] = OpenFile(self._named_by_kernel(name), None)
        return known

    def _named_by_kernel(self, name: str) -> File:
        files = self.calls.files
        return files.named(name.removesuffix(" (deleted)")) if name.startswith("/") else files.annotated(name)

    def _file(self, process: Process, directory: int, path: str) -> File:
        if not path.startswith("/"):
            if directory == _HERE:
                base = self._directories.get(process.pid, "")
            else:
                base = self._opened(process, directory).file.path
            path = f"{base}/{path}" if base else path
        return self.calls.files.written.get(path) or self._name(path)

    def _name(self, path: str) -> File:
        file = self.calls.files.written[path] = self.calls.files.named(without_links(path))
        return file

    def _line(self, row: Row, arguments: str = "") -> Line:
        when = self._begin + row[records.TIME] / 1e9
        return Line(row[records.WHO] >> 32, when, row[4] & _FD, None, arguments, row[records.RESULT], None, None)

    def _moves(self, op: str) -> Handler:
        cells, begin = self.calls.cells, self._begin

        def handler(row: Row, _: bytes, process: Process) -> None:
            opened = process.descriptors.get(row[4] & _FD) or self._opened(process, row[4] & _FD)
            file, size = opened.file, row[records.RESULT]
            offset = advance(opened, op, size)
            when, pid, group = begin + row[records.TIME] / 1e9, process.pid, process.group
            cells.extend((when, op, file.identity, offset, size, pid, group, None, file.path, None))

        return handler

    def _moves_at(self, op: str) -> Handler:
        def handler(row: Row, _: bytes, process: Process) -> None:
            opened = self._opened(process, row[4] & _FD)
            place = row[7] if row[7] < 1 << 63 else None
            size = row[records.RESULT]
            offset = advance(opened, op, size, place)
            self.calls.add(self._line(row), op, opened.file, process, offset=offset, size=size)

        return handler

    def _open(self, row: Row, copied: bytes, process: Process) -> None:
        name, path, directory = records.NAMES[row[records.CALL]], copied, _HERE
        flags = row[records.ARGUMENTS + 1] if name == "open" else os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        if name == "openat2":
            directory, path, how = signed(row[records.ARGUMENTS]), copied[: records.PATH], copied[records.PATH :]
            flags = struct.unpack_from("<Q", how)[0] if how else 0
        self._opens(row, process, directory, path, flags)

    def _open_at(self, row: Row, copied: bytes, process: Process) -> None:
        self._opens(row, process, signed(row[records.ARGUMENTS]), copied, row[records.ARGUMENTS + 2])

    def _opens(self, row: Row, process: Process, directory: int, copied: bytes, flags: int) -> None:
        fd = row[records.RESULT]
        if copied:
            file = self._file(process, directory, path_in(copied))
        else:
            process.descriptors.pop(fd, None)
            file = self._opened(process, fd).file
        if flags & (os.O_TRUNC | os.O_EXCL):
            file.size = 0
        process.descriptors[fd] = OpenFile(file, 0, bool(flags & os.O_APPEND))
        if not flags & _DIRECTORY:
            when, pid, group = self._begin + row[records.TIME] / 1e9, process.pid, process.group
            mode = _MODES[flags & os.O_ACCMODE]
            self.calls.cells += (when, "open", file.identity, None, 0, pid, group, None, file.path, mode)

    def _close(self, row: Row, _: bytes, process: Process) -> None:
        known = process.descriptors.pop(row[4] & _FD, None)
        if known is not None:
            self.calls.add(self._line(row), "close", known.file, process)

    def _seek(self, row: Row, _: bytes, process: Process) -> None:
        opened = self._opened(process, row[4] & _FD)
        opened.offset = row[records.RESULT]
        if row[5] == 0 and row[6] == _SEEK_END:
            opened.file.size = row[records.RESULT]

    def _enter(self, _: Row, copied: bytes, process: Process) -> None:
        self._directories[process.pid] = self._file(process, _HERE, path_in(copied)).path

    def _enter_open(self, row: Row, _: bytes, process: Process) -> None:
        self._directories[process.pid] = self._opened(process, row[4] & _FD).file.path

    def _in_words(self, row: Row, copied: bytes, process: Process) -> None:
        """Leave a call to strace's handler."""
        name = records.NAMES[row[records.CALL]]
        if name in MAKES_RING:
            process.descriptors[row[records.RESULT]] = OpenFile(self.calls.files.named(RING), None)
        words = WORDS[name](row, copied)
        if words is not None:
            for fd in words.uses:
                self._opened(process, fd)
            CALLS[words.name](self.calls, process, self._line(row, words.arguments))

    def _truncate(self, row: Row, copied: bytes, process: Process) -> None:
        file = self._file(process, _HERE, path_in(copied))
        file.size = row[5]
        self.calls.add(self._line(row), "truncate", file, process)

    def _unlink(self, row: Row, copied: bytes, process: Process) -> None:
        at = signed(row[4]) if records.NAMES[row[records.CALL]] == "unlinkat" else _HERE
        file = self._file(process, at, path_in(copied))
        file.size = None
        self.calls.add(self._line(row), "unlink", file, process)

    def _rename(self, row: Row, copied: bytes, process: Process) -> None:
        at, to = (_HERE, _HERE)
        if records.NAMES[row[records.CALL]] != "rename":
            at, to = signed(row[4]), signed(row[6])
        old = self._file(process, at, path_in(copied[: records.PATH]))
        new = self._file(process, to, path_in(copied[records.PATH :]))
        new.size, old.size = old.size, None
        for opened in process.descriptors.values():
            if opened.file is old:
                opened.file = new
        self.calls.add(self._line(row), "rename", old, process)
        self.calls.add(self._line(row), "rename", new, process, flags="w")
