"""Watching jobs from outside: real processes, as root and as another user."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
import pytest

from tests.trace.watching.unprivileged import PAGE
from tiering.errors import InputError, UsageError
from tiering.system.process_files import Identity, stat_of
from tiering.system.process_tree import ProcessTree
from tiering.trace.capturing.running import held
from tiering.trace.profile import profile_trace
from tiering.trace.watching.watch import watch
from tiering.units import parse_bytes

PAGES = 2_000
#: Waits until somebody watches.
_WAIT = "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\n"


def command(code: str, *words: object) -> list[str]:
    """Return a command that runs a program which starts in 20 ms."""
    return [sys.executable, "-S", "-c", code, *map(str, words)]


@contextmanager
def job(code: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program that waits for a line before its first step."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command(_WAIT + code, *words), text=True, **streams) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def begin(process: subprocess.Popen[str]) -> None:
    """Let a program begin, if it has not begun."""
    with suppress(ValueError, BrokenPipeError):
        process.stdin.write("\n")
        process.stdin.close()


@pytest.fixture(scope="module")
def big():
    # The directories of pytest are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        file = directory / "big"
        file.write_bytes(os.urandom(PAGES * PAGE))
        with file.open("rb") as opened:
            # Pages that wait to be written cannot be dropped from memory.
            os.fdatasync(opened.fileno())
        yield file


def reads_of(trace, file) -> pl.DataFrame:
    return pl.read_parquet(trace).filter(pl.col("path") == str(file), pl.col("op") == "read")


COLD = """
import mmap, os, sys
file = open(sys.argv[1], "rb")
os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
mapped.madvise(mmap.MADV_RANDOM)
for page in range(0, len(mapped) // 4096, 3):
    mapped[page * 4096]
"""


def test_the_pages_of_a_mapped_file_that_a_running_job_touches_are_the_reads_of_its_trace(big, tmp_path):
    with job(COLD, big) as process:
        made = watch(process.pid, tmp_path / "t", on_look=lambda _: begin(process))
    reads = reads_of(tmp_path / "t", big)
    assert sorted(reads["offset"]) == [page * PAGE for page in range(0, PAGES, 3)]
    assert set(reads["size"]) == {PAGE}
    assert {source.name for source in made.sources if source.used} >= {"page faults"}
    assert made.status is None
    assert "it was watched from outside, which shows a part of a run" in profile_trace(tmp_path / "t").gaps


WORKERS = (
    COLD.split("mapped = ", maxsplit=1)[0]
    + """
for epoch in range(2):
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    workers = []
    for worker in range(3):
        if not (pid := os.fork()):
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            mapped.madvise(mmap.MADV_RANDOM)
            for page in range(worker, len(mapped) // 4096, 3):
                mapped[page * 4096]
            os._exit(0)
        workers.append(pid)
    for pid in workers:
        os.waitpid(pid, 0)
"""
)


def test_workers_that_come_and_go_are_followed(big, tmp_path):
    watch(command(WORKERS, big), tmp_path / "t")
    reads = reads_of(tmp_path / "t", big)
    pages = reads.select(page=pl.int_ranges(pl.col("offset") // PAGE, (pl.col("offset") + pl.col("size")) // PAGE))
    assert sorted(pages.explode("page")["page"]) == sorted(2 * list(range(PAGES)))
    assert reads["pid"].n_unique() == 6
    profile = profile_trace(tmp_path / "t")
    assert profile.epochs == pytest.approx(2, rel=0.02)


REMAPPED = """
import mmap, os, sys
for number in range(40):
    file = open(sys.argv[1 + number % 2], "rb")
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        mapped[number * 65536]
"""


def test_maps_that_take_each_others_place_are_told_apart(big, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(big.read_bytes())
    watch(command(REMAPPED, big, other), tmp_path / "t")
    for file, first in ((big, 0), (other, 1)):
        assert sorted(reads_of(tmp_path / "t", file)["offset"]) == [65536 * at for at in range(first, 40, 2)]


SILENT = """
import os, sys
def read(size):
    with open(sys.argv[1], "rb") as file:
        file.read(size)
read(2_000_000)
for number in range(5):
    if not (pid := os.fork()):
        read(1_000_000)
        os._exit(0)
    os.waitpid(pid, 0)
open(sys.argv[2], "wb").write(bytes(500_000))
"""


def test_the_bytes_of_children_count_once(big, tmp_path):
    watch(command(SILENT, big, tmp_path / "out"), tmp_path / "t")
    moved = pl.read_parquet(tmp_path / "t").group_by("op").agg(pl.col("size").sum())
    sums = dict(moved.rows())
    # Python itself reads some kB to start.
    assert 7_000_000 <= sums["read"] < 8_000_000
    assert sums["write"] == pytest.approx(500_000, abs=1_000)


ON_AND_ON = """
import sys, time
with open(sys.argv[1], "rb", buffering=0) as file:
    while file.read(100_000):
        time.sleep(0.02)
"""


def test_a_file_that_is_read_on_and_on_has_offsets(big, tmp_path):
    with job(ON_AND_ON, big) as process:
        watch(process.pid, tmp_path / "t", on_look=lambda _: begin(process))
    placed = reads_of(tmp_path / "t", big).filter(pl.col("offset").is_not_null())
    assert placed["offset"][0] == 0
    assert (placed["offset"] + placed["size"])[:-1].to_list() == placed["offset"][1:].to_list()
    assert placed["size"].sum() > 0.5 * big.stat().st_size


def test_ctrl_c_leaves_a_whole_trace(big, tmp_path):
    with job("import time; time.sleep(60)") as process:
        made = watch(process.pid, tmp_path / "t", on_look=lambda _: signal.raise_signal(signal.SIGINT))
    assert isinstance(made.interruption, KeyboardInterrupt)
    assert pl.read_parquet(tmp_path / "t").height == made.events
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_caller_leaves_the_trace_of_what_was_seen(big, tmp_path):
    def fail(_):
        begin(process)
        if process.poll() is not None:
            raise ZeroDivisionError("of the caller")

    with job(COLD, big) as process, pytest.raises(ZeroDivisionError, match="of the caller"):
        watch(process.pid, tmp_path / "t", on_look=fail)
    assert len(reads_of(tmp_path / "t", big)) == len(range(0, PAGES, 3))
    assert os.listdir(tmp_path) == ["t"]


def test_a_job_that_is_killed_leaves_a_whole_trace(big, tmp_path):
    with job("import time; time.sleep(60)") as process:
        made = watch(process.pid, tmp_path / "t", on_look=lambda _: process.kill())
    assert made.interruption is None
    assert pl.read_parquet(tmp_path / "t").height == made.events


def test_a_command_gets_signals_and_its_status_is_returned(tmp_path):
    waits = "import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7)); time.sleep(60)"
    made = watch(command(waits), None, on_look=lambda _: signal.raise_signal(signal.SIGUSR1))
    assert made.status == 7
    assert made.path is None


@pytest.mark.parametrize(
    ("target", "found"),
    [(2**22 + 1, "no such process"), (None, "the watcher itself"), ("no-such-job-[0-9]{9}", "no process is like")],
)
def test_a_process_that_is_not_there_is_one_error(target, found):
    with pytest.raises(UsageError, match=found):
        watch(os.getpid() if target is None else target, None)


def test_several_jobs_of_one_name_are_listed():
    with job("'one of several'") as one, job("'one of several'") as other:
        with pytest.raises(UsageError, match="found 2") as raised:
            watch("one of several", None)
        assert str(one.pid) in str(raised.value)
        assert str(other.pid) in str(raised.value)


def test_a_number_that_was_given_away_again_is_not_followed():
    with job("") as process:
        stat = stat_of(process.pid)
        assert ProcessTree([stat.identity]).look().alive.keys() == {process.pid}
        assert ProcessTree([Identity(process.pid, stat.started - 1)]).look().alive == {}


def test_orphans_stay_followed(tmp_path):
    orphan = "import os, time\nif not os.fork():\n    time.sleep(1)\n    open(__import__('sys').argv[1]).read()"
    made = watch(command(orphan, __file__), tmp_path / "t")
    assert made.seconds > 0.9


CROWD = """
import sys, threading, time
files = [open(sys.argv[1]) for _ in range(int(sys.argv[2]))]
threads = [threading.Thread(target=time.sleep, args=(60,), daemon=True) for _ in range(int(sys.argv[3]))]
for thread in threads:
    thread.start()
"""


@pytest.mark.parametrize(("files", "threads"), [(1_000, 200), pytest.param(10_000, 2_000, marks=pytest.mark.slow)])
def test_many_files_and_threads_are_watched_within_the_share(tmp_path, files, threads):
    code = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({files + 100}, {files + 100}))\n"
    looks = []
    with job(code + "\n" + CROWD + "print('there', flush=True); time.sleep(60)", __file__, files, threads) as process:
        begin(process)
        process.stdout.readline()
        made = watch(process.pid, tmp_path / "t", seconds=2, on_look=looks.append)
    assert looks
    seen = [sum(look.processes[0].threads.values()) for look in looks if look.processes[0].samples]
    assert seen == [pytest.approx(threads + 1, rel=0.1)] * len(seen)
    assert made.seconds < 10


@pytest.fixture(scope="module")
def unprivileged(big):
    program = [sys.executable, "-m", "tests.trace.watching.unprivileged", str(big.parent)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_another_user_sees_the_same_of_mapped_files_as_root(unprivileged):
    third = len(range(0, PAGES, 3)) * PAGE
    # A byte through a pipe is counted, too.
    assert third <= unprivileged["root"]["unique"] <= third + 10
    assert third <= unprivileged["nobody"]["unique"] <= third + 10
    assert unprivileged["nobody"]["opens"] is None


def test_jobs_of_others_are_one_error_that_says_who_may_watch_them(unprivileged):
    assert unprivileged["of_root"]["exit_code"] == 4
    assert "user root" in unprivileged["of_root"]["error"]
    assert "sudo" in unprivileged["of_root"]["error"]


def test_where_the_kernel_refuses_page_faults_the_rest_is_watched_and_that_is_said(unprivileged):
    assert "seccomp" in unprivileged["seccomp"]["sources"]["page faults"]
    assert unprivileged["seccomp"]["sources"]["byte totals"] == ""


WARM = """
import mmap, random, sys, time
path, order, item, epochs, seconds = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
file = open(path, "rb")
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
for page in range(0, len(mapped), 4096):
    mapped[page]
print("warm", flush=True)
sys.stdin.readline()
items = list(range(len(mapped) // item))
begin, done = time.monotonic(), 0
for epoch in range(epochs):
    if order == "random":
        random.shuffle(items)
    for number in items:
        mapped[number * item : number * item + item]
        done += 1
        early = begin + done * seconds / epochs / len(items) - time.monotonic()
        if early > 0.001 and (order != "bursts" or number == items[-1]):
            time.sleep(early)
time.sleep(1.5)
"""


@pytest.fixture(scope="module")
def written_at_once(tmp_path_factory):
    """A file of 64 MiB, which most file systems keep and map in pieces of 2 MiB."""
    file = tmp_path_factory.mktemp("written") / "at_once"
    with file.open("wb", buffering=0) as opened:
        for _ in range(8):
            opened.write(os.urandom(8 << 20))
        os.fdatasync(opened.fileno())
    return file


@pytest.mark.parametrize(
    ("name", "order", "item", "epochs", "seconds"),
    [
        ("big", "in order", PAGE, 3, 3),
        ("written_at_once", "random", 110_000, 8, 3),
        ("big", "bursts", PAGE, 8, 3),
        pytest.param("big", "random", 110_000, 200, 3, marks=pytest.mark.slow),
        pytest.param("big", "random", PAGE, 3, 12, marks=pytest.mark.slow),
        pytest.param("written_at_once", "in order", 110_000, 4, 6, marks=pytest.mark.slow),
    ],
)
def test_epochs_over_a_map_that_stays_in_memory_are_counted_within_the_stated_error(
    request, tmp_path, name, order, item, epochs, seconds
):
    file = request.getfixturevalue(name)
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command(WARM, file, order, item, epochs, seconds), text=True, **streams) as process:
        process.stdout.readline()
        made = watch(process.pid, tmp_path / "t", warm_maps=True, on_look=lambda _: begin(process))
    assert "accessed bits" in {source.name for source in made.sources if source.used}
    found = reads_of(tmp_path / "t", file)["size"].sum()
    profile = profile_trace(tmp_path / "t")
    assert profile.mapped_seen
    read = file.stat().st_size // item * item * epochs
    # However seldom a busy machine lets the watcher look.
    assert 0 < found <= 1.01 * read or name == "written_at_once"
    assert found + profile.bytes_mapped_unsure >= 0.98 * read


SMALL = """
import mmap, os, sys
for number in range(300):
    with open(f"{sys.argv[1]}/{number}", "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            mapped[0]
"""


def test_of_small_mapped_files_no_more_is_read_at_least_than_is_counted(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    for number in range(300):
        (files / str(number)).write_bytes(bytes(5_000 if number % 2 else 100))
    with job(SMALL, files) as process:
        made = watch(process.pid, tmp_path / "t", on_look=lambda _: begin(process))
    (sizes,) = (re.findall(r"[\d.]+ [kM]?B", note) for note in made.notes if "Page faults show" in note)
    counted, least, most = (parse_bytes(size) for size in sizes[:3])
    assert 0 < least <= counted <= most


def test_a_watch_too_short_to_read_accessed_bits_twice_says_that_it_knows_nothing(big, tmp_path):
    words = command(WARM, big, "in order", PAGE, 3, 3)
    with subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        made = watch(process.pid, tmp_path / "t", seconds=0.1, warm_maps=True, on_look=lambda _: begin(process))
        process.kill()
    assert any("read only once" in note for note in made.notes)
    assert profile_trace(tmp_path / "t").bytes_mapped_unsure > PAGES * PAGE


def test_another_user_sees_the_bytes_of_children_once(unprivileged):
    assert unprivileged["children"]["bytes_read"] == pytest.approx(7_000_000, abs=1_000)
    assert unprivileged["children"]["bytes_written"] == pytest.approx(500_000, abs=1_000)


def test_what_another_user_cannot_see_is_missing_and_not_zero(unprivileged):
    found = unprivileged["pread"]
    assert found["bytes_read"] == pytest.approx(20 * 4_000_000, rel=0.01)
    assert {found[name] for name in ("opens", "opens_per_file", "files", "unique", "coverage")} == {None}
    assert found["reads"] in range(20, 30)
    # From the bytes read and those of the dataset.
    assert found["epochs"] == pytest.approx(10, rel=0.01)
    assert found["reread_share"] == pytest.approx(0.9, abs=0.01)


def test_another_user_does_not_take_what_workers_send_for_data(unprivileged):
    found = unprivileged["in_worker"]
    assert 19_000_000 < found["bytes_read"] < 24_000_000
    assert found["bytes_written"] < 4_000_000
    assert any("went through pipes from workers to their parents" in note for note in found["notes"])


def test_another_user_sees_where_a_file_is_read_on_and_on(unprivileged):
    found = unprivileged["on_and_on"]
    assert found["unplaced"] < 0.3 * found["bytes_read"]


ODD_NAMES = r"""
import os
os.chdir(sys.argv[1])
os.mkdir(b"directory\xfe")
os.chdir(b"directory\xfe")
for name in (b"bytes\xff", b"octal\\777", b"line\nend", b"control\x1b[2J"):
    file = open(name, "w+b", buffering=0)
    file.write(bytes(100_000))
    file.seek(0)
    while file.read(10_000):
        pass
    kept = globals().setdefault("kept", [])
    kept.append(file)
"""


def test_names_that_are_no_text_are_recorded_with_escapes(tmp_path):
    trace = tmp_path / "trace.parquet"
    with job(ODD_NAMES + "sys.stdin.read()\nimport time\ntime.sleep(60)", tmp_path) as process:
        watch(process.pid, trace, seconds=1.5, on_look=lambda look: begin(process))
    paths = pl.read_parquet(trace)["path"].drop_nulls().to_list()
    assert any(path.endswith(r"directory\xfe/bytes\xff") for path in paths)
    assert any(path.endswith(r"octal\777") for path in paths)


def as_process(number: int, words: list[str]) -> subprocess.Popen[bytes] | None:
    """Start a command under a number that was another process's; None if somebody else takes it."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(number - 1))
    process = subprocess.Popen(words, start_new_session=True)
    if process.pid == number:
        return process
    process.kill()
    process.wait()
    return None


def test_a_group_whose_number_was_given_away_again_is_not_followed():
    with subprocess.Popen(["sh", "-c", "setsid sleep 60 & wait"]) as root:
        tree = ProcessTree([Identity(root.pid, stat_of(root.pid).started)])
        while len(alive := tree.look().alive) < 2 or max(alive.values()).group == root.pid:
            pass
        leader = max(alive)
        os.kill(leader, signal.SIGKILL)
        while tree.look().alive:
            pass
        other = next(filter(None, (as_process(leader, ["sh", "-c", "sleep 60 & wait"]) for _ in range(50))))
        try:
            assert not tree.look().came
            time.sleep(0.2)
            assert not tree.look().came
        finally:
            os.killpg(other.pid, signal.SIGKILL)
            other.wait()


HIDDEN = """
import os
from tests.trace.watching.unprivileged import drop_privileges
from tiering.system.process_files import stat_of
from tiering.system.process_tree import ProcessTree
from tiering.errors import UsageError
from tiering.trace.watching.target import found_process
drop_privileges()
print(list(ProcessTree([stat_of(os.getpid()).identity]).look().alive) == [os.getpid()])
try:
    found_process("init")
except UsageError as error:
    print(error.found)
"""


def test_where_the_system_hides_the_processes_of_others_ones_own_are_watched():
    hide = 'mount -t proc -o hidepid=1 proc /proc && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", hide, "sh", sys.executable, "-c", HIDDEN]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "True\nno process is like 'init'\n", done.stderr


def test_a_command_that_cannot_be_watched_does_not_run_and_is_gone(tmp_path):
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    with pytest.raises(InputError, match="no such file"):
        watch(["touch", str(tmp_path / "ran")], "/proc/trace.parquet")

    def fails(command: list[str]) -> None:
        with held(command) as process:
            assert stat_of(process.pid).state == "T"
            os.getpgid(-1)

    with pytest.raises(ProcessLookupError):
        fails(["touch", str(tmp_path / "ran")])
    assert children.read_text() == before
    assert not (tmp_path / "ran").exists()
