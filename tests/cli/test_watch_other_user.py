"""`tiering watch` through the command line, as a user without rights, of jobs of the same user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import warm
from tests.cli.failures import error_line
from tiering.system.accessed_bits import used_maps
from tiering.trace.profile import profile_trace

NOBODY = 65534
#: What a job does first: it imports what it needs, and becomes the other user, as whom it could not. Then it says so.
AS_NOBODY = f"""
import ctypes, mmap, os, resource, sys, threading, time
resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""
READY = "\nprint('ready', flush=True)\nsys.stdin.readline()\n"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the other user may write to; those of pytest are closed to it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        (Path(name) / "data").write_bytes(os.urandom(4_000_000))
        yield Path(name)


@contextmanager
def job(before: str, after: str = "", *words: object, user: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Run a program as the other user. It does something, says that it is ready, waits for a line, and goes on."""
    code = (AS_NOBODY if user else "import sys") + before + READY + after
    command = [sys.executable, "-S", "-c", code, *map(str, words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def begin(process: subprocess.Popen[str]) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


@contextmanager
def watching(place: Path, *words: object) -> Iterator[warm.Running]:
    """Watch as the other user, from when it has begun, as its metrics show."""
    with warm.start("watch", *words, "-o", place / "trace", "--metrics-port", 0, cwd=place, user=NOBODY) as program:
        while "Metrics: " not in program.said():
            assert program.poll() is None, program.said()
            time.sleep(0.02)
        yield program


def test_a_job_of_another_user_is_one_line_that_says_who_may_watch_it(place):
    with job("", user=False) as root:
        done = warm.run("watch", root.pid, "-o", place / "trace", cwd=place, user=NOBODY)
        line = error_line(done, 4)
        assert "user root" in line
        assert f"sudo tiering watch {root.pid}" in line
        named = warm.run("watch", "--name", f"^{sys.executable} -S -c import sys", "-o", place / "trace", user=NOBODY)
        assert "user root" in error_line(named, 4)
        assert root.poll() is None
    assert os.listdir(place) == ["data"]


def test_a_job_that_has_just_ended_is_one_line(place):
    with job("") as process:
        process.kill()
        # It has ended, but its parent has not asked for its status yet.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        line = error_line(warm.run("watch", process.pid, "-o", place / "trace", cwd=place, user=NOBODY), 2)
        assert "it has ended" in line
    assert os.listdir(place) == ["data"]


@pytest.mark.parametrize("after", [0.0, 0.01, 0.03, 0.1])
def test_a_job_that_ends_while_the_watch_begins_is_one_line_or_a_whole_trace(place, after):
    with job("", f"time.sleep({after})") as process:
        with warm.start("watch", process.pid, "-o", place / "trace", cwd=place, user=NOBODY) as program:
            begin(process)
            assert process.wait() == 0
            program.wait()
        out, err = program.communicate()
    done = subprocess.CompletedProcess([], program.returncode, out, err)
    if program.returncode == 0:
        assert profile_trace(place / "trace").bytes_read < 100_000
    else:
        assert f"process {process.pid}" in error_line(done, 2)
        assert os.listdir(place) == ["data"]


READ_ALL = "print(len(open(sys.argv[1], 'rb').read()), flush=True); sys.stdin.readline()"


def test_a_number_that_is_given_away_again_is_not_watched_on(place):
    last = Path("/proc/sys/kernel/ns_last_pid")
    with job("") as first, watching(place, first.pid) as program:
        # While the watcher is stopped, the job ends, and another one gets its number.
        os.kill(program.pid, signal.SIGSTOP)
        first.kill()
        first.wait()
        for _ in range(200):
            last.write_text(str(first.pid - 1))
            with job("", READ_ALL, place / "data") as second:
                if second.pid != first.pid:
                    continue
                begin(second)
                assert second.stdout.readline() == "4000000\n"
                os.kill(program.pid, signal.SIGCONT)
                assert program.wait(60) == 0
                assert second.poll() is None
                break
        else:
            raise AssertionError("the number was never given away again")
    assert profile_trace(place / "trace").bytes_read < 100_000


CROWD = """
files = [open(sys.argv[1], "rb") for _ in range(10_000)]
threading.stack_size(1 << 16)
for _ in range(2_000):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
"""


def test_two_thousand_threads_and_ten_thousand_open_files_are_watched(place):
    with job(CROWD, READ_ALL, place / "data") as process:
        words = ("watch", process.pid, "--for", "1s", "--json", "-o", place / "trace")
        with warm.start(*words, cwd=place, user=NOBODY) as program:
            begin(process)
            assert process.stdout.readline() == "4000000\n"
            program.wait(60)
        out, err = program.communicate()
        assert process.poll() is None
    assert program.returncode == 0, err
    *looks, last = map(json.loads, out.splitlines())
    assert looks
    assert {look["processes"][0]["threads"] for look in looks[-1:]} == {2_001}
    assert last["seconds"] < 10


MAPPED = """
file = open(sys.argv[1], "rb")
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
for at in range(0, len(mapped), 4096):
    mapped[at]
"""
#: Lines of /proc/PID/status that count what the process itself does, and its memory, which the kernel counts late.
_COUNTS = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches", "Vm", "Rss", "State")


def state(pid: int) -> dict[str, object]:
    """Return all that somebody could change of a process that sleeps."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    assert not any(line.startswith(("State:\tT", "State:\tt")) for line in lines)
    found: dict[str, object] = dict(line.split(":", 1) for line in lines if not line.startswith(_COUNTS))
    found |= {name: Path(f"/proc/{pid}/{name}").read_bytes() for name in ("oom_score_adj", "limits", "maps", "environ")}
    found["files"] = sorted((each.name, str(each.readlink())) for each in Path(f"/proc/{pid}/fd").iterdir())
    found["threads"] = sorted(each.name for each in Path(f"/proc/{pid}/task").iterdir())
    return found | {"policy": os.sched_getscheduler(pid), "nice": os.getpriority(os.PRIO_PROCESS, pid)}


def used(pid: int, path: Path) -> int:
    """Return the B of a mapped file whose accessed bits are set."""
    return sum(each.used for each in used_maps(pid, str(path).__eq__))


def test_the_job_is_not_traced_nor_stopped_nor_changed(place):
    with job(MAPPED, "", place / "data") as process:
        before, bits = state(process.pid), used(process.pid, place / "data")
        assert bits > 3_900_000
        assert before["TracerPid"].strip() == "0"
        with watching(place, process.pid, "--for", "1s") as program:
            while program.poll() is None:
                assert state(process.pid) == before
                time.sleep(0.02)
        assert program.returncode == 0
        assert used(process.pid, place / "data") == bits
        # Only if it is asked for are the bits cleared, and nothing else even then.
        with watching(place, process.pid, "--for", "0.6s", "--warm-maps"):
            pass
        assert used(process.pid, place / "data") == 0
        assert state(process.pid) == before
