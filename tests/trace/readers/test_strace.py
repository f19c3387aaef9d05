"""The strace reader on hand-written lines, on recorded traces, and on damage."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.errors import TraceError
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.readers import read_trace
from tiering.trace.readers.processes import Files
from tiering.trace.readers.strace_quick import take

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"
LINES = gzip.decompress((TRACES / "train_loop.strace.gz").read_bytes()).splitlines()[2000:2400]


def events(tmp_path: Path, *lines: str, lenient: bool = False) -> pl.DataFrame:
    trace = tmp_path / "job.strace"
    trace.write_text("".join(f"{line}\n" for line in lines))
    frames = list(read_trace(trace, lenient=lenient).batches)
    return pl.concat(frames) if frames else pl.DataFrame(schema=EVENT_SCHEMA)


def moved(frame: pl.DataFrame) -> list[tuple[str, str, int | None, int]]:
    return frame.filter(pl.col("op").is_in(["read", "write"])).select("op", "path", "offset", "size").rows()


def test_a_read_knows_its_file_offset_time_and_process(tmp_path):
    frame = events(
        tmp_path,
        '7 10.000001 openat(AT_FDCWD</d>, "a.jpg", O_RDONLY|O_CLOEXEC) = 3</d/a.jpg> <0.000010>',
        '7 10.000002 read(3</d/a.jpg>, "\\377\\330) = 5"..., 4096) = 4096 <0.000020>',
        '7 10.000003 read(3</d/a.jpg>, "", 4096) = 0 <0.000001>',
        "7 10.000004 close(3</d/a.jpg>) = 0 <0.000001>",
    )
    assert frame.schema == EVENT_SCHEMA
    assert frame["op"].to_list() == ["open", "read", "read", "close"]
    assert frame["file"].n_unique() == 1
    assert frame.row(1, named=True) | {"file": 0} == {
        "time": 10.000002, "op": "read", "file": 0, "offset": 0, "size": 4096, "pid": 7, "group": 7,
        "duration": 2e-05, "path": "/d/a.jpg", "flags": None,
    }  # fmt: skip
    assert frame["offset"][2] == 4096


def test_lines_without_pids_durations_and_paths_are_read(tmp_path):
    frame = events(
        tmp_path,
        '10.1 openat(AT_FDCWD, "/d/a", O_RDONLY) = 3',
        '10.2 read(3, "abc", 3) = 3',
        '10.3 write(1, "abc", 3) = 3',
        '10.4 open("b", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 4',
        '10.5 write(4, "abc", 3) = 3',
    )
    assert moved(frame) == [("read", "/d/a", 0, 3), ("write", "<stdout>", None, 3), ("write", "b", 0, 3)]
    assert frame.filter(op="open")["flags"].to_list() == ["r", "w"]


def test_pid_prefixes_as_on_a_terminal_are_read(tmp_path):
    frame = events(
        tmp_path,
        "strace: Process 8 attached",
        '[pid     8] 10.1 openat(AT_FDCWD, "/d/a", O_RDONLY) = 3</d/a> <0.1>',
        '[pid     8] 10.2 read(3</d/a>, "abc", 3) = 3 <0.1>',
        "[pid     8] 10.3 +++ exited with 0 +++",
        "10.4 --- SIGCHLD {si_signo=SIGCHLD, si_pid=8} ---",
    )
    assert moved(frame) == [("read", "/d/a", 0, 3)]


def test_an_unfinished_call_is_completed_and_keeps_its_own_time(tmp_path):
    frame = events(
        tmp_path,
        '7 10.1 openat(AT_FDCWD, "/d/a", O_RDONLY) = 3</d/a> <0.1>',
        "7 10.2 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD} => {parent_tid=[8]}, 88) = 8 <0.1>",
        "7 10.3 read(3</d/a>,  <unfinished ...>",
        '8 10.4 pread64(3</d/a>, "x", 1, 500) = 1 <0.1>',
        '7 10.5 <... read resumed>"abc", 3) = 3 <0.2>',
        '7 10.6 read(3</d/a>, "defg", 4) = 4 <0.1>',
    )
    reads = frame.filter(op="read")
    assert reads.select("time", "offset", "size", "pid", "duration").rows() == [
        (10.3, 0, 3, 7, 0.2),
        (10.4, 500, 1, 7, 0.1),
        (10.6, 3, 4, 7, 0.1),
    ]


def test_a_call_that_strace_interrupts_with_a_remark_is_completed(tmp_path):
    frame = events(
        tmp_path,
        "10.3 read(3</d/a>, strace: Process 8 attached",
        " <unfinished ...>",
        '[pid     8] 10.4 pread64(3</d/a>, "x", 1, 500) = 1 <0.1>',
        '[pid     7] 10.5 <... read resumed>"abc", 3) = 3 <0.2>',
    )
    assert moved(frame) == [("read", "/d/a", None, 3), ("read", "/d/a", 500, 1)]
    assert set(frame["group"]) == {0}


def test_offsets_are_tracked_through_lseek_dup_and_fork(tmp_path):
    frame = events(
        tmp_path,
        '7 1.1 openat(AT_FDCWD, "/d/a", O_RDONLY) = 3</d/a>',
        "7 1.2 lseek(3</d/a>, 100, SEEK_SET) = 100",
        "7 1.3 dup(3</d/a>) = 4</d/a>",
        '7 1.4 read(4</d/a>, "", 10) = 10',
        "7 1.5 fcntl(3</d/a>, F_DUPFD_CLOEXEC, 10) = 10</d/a>",
        "7 1.6 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 8",
        '8 1.7 read(10</d/a>, "", 10) = 10',
        "8 1.8 close(3</d/a>) = 0",
        '7 1.9 read(3</d/a>, "", 10) = 10',
    )
    reads = frame.filter(op="read")
    assert reads["offset"].to_list() == [100, 110, 120]
    assert reads["pid"].to_list() == [7, 8, 7]
    assert set(reads["group"]) == {7}


def test_a_descriptor_closed_by_a_child_stays_open_in_its_parent_and_a_reopened_one_starts_at_zero(tmp_path):
    frame = events(
        tmp_path,
        '7 1.1 openat(AT_FDCWD, "/d/a", O_RDONLY) = 3',
        '7 1.2 read(3, "", 10) = 10',
        "7 1.3 vfork( <unfinished ...>",
        "8 1.4 close(3) = 0",
        '8 1.5 openat(AT_FDCWD, "/d/b", O_RDONLY) = 3',
        '8 1.6 read(3, "", 10) = 10',
        "7 1.7 <... vfork resumed>) = 8",
        '7 1.8 read(3, "", 10) = 10',
    )
    assert moved(frame) == [("read", "/d/a", 0, 10), ("read", "/d/b", 0, 10), ("read", "/d/a", 10, 10)]
    assert set(frame["group"]) == {7}


def test_appended_writes_go_to_the_end_where_it_is_known(tmp_path):
    frame = events(
        tmp_path,
        '7 1.1 openat(AT_FDCWD, "/d/log", O_WRONLY|O_CREAT|O_APPEND, 0666) = 3</d/log>',
        '7 1.2 write(3</d/log>, "x", 10) = 10',
        "7 1.3 fstat(3</d/log>, {st_mode=S_IFREG|0644, st_size=510, ...}) = 0",
        "7 1.4 lseek(3</d/log>, 0, SEEK_SET) = 0",
        '7 1.5 write(3</d/log>, "x", 10) = 10',
        '7 1.6 write(3</d/log>, "x", 10) = 10',
    )
    assert [row[2] for row in moved(frame)] == [None, 510, 520]


def test_a_copy_inside_the_kernel_is_a_read_and_a_write(tmp_path):
    frame = events(
        tmp_path,
        "7 1.1 sendfile(4<TCP:[127.0.0.1:80->127.0.0.1:9]>, 3</d/a>, [100] => [200], 100) = 100",
        "7 1.2 copy_file_range(3</d/a>, NULL, 5</d/b>, [7], 50, 0) = 50",
    )
    assert moved(frame) == [
        ("read", "/d/a", 100, 100),
        ("write", "socket:TCP", None, 100),
        ("read", "/d/a", None, 50),
        ("write", "/d/b", 7, 50),
    ]


def test_mappings_of_files_carry_length_and_sharing(tmp_path):
    frame = events(
        tmp_path,
        "7 1.1 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3</d/a>, 0x1000) = 0x7fea38745000 <0.1>",
        "7 1.2 mmap(NULL, 10, PROT_READ|PROT_WRITE, MAP_SHARED, 3</d/a>, 0) = 0x7fea38745000 <0.1>",
        "7 1.3 mmap(NULL, 10, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7fea38745000 <0.1>",
    )
    assert frame.select("op", "offset", "size", "flags").rows() == [
        ("mmap", 4096, 8192, "r"),
        ("mmap", 0, 10, "rw"),
    ]


def test_failed_calls_are_no_events(tmp_path):
    frame = events(
        tmp_path,
        '7 1.1 openat(AT_FDCWD</d>, "a", O_RDONLY) = -1 ENOENT (No such file or directory) <0.1>',
        "7 1.2 read(3</d/a>, 0x7ffe, 10) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
        "7 1.3 exit_group(0) = ?",
        "7 1.4 +++ killed by SIGKILL +++",
    )
    assert frame.is_empty()


@pytest.mark.parametrize(
    ("annotation", "path"),
    [
        ("/dev/pts/0<char 136:0>", "/dev/pts/0"),
        ("pipe:[123]", "pipe:[123]"),
        ("TCP:[127.0.0.1:80->127.0.0.1:9]", "socket:TCP"),
        ("/d/caf\\303\\251 \\74x\\76", "/d/café <x>"),
        ("/d/a->", "/d/a-"),
        ("/d/a) = 5", "/d/a) = 5"),
        ("/d/gone (deleted)", "/d/gone"),
        ("/d/gone>(deleted", "/d/gone"),
    ],
)
def test_descriptors_are_named_by_their_annotations(tmp_path, annotation, path):
    end = ")" if annotation.endswith("(deleted") else ">"
    frame = events(tmp_path, f'7 1.1 write(3<{annotation}{end}, ") = 7 <0.1>\\n", 10) = 10 <0.1>')
    assert moved(frame)[0][1] in {path, path + "-"}
    assert moved(frame)[0][3] == 10


def test_a_renamed_file_keeps_its_offset(tmp_path):
    frame = events(
        tmp_path,
        '7 1.1 openat(AT_FDCWD, "/d/a.tmp", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</d/a.tmp>',
        '7 1.2 write(3</d/a.tmp>, "x", 10) = 10',
        '7 1.3 rename("/d/a.tmp", "/d/a") = 0',
        '7 1.4 write(3</d/a>, "x", 10) = 10',
        "7 1.5 fdatasync(3</d/a>) = 0",
        '7 1.6 unlinkat(AT_FDCWD</d>, "a", 0) = 0',
    )
    assert moved(frame) == [("write", "/d/a.tmp", 0, 10), ("write", "/d/a", 10, 10)]
    assert frame["op"].to_list() == ["open", "write", "rename", "rename", "write", "sync", "unlink"]
    assert frame["path"].to_list()[-1] == "/d/a"


@pytest.mark.parametrize("pid", ["", "7  ", "[pid   123] "])
def test_times_since_the_line_before_are_added_up(tmp_path, pid):
    frame = events(
        tmp_path,
        f'{pid}     0.000000 execve("/bin/a", ["a"], 0x1 /* 1 var */) = 0 <0.1>',
        f"{pid}     0.500000 brk(NULL) = 0x55c3b1194000 <0.1>",
        f'{pid}     0.500000 read(3</d/a>, "", 10) = 10 <0.1>',
        f'{pid}     0.250000 read(3</d/a>, "", 10) = 9 <0.1>',
    )
    assert frame.select("time", "op", "size").rows() == [(0.0, "exec", 0), (1.0, "read", 10), (1.25, "read", 9)]


@pytest.mark.parametrize("part", ["", ".500000"])
@pytest.mark.parametrize("pid", ["", "7  ", "[pid   123] "])
def test_times_of_day_go_on_past_midnight(tmp_path, part, pid):
    frame = events(
        tmp_path,
        f'{pid}23:59:58{part} read(3</d/a>, "", 10) = 10 <0.1>',
        f'{pid}23:59:59{part} read(3</d/a>, "", 10) = 9 <0.1>',
        f'{pid}00:00:01{part} read(3</d/a>, "", 10) = 8 <0.1>',
        f'{pid}00:00:01{part} read(3</d/a>, "", 10) = 7 <0.1>',
    )
    assert frame["size"].to_list() == [10, 9, 8, 7]
    assert (frame["time"] - frame["time"][0]).to_list() == [0, 1, 3, 3]


def test_two_commands_in_one_trace_are_two_groups(tmp_path):
    frame = events(
        tmp_path,
        '7 1.1 execve("/bin/a", ["a"], 0x1 /* 1 var */) = 0',
        '9 1.2 execve("/bin/a", ["a"], 0x1 /* 1 var */) = 0',
        '9 1.3 read(3</d/a>, "", 10) = 10',
    )
    assert frame["group"].to_list() == [7, 9, 9]


def test_damage_in_the_middle_names_the_line(tmp_path):
    good = '7 1.1 read(3</d/a>, "", 10) = 10'
    with pytest.raises(TraceError, match=r"line 2: expected a line of strace output, found '7 1\.2 read"):
        events(tmp_path, good, '7 1.2 read(3</d/a>, "ab', good)


def test_a_lenient_reading_counts_what_it_skips(tmp_path):
    good = '7 1.1 read(3</d/a>, "", 10) = 10'
    trace = tmp_path / "job.strace"
    trace.write_text(f'{good}\n7 1.2 read(3</d/a>, "ab\nwhat?\n{good}\n')
    reading = read_trace(trace, lenient=True)
    assert sum(map(len, reading.batches)) == 2
    assert reading.skipped_lines == 2


def test_the_rest_of_a_call_that_never_began_is_damage(tmp_path):
    with pytest.raises(TraceError, match="never begun"):
        events(tmp_path, '7 1.1 read(3</d/a>, "", 10) = 10', '7 1.2 <... read resumed>"abc", 3) = 3 <0.2>')


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), keep=st.integers(0, 30))
def test_any_bytes_are_read_or_refused(tmp_path, data, keep):
    trace = tmp_path / "job.strace"
    trace.write_bytes(b"\n".join([*LINES[:keep], data]))
    for lenient in (False, True):
        try:
            reading = read_trace(trace, lenient=lenient)
            assert all(frame.schema == EVENT_SCHEMA for frame in reading.batches)
        except TraceError:
            pass


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_mutated_trace_is_read_or_refused_and_never_stops_a_lenient_reading(tmp_path, seed):
    chance = random.Random(seed)
    lines = list(LINES)
    for _ in range(chance.randrange(1, 20)):
        at = chance.randrange(len(lines))
        line = bytearray(lines[at])
        match chance.randrange(4):
            case 0:
                del line[chance.randrange(len(line) + 1) :]
            case 1 if line:
                line[chance.randrange(len(line))] = chance.choice(b'<>()"\\=0123456789 ,-\xff\x00')
            case 2:
                where = chance.randrange(len(line) + 1)
                line[where:where] = chance.choice([b"99999999999999999999", b"<", b'"', b") = 3", b"-1", b"0x"])
            case _:
                del lines[at]
                continue
        lines[at] = bytes(line)
    trace = tmp_path / "job.strace"
    trace.write_bytes(b"\n".join(lines))
    reading = read_trace(trace, lenient=True)
    for frame in reading.batches:
        assert frame.schema == EVENT_SCHEMA
        assert (frame.filter(pl.col("op").is_in(["read", "write"]))["size"] >= 0).all()
    try:
        list(read_trace(trace).batches)
    except TraceError:
        assert reading.skipped_lines > 0


def _mutated(chance: random.Random, lines: list[bytes]) -> bytes:
    """Damage some lines at single places. Not with quotes, by which a path ends: only one of both ways looks there."""
    made = list(lines)
    for _ in range(chance.randrange(1, 12)):
        at = chance.randrange(len(made))
        line = bytearray(made[at])
        where = chance.randrange(len(line) + 1)
        line[where : where + chance.randrange(4)] = chance.choice(
            [b"<", b">", b"(", b")", b" ", b") = 3", b" <0.1>", b"-1", b"0x", b"77", b"", b"\r"]
        )
        made[at] = bytes(line)
    return b"\n".join(made)


def _line_by_line(_calls, lines, first, _damage, thoroughly):
    for number, line in enumerate(lines, first):
        thoroughly(line, number)


@settings(max_examples=examples(100), derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_the_quick_way_and_the_thorough_way_give_the_same_events(tmp_path, seed):
    trace = tmp_path / "job.strace"
    trace.write_bytes(_mutated(random.Random(seed), LINES))
    found = []
    for way in (take, _line_by_line):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tiering.trace.readers.strace_quick.take", way)
            reading = read_trace(trace, lenient=True)
            found.append((pl.concat([pl.DataFrame(schema=EVENT_SCHEMA), *reading.batches]), reading.skipped_lines))
    (events_quick, skipped_quick), (events_thorough, skipped_thorough) = found
    # Damage where the quick way does not look is damage to the thorough way alone.
    assert skipped_quick <= skipped_thorough
    assert skipped_quick < skipped_thorough or events_quick.equals(events_thorough)


def test_batches_can_be_of_any_size(tmp_path, monkeypatch):
    whole = pl.concat(read_trace(TRACES / "sqlite_log.strace").batches)
    monkeypatch.setattr("tiering.trace.readers.strace._BATCH", 100)
    monkeypatch.setattr("tiering.trace.readers.strace._BLOCK", 1000)
    parts = list(read_trace(TRACES / "sqlite_log.strace").batches)
    assert len(parts) > 10
    assert pl.concat(parts).equals(whole)


def test_a_child_that_shows_up_while_several_forks_are_under_way_is_given_to_the_right_one_in_the_end(tmp_path):
    frame = events(
        tmp_path,
        '7 1.0 openat(AT_FDCWD, "/d/a", O_RDONLY) = 3',
        "7 1.1 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD} => {parent_tid=[8]}, 88) = 8",
        "8 1.2 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, stack=0x1} <unfinished ...>",
        "7 1.3 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD <unfinished ...>",
        "9 1.4 getpid() = 9",
        "7 1.5 <... clone resumed>) = 9",
        "8 1.6 <... clone3 resumed> => {parent_tid=[10]}, 88) = 10",
        "7 1.7 close(3) = 0",
        '9 1.8 read(3, "", 10) = 10',
    )
    assert moved(frame) == [("read", "/d/a", 0, 10)]
    assert frame["pid"].to_list()[-1] == 9


@pytest.mark.parametrize("named", ["</d/a>", ""])
def test_a_number_that_another_thread_is_given_before_a_close_returns_stays_open(tmp_path, named):
    frame = events(
        tmp_path,
        f'7 1.0 openat(AT_FDCWD, "/d/a", O_RDONLY) = 3{named} <0.1>',
        "7 1.1 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD} => {parent_tid=[8]}, 88) = 8 <0.1>",
        f"7 1.2 close(3{named} <unfinished ...>",
        f'8 1.3 openat(AT_FDCWD, "/d/b", O_RDONLY) = 3{named and "</d/b>"} <0.1>',
        "7 1.4 <... close resumed>) = 0 <0.1>",
        f'8 1.5 read(3{named and "</d/b>"}, "", 10) = 10 <0.1>',
        f"8 1.6 close(3{named and '</d/b>'}) = 0 <0.1>",
    )
    assert moved(frame) == [("read", "/d/b", 0, 10)]
    assert frame.filter(op="close")["path"].to_list() == ["/d/a", "/d/b"]


def test_names_that_are_forgotten_on_the_way_change_no_event(tmp_path, monkeypatch):
    lines = []
    for number in range(600):
        begun, name = 1000 + number, f"/data/{number % 300}.jpg"
        lines += [
            f'7 {begun}.1 openat(AT_FDCWD</d>, "{name}", O_RDONLY) = 3<{name}> <0.000010>',
            f'7 {begun}.2 read(3<{name}>, "x"..., 4096) = 4096 <0.000010>',
            f"7 {begun}.3 close(3<{name}>) = 0 <0.000010>",
        ]
    whole, kept = events(tmp_path, *lines), list[int]()
    forget = Files.forget
    # By blocks of a few lines, so that names are forgotten while others follow.
    monkeypatch.setattr("tiering.trace.readers.strace._BATCH", 100)
    monkeypatch.setattr("tiering.trace.readers.strace._BLOCK", 4000)
    monkeypatch.setattr("tiering.trace.readers.strace_state._NAMES", 50)
    monkeypatch.setattr(Files, "forget", lambda self, but: (forget(self, but), kept.append(len(self))))
    assert events(tmp_path, *lines).equals(whole)
    assert len(whole) == 1800
    assert len(kept) > 1
    assert max(kept) < 50
