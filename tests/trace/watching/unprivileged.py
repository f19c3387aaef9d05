"""A program that drops its privileges and watches jobs of the same user; it prints what it saw as JSON.

Another user can neither execute the interpreter nor import from an environment below /root. So the jobs are forked
before anything is imported, and a first job is watched as root, which imports all that watching needs.

Run it as: python -m tests.trace.watching.unprivileged DIRECTORY
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import platform
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NOBODY = 65534
PAGE = 4096
_DUMPABLE, _NO_NEW_PRIVILEGES, _SECCOMP = 4, 38, 22
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}


def drop_privileges() -> None:
    """Become another user, whose own processes may still look at this one."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    ctypes.CDLL(None).prctl(_DUMPABLE, 1, 0, 0, 0)


def forbid_perf_events() -> None:
    """Let the kernel refuse perf_event_open(2) with EPERM, as containers do (seccomp(2))."""
    number = _PERF_EVENT_OPEN[platform.machine()]
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (0x20, 0, 0, 0),  # load the number of the call
            (0x15, 0, 1, number),  # is it the one?
            (0x06, 0, 0, 0x00050001),  # EPERM
            (0x06, 0, 0, 0x7FFF0000),  # allow
        )
    )
    text = ctypes.create_string_buffer(program)
    filter_of = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if libc.prctl(_SECCOMP, 2, ctypes.create_string_buffer(filter_of), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def forked(work: Callable[[], None], *, as_nobody: bool = True) -> tuple[int, int]:
    """Fork a job that begins when a byte arrives. Return its number, and the descriptor to write the byte to."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        if as_nobody:
            drop_privileges()
        os.read(reading, 1)
        work()
        # What a process read before its end can only be seen until then.
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    return pid, writing


def touch_every_third_page(file: Path) -> None:
    """Read one byte of each third page of a mapped file that is not in memory."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            mapped.madvise(mmap.MADV_RANDOM)
            for at in range(0, len(mapped), 3 * PAGE):
                mapped[at]


def read_in_children(file: Path, output: Path) -> None:
    """Read 2 MB, and 1 MB in each of five children one after another; write half of one."""
    _read(file, 2_000_000)
    for _ in range(5):
        child = os.fork()
        if child == 0:
            _read(file, 1_000_000)
            os._exit(0)
        os.waitpid(child, 0)
    output.write_bytes(bytes(500_000))


def _read(file: Path, size: int) -> None:
    with file.open("rb", buffering=0) as opened:
        opened.read(size)


def read_at_places(file: Path) -> None:
    """Read 4 MB 20 times with pread, which moves no position."""
    with file.open("rb", buffering=0) as opened:
        for _ in range(20):
            os.pread(opened.fileno(), 4_000_000, 4_096)


def read_on_and_on(file: Path) -> None:
    """Read a file slowly from its start to its end."""
    with file.open("rb", buffering=0) as opened:
        while opened.read(100_000):
            time.sleep(0.02)


def load_in_a_worker(file: Path) -> None:
    """Read 20 MB in a worker, which sends half of it through a pipe."""
    reading, writing = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(reading)
        with file.open("rb", buffering=0) as opened:
            for _ in range(40):
                part = os.pread(opened.fileno(), 500_000, 0)[:250_000]
                while part:
                    part = part[os.write(writing, part) :]
                time.sleep(0.05)
        os._exit(0)
    os.close(writing)
    while os.read(reading, 1 << 16):
        pass
    os.waitpid(worker, 0)


def main() -> None:
    """Watch the jobs one after another."""
    directory = Path(sys.argv[1])
    big = directory / "big"
    mapped = [forked(lambda: touch_every_third_page(big), as_nobody=nobody) for nobody in (False, True, True)]
    children = forked(lambda: read_in_children(big, directory / "out"))
    in_worker = forked(lambda: load_in_a_worker(big))
    at_places, on_and_on = forked(lambda: read_at_places(big)), forked(lambda: read_on_and_on(big))
    of_root = forked(lambda: None, as_nobody=False)
    from tiering.errors import TieringError  # noqa: PLC0415
    from tiering.trace.profile import profile_trace  # noqa: PLC0415
    from tiering.trace.watching.observation import Observation  # noqa: PLC0415
    from tiering.trace.watching.watch import watch  # noqa: PLC0415

    def watched(job: tuple[int, int], name: str) -> dict[str, object]:
        pid, begin = job
        trace = directory / f"{name}.parquet"

        moved = []

        def let_begin_and_end(look: Observation) -> None:
            moved.append(len(look.events))
            is_done = len(moved) > 2 and any(moved[1:]) and moved[-1] == 0
            if len(moved) == 1 or is_done:
                with suppress(BrokenPipeError):
                    os.write(begin, b"!")

        made = watch(pid, trace, on_look=let_begin_and_end)
        os.waitpid(pid, 0)
        profile = profile_trace(trace, dataset_bytes=8_000_000)
        figures = ("bytes_read", "bytes_written", "reads", "opens", "opens_per_file", "files", "coverage", "epochs")
        return {name: getattr(profile, name) for name in figures} | {
            "unique": profile.unique_bytes_read,
            "unplaced": profile.bytes_unplaced,
            "reread_share": profile.reread_share,
            "sources": {source.name: source.reason for source in made.sources},
            "notes": made.notes,
        }

    found = {"root": watched(mapped[0], "root")}
    drop_privileges()
    found["nobody"] = watched(mapped[1], "nobody")
    try:
        watch(of_root[0], None, seconds=0.1)
    except TieringError as error:
        found["of_root"] = {"error": str(error), "exit_code": error.exit_code}
    found |= {"children": watched(children, "children"), "pread": watched(at_places, "pread")}
    found["on_and_on"] = watched(on_and_on, "on_and_on")
    found["in_worker"] = watched(in_worker, "in_worker")
    forbid_perf_events()
    found["seccomp"] = watched(mapped[2], "seccomp")
    print(json.dumps(found))
    os.close(of_root[1])


if __name__ == "__main__":
    main()
