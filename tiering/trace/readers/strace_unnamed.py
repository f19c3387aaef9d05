"""Descriptors without a path (sockets, pipes, memory and events), recognised by the calls that create them.

They get the kernel's names, as -y shows them, so that they are distinguished from files with -y and without.
"""

from __future__ import annotations

import re

from tiering.trace.readers.processes import File, OpenFile, Process
from tiering.trace.readers.strace_state import Call, Calls, Line

_PAIR = re.compile(r"\[(\d{1,10})(?:<[^>]*>+)?, (\d{1,10})(?:<[^>]*>+)?\]")
_FAMILY = re.compile(r"[AP]F_(\w+)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PASSED = re.compile(r"SCM_RIGHTS, cmsg_data=\[([^\]]*)\]")


def _one(kind: str) -> Call:
    """Return the handler of a call that returns a descriptor."""

    def call(calls: Calls, process: Process, line: Line) -> None:
        name = kind
        if kind == "socket:" and (family := _FAMILY.match(line.arguments)):
            name += family[1]
        if kind == "/memfd:" and (quoted := _QUOTED.search(line.arguments)):
            name += quoted[1]
        made = calls.files.named(name) if line.result_path is None else calls.files.annotated(line.result_path)
        process.descriptors[line.result] = OpenFile(made, None)

    return call


def _two(kind: str) -> Call:
    """Return the handler of a call that fills in two descriptors."""

    def call(calls: Calls, process: Process, line: Line) -> None:
        made: File = calls.files.named(kind)
        if (pair := _PAIR.search(line.arguments)) is not None:
            process.descriptors |= {int(fd): OpenFile(made, None) for fd in pair.groups()}

    return call


def _received(calls: Calls, process: Process, line: Line) -> None:
    """Record descriptors sent by another process. Only -y shows what they are."""
    if "SCM_RIGHTS" not in line.arguments:
        return
    for quoted in _PASSED.findall(line.arguments):
        for number in re.findall(r"(?:^|, )(\d{1,10})", quoted):
            name = f"<descriptor {number} that process {process.pid} was sent>"
            process.descriptors[int(number)] = OpenFile(calls.files.named(name), None)


_EVENTS = (
    *("eventfd", "eventfd2", "epoll_create", "epoll_create1", "timerfd_create", "signalfd", "signalfd4"),
    *("inotify_init", "inotify_init1", "fanotify_init", "userfaultfd", "pidfd_open", "perf_event_open", "bpf"),
)
UNNAMED: dict[str, Call] = (
    dict.fromkeys(("socket", "accept", "accept4"), _one("socket:"))
    | {"memfd_create": _one("/memfd:"), "recvmsg": _received}
    | dict.fromkeys(("pipe", "pipe2"), _two("pipe:"))
    | {"socketpair": _two("socket:")}
    | {name: _one(f"anon_inode:[{name.rstrip('0123456789')}]") for name in _EVENTS}
)
