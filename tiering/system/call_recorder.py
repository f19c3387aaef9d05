"""Record the system calls of a process and all its descendants inside the kernel, for under a microsecond a call.

Programs at the kernel's raw tracepoints (tiering.system.bpf) look at the end of each system call, at forks, execs, ends
and signals. A hash map holds the processes of the tree; a fork adds its child before that runs. What happened goes into
a ring, which this process empties. The processes are not stopped, so a ring that is full loses records, which are
counted.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from tiering.system import bpf
from tiering.system.call_records import BLOCK, COPIES, END, EXEC, FORK, HEAD, NUMBERS, PATH, SIGNAL, Copied
from tiering.system.kernel_types import member_offsets

_RING: Final = 32 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MOST_PROCESSES: Final = 1 << 16
#: Offsets in struct pt_regs of x86-64, B: the six arguments, the number of the call, and the code segment.
_ARGUMENTS_AT: Final = (112, 104, 96, 56, 72, 64)
_NUMBER_AT, _SEGMENT_AT = 120, 136
#: The code segment of 64-bit programs. Calls of 32-bit programs have other numbers.
_SEGMENT_64: Final = 0x33
_WHAT: Final = {"": 1, "path": 2, "paths": 3, "blocks": 4, "path and block": 5}
#: SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU: the signals that ask a process to end.
_ASKING: Final = (1, 2, 3, 15, 24)
_NO_WAKING: Final = 1
_FROM_HERE: Final = 1  # SEEK_CUR
_ANONYMOUS: Final = 0x20  # MAP_ANONYMOUS
_LOST, _FOREIGN = 0, 8
_FIRST_NAMESPACE: Final = "pid:[4026531836]"


class CallRecorder:
    """Records calls while it is open. Use it as a context manager.

    The records are described in tiering.system.call_records.
    """

    def __init__(self) -> None:
        """Start recording, of no process yet.

        Raises:
            OSError: If this system cannot, or may not; the message says which.
        """
        if platform.machine() != "x86_64":
            raise OSError(errno.ENOSYS, f"it is made for x86-64, and this is {platform.machine()}")
        if Path("/proc/self/ns/pid").readlink() != Path(_FIRST_NAMESPACE):
            raise OSError(errno.EPERM, "in a container with process numbers of its own the kernel's are others")
        self._fds: list[int] = []
        try:
            self._start()
        except BaseException:
            self._close_all()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_all()
        self.ring.close()
        self._bells.close()

    def follow(self, processes: Iterable[int]) -> None:
        """Record these processes from now on, and what they fork."""
        for pid in processes:
            bpf.update(self._tree, struct.pack("<I", pid), struct.pack("<I", 1))

    def leave(self, pid: int) -> None:
        """Stop recording a process, or forget one that has ended."""
        with suppress(FileNotFoundError):
            bpf.remove(self._tree, struct.pack("<I", pid))

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the ring is half full."""
        return self._bell.fd

    def drain(self, handle: Callable[[memoryview], int]) -> None:
        """Hand the records so far to a function, as `bpf.Ring.drain` does."""
        self._bells.drain(len)
        self.ring.drain(handle)

    def take(self) -> bytes:
        """Remove and return the records so far, for `bpf.records_of`."""
        parts: list[bytes] = []

        def keep(there: memoryview) -> int:
            parts.append(bytes(there[: bpf.finished(there)]))
            return len(parts[0])

        self.drain(keep)
        return parts[0]

    def lost(self) -> tuple[int, int]:
        """Return how many records did not fit into the ring, and how many calls of 32-bit programs were left out."""
        lost, foreign = struct.unpack("<QQ", bpf.value_of(self._counts, bytes(4)))
        return lost, foreign

    def _start(self) -> None:
        offsets = member_offsets({"task_struct": ("pid", "tgid", "exit_code"), "linux_binprm": ("filename",)})
        self._tree = self._map("hash", _MOST_PROCESSES, 4, 4)
        self._kinds = self._map("array", 512, 4, 4)
        self._counts = self._map("array", 1, 4, 16)
        self._scratch = self._map("array per processor", 1, 4, HEAD + 2 * PATH)
        self._out = self._map("ring", _RING)
        self._bell = self._map("ring", _PAGE)
        self.ring, self._bells = bpf.Ring(self._out, _RING), bpf.Ring(self._bell, _PAGE)
        for number, copied in COPIES.items():
            bpf.update(self._kinds, struct.pack("<I", number), struct.pack("<I", _kind(copied)))
        programs = (
            ("sched_process_fork", self._forks(offsets["task_struct.pid"], offsets["task_struct.tgid"])),
            ("sched_process_exit", self._ends(offsets["task_struct.exit_code"])),
            ("sched_process_exec", self._executions(offsets["linux_binprm.filename"])),
            ("signal_deliver", self._signals()),
            ("sys_exit", self._calls()),
        )
        numbers = bpf.tracepoint_types(name for name, _ in programs)
        for tracepoint, program in programs:
            self._fds.append(bpf.attach(program, numbers[tracepoint]))

    def _map(self, kind: bpf.MapKind, entries: int, key: int = 0, value: int = 0) -> bpf.Map:
        try:
            made = bpf.create_map(kind, entries, key, value)
        except OSError as error:
            if error.errno == errno.EINVAL and kind == "ring":
                raise OSError(errno.ENOSYS, f"it takes Linux 5.8, and this is {platform.release()}") from error
            raise
        self._fds.append(made.fd)
        return made

    def _close_all(self) -> None:
        # The programs first, then what they use.
        for fd in reversed(self._fds):
            os.close(fd)
        self._fds.clear()

    def _begun(self, program: bpf.Program) -> bpf.Program:
        """Begin a record: leave unless the process is in the tree; register 9: scratch with a head. 6 and 7 stay."""
        program.call("process and thread").move(8, 0).move(1, 0).shift_right(1, 32).store(10, -4, 1, 4)
        program.find(self._tree, -4, "out").store_number(10, -8, 0).find(self._scratch, -8, "out").move(9, 0)
        return program.store(9, 8, 8)

    def _ended(self, program: bpf.Program) -> bpf.Program:
        """End a program at the label "put": send what is in the scratch, register 8 bytes of it."""
        program.label("put").call("ktime").store(9, 0, 0)
        program.use(1, self._out).set(2, 0).call("ask ring").jump_if(0, "<", _RING // 2, "quiet")
        program.use(1, self._bell).move(2, 9).set(3, 8).set(4, 0).call("put into ring").label("quiet")
        program.use(1, self._out).move(2, 9).move(3, 8).set(4, _NO_WAKING).call("put into ring")
        program.jump_if(0, "==", 0, "out").store_number(10, -8, 0).find(self._counts, -8, "out").count(0, _LOST)
        return program.label("out").set(0, 0).leave()

    def _special(self, kind: int) -> bpf.Program:
        program = self._begun(bpf.Program().move(6, 1))
        return program.store_number(9, 16, kind, 8).store_number(9, 24, 0, 8).set(8, HEAD)

    def _forks(self, pid_at: int, tgid_at: int) -> bpf.Program:
        program = self._special(FORK).load(7, 6, 8)
        program.store_number(9, 32, 0, 8)
        program.move(1, 9, 24).set(2, 4).move(3, 7, pid_at).call("copy kernel")
        program.move(1, 9, 32).set(2, 4).move(3, 7, tgid_at).call("copy kernel")
        program.store_number(10, -8, 1)
        program.use(1, self._tree).move(2, 9, 32).move(3, 10, -8).set(4, 0).call("update")
        return self._ended(program)

    def _ends(self, code_at: int) -> bpf.Program:
        program = self._special(END).load(3, 6)
        program.move(1, 9, 24).set(2, 4).move(3, 3, code_at).call("copy kernel")
        return self._ended(program)

    def _executions(self, name_at: int) -> bpf.Program:
        program = self._special(EXEC).load(3, 6, 16)
        program.move(1, 10, -16).set(2, 8).move(3, 3, name_at).call("copy kernel")
        program.move(1, 9, HEAD).set(2, PATH).load(3, 10, -16).call("copy kernel string")
        self._with_length(program)
        return self._ended(program)

    def _signals(self) -> bpf.Program:
        program = self._special(SIGNAL).load(1, 6).store(9, 24, 1)
        for number in _ASKING:
            program.jump_if(1, "==", number, "put")
        program.jump("out")
        return self._ended(program)

    def _calls(self) -> bpf.Program:
        # Most calls mean nothing. They are told first, by what takes the least. Register 6: context, 7: registers.
        program = bpf.Program().move(6, 1).load(1, 6, 8).jump_if(1, "signed <", 0, "out").load(7, 6)
        program.load(1, 7, _SEGMENT_AT).jump_if(1, "!=", _SEGMENT_64, "foreign")
        program.load(8, 7, _NUMBER_AT).store(10, -8, 8, 4)
        program.find(self._kinds, -8, "out").load(1, 0, 0, 4).jump_if(1, "==", 0, "out").store(10, -16, 1)
        # Programs ask where they are (lseek by 0 from here) as often as they open a file, and for memory (mmap of no
        # file) as often as they decode one. Neither means anything.
        program.jump_if(8, "==", NUMBERS["mmap"], "map").jump_if(8, "!=", NUMBERS["lseek"], "kept")
        program.load(1, 7, _ARGUMENTS_AT[2]).jump_if(1, "!=", _FROM_HERE, "kept")
        program.load(1, 7, _ARGUMENTS_AT[1]).jump_if(1, "==", 0, "out").jump("kept")
        program.label("map").load(1, 7, _ARGUMENTS_AT[3]).mask(1, _ANONYMOUS).jump_if(1, "!=", 0, "out").label("kept")
        self._begun(program)
        program.load(1, 7, _NUMBER_AT).store(9, 16, 1).load(1, 6, 8).store(9, 24, 1)
        for number, at in enumerate(_ARGUMENTS_AT):
            program.load(1, 7, at).store(9, 32 + 8 * number, 1)
        program.load(7, 10, -16)
        # Register 6: where the second pointer is, 7: what to copy, 8: the length of the record.
        program.move(8, 7).shift_right(8, 24).mask(8, 0x7F).move(1, 7).mask(1, 0xFF).jump_if(1, "==", _WHAT[""], "put")
        program.move(2, 7).shift_right(2, 8).mask(2, 0x38).add(2, 9).load(3, 2, 32)
        program.move(6, 7).shift_right(6, 16).mask(6, 0x38).add(6, 9).load(6, 6, 32).move(7, 1)
        program.move(1, 9, HEAD).jump_if(7, "==", _WHAT["blocks"], "blocks").set(2, PATH).call("copy user string")
        program.jump_if(7, "!=", _WHAT["path"], "second")
        self._with_length(program)
        program.jump("put").label("second").set(8, HEAD + PATH + BLOCK).move(3, 6).move(1, 9, HEAD + PATH)
        program.jump_if(7, "==", _WHAT["paths"], "second path").set(2, BLOCK).call("copy user").jump("put")
        program.label("second path").set(8, HEAD + 2 * PATH).set(2, PATH).call("copy user string").jump("put")
        program.label("blocks").set(2, BLOCK).call("copy user")
        program.move(1, 9, HEAD + BLOCK).set(2, BLOCK).move(3, 6).call("copy user")
        program.set(8, HEAD + 2 * BLOCK).jump("put")
        self._begun(program.label("foreign")).store_number(10, -8, 0).find(self._counts, -8, "out").count(
            0, _FOREIGN
        ).jump("out")
        return self._ended(program)

    @staticmethod
    def _with_length(program: bpf.Program) -> None:
        """Set register 8 to the length of a record with a path, of which register 0 is the length or an error."""
        program.set(8, HEAD).jump_if(0, "signed <", 0, "put").jump_if(0, ">", PATH, "put").add(8, 0)


def _kind(copied: Copied) -> int:
    return _WHAT[copied.what] | copied.first * 8 << 8 | copied.second * 8 << 16 | copied.head << 24
