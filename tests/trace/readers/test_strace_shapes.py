"""strace's output in the shapes that people have it in: every option gives the same events, or says what it lacks."""

from __future__ import annotations

import gzip
import itertools
import lzma
import os
import resource

import polars as pl
import pytest
import zstandard

from tiering.errors import TraceError
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.profile import profile_trace
from tiering.trace.readers import read_trace
from tiering.trace.readers.strace_lines import UNTIMED

OPEN = 'openat(AT_FDCWD, "/d/a", O_RDONLY) = 3'
READ = 'read(3, "abc"..., 4096) = 4096'
WHOLE = ("the trace does not show how it began (there is no execve of its program)", "the trace ends before it does")


def reading(tmp_path, *lines, end="\n"):
    """Read lines as strace's output; return the events, and the trace for what is said of it."""
    path = tmp_path / "job.strace"
    path.write_text("\n".join(lines) + end)
    trace = read_trace(path)
    return pl.concat([pl.DataFrame(schema=EVENT_SCHEMA), *trace.batches]), trace


def moved(events):
    return events.filter(pl.col("op").is_in(["read", "write"])).select("op", "path", "offset", "size").rows()


@pytest.mark.parametrize(
    "lead",
    [
        "7 1700000000.{0}00000 ",
        "7 1700000000.{0} ",
        "7 1700000000.{0}00000000 ",
        "7 170000000{0} ",
        "7 10:00:0{0} ",
        "7 1700000000.{0} (+     0.100000) ",
        "7 1700000000.{0} [ 257] ",
        "7 1700000000.{0} [00007f0b] ",
        "7 1700000000.{0} [00007fb502eaac47] ",
        "7 1700000000.{0} [   0] [????????????????] ",
        "7<python3> 1700000000.{0} ",
        "7<my tool> 1700000000.{0} (+ 0.1) [   0] [00007fb502eaac47] ",
        "7 /* 3 in strace's PID NS */ 1700000000.{0} ",
        "[pid     7] 1700000000.{0} ",
        "[pid     7<python3>] 1700000000.{0} ",
        "1700000000.{0} ",
        "7 ",
        "[pid 7] ",
        "",
    ],
)
def test_what_options_put_before_a_call_changes_no_event(tmp_path, lead):
    events, trace = reading(tmp_path, *(lead.format(at) + call for at, call in enumerate((OPEN, READ, READ), 1)))
    assert moved(events) == [("read", "/d/a", 0, 4096), ("read", "/d/a", 4096, 4096)]
    assert events["time"].is_sorted()
    assert trace.skipped_lines == 0


def test_seconds_between_lines_beside_times_are_left_out(tmp_path):
    events, _ = reading(tmp_path, f"7 17.5 (+     0.000000) {OPEN}", f"7 18.5 (+     1.000000) {READ}")
    assert events["time"].to_list() == [17.5, 18.5]


def test_without_times_order_stands_for_time_and_rates_are_left_out(tmp_path):
    path = tmp_path / "job.strace"
    path.write_text(f"{OPEN}\n" + 40 * f"{READ}\n" + "close(3) = 0\n")
    found = profile_trace(path)
    assert (found.untimed, found.duration, found.write_bursts, found.working_set) == (True, None, None, [])
    assert found.sequentiality == 1
    assert any("no times" in note for note in found.notes)


@pytest.mark.parametrize(
    "extra",
    [
        [" > /usr/lib/libc.so.6(read+0xd) [0xf81ad]", " > unexpected_backtracing_error [0x0]"],
        [" | 00000  7f 45 4c 46 02 01 01 03  00 00 00 00 00 00 00 00  .ELF............ |"],
        [" * 5 bytes in buffer 0", " | 00000  68 65 6c 6c 6f                                    hello            |"],
    ],
)
def test_stacks_and_buffers_are_no_damage(tmp_path, extra):
    lines = itertools.chain.from_iterable([f"7 1.{at} {call}", *extra] for at, call in enumerate((OPEN, READ)))
    assert moved(reading(tmp_path, *lines)[0]) == [("read", "/d/a", 0, 4096)]


def test_the_sums_at_the_end_are_no_damage(tmp_path):
    sums = [
        "% time     seconds  usecs/call     calls    errors syscall",
        "------ ----------- ----------- --------- --------- ----------------",
        " 60.00    0.000030          30         1           read",
        " 40.00    0.000020          20         1         1 openat",
        "------ ----------- ----------- --------- --------- ----------------",
        "100.00    0.000050          25         2         1 total",
    ]
    assert len(moved(reading(tmp_path, f"7 1.1 {OPEN}", f"7 1.2 {READ}", *sums)[0])) == 1
    with pytest.raises(TraceError, match="table of strace -c, which counts calls"):
        reading(tmp_path, *sums)


def test_what_the_command_says_between_the_lines_is_not_strace_s(tmp_path):
    events, trace = reading(
        tmp_path,
        'execve("/bin/a", ["a"], 0x7f /* 3 vars */) = 0',
        'write(2, "hello\\n", 6hello',
        ") = 6",
        "Traceback: something (or other) = 5 happened",
        'openat(AT_FDCWD, "/d/a", O_RDONLY) = 3',
        "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, stack=0x1}strace: Process 8 attached",
        " => {parent_tid=[8]}, 88) = 8",
        "[pid     8] read(3,  <unfinished ...>",
        "[pid     7] futex(0x7f, FUTEX_WAIT, 0, NULLsome more words",
        " <unfinished ...>",
        '[pid     8] <... read resumed>"abc"..., 10) = 10',
        "[pid     8] +++ exited with 0 +++",
        "<... futex resumed>) = 0",
        "+++ exited with 0 +++",
    )
    assert moved(events) == [("write", "<stderr>", None, 6), ("read", "/d/a", 0, 10)]
    assert trace.complete


@pytest.mark.parametrize(
    "lead",
    [
        "17000000{0}.1 ",
        "17000000{0} ",
        "10:00:{0} ",
        "10:00:{0}.123456 ",
        "     0.0000{0} ",
        "17000000{0}.1 (+     0.100000) ",
        "10:00:{0} [ 257] ",
        "10:00:{0} [00007fb502eaac47] ",
        "[pid     7] 10:00:{0} ",
        "[pid     7] ",
    ],
)
@pytest.mark.parametrize("words", ["\r 10%|#    | 1/10\r", " 10%|##   | ", "1/10"])
def test_a_line_behind_words_without_an_end_is_read(tmp_path, lead, words):
    first, second, third = (lead.format(at) for at in (10, 11, 12))
    events, trace = reading(tmp_path, f"{first}{OPEN}", f"{words}{second}{READ}", f"{third}{READ}")
    assert moved(events) == [("read", "/d/a", 0, 4096), ("read", "/d/a", 4096, 4096)]
    assert events["time"].is_sorted()
    assert tuple(trace.gaps) == WHOLE


def test_calls_that_cannot_be_told_from_words_are_a_gap(tmp_path):
    lines = [
        'execve("/bin/a", ["a"], 0x7f /* 3 vars */) = 0',
        OPEN,
        f" 10%|##   |{READ}",
        READ,
        "+++ exited with 0 +++",
    ]
    events, trace = reading(tmp_path, *lines)
    assert (len(moved(events)), trace.complete, len(trace.gaps)) == (1, False, 1)
    assert "1 of its calls are mixed with output of the command" in trace.gaps[0]


@pytest.mark.parametrize(
    "end",
    [
        ["7 3.1 clock_nanosleep(CLOCK_MONOTONIC, 0, {tv_sec=1, tv_nsec=1},  <detached ...>"],
        ["[pid 7] 3.1 epoll_wait(4, ^Cstrace: Process 8 detached", "strace: Process 7 detached", " <detached ...>"],
        ["strace: Process 7 detached"],
    ],
)
def test_a_capture_that_was_attached_and_detached_is_read_and_is_no_whole_run(tmp_path, end):
    lead = "7 " if end[0].startswith("7") else "[pid 7] "
    events, trace = reading(tmp_path, f"{lead}1.1 {OPEN}", f"{lead}2.1 {READ}", *end)
    assert moved(events) == [("read", "/d/a", 0, 4096)]
    assert not trace.complete
    assert set(trace.gaps) == {*WHOLE, "strace was detached from it"}


def test_a_capture_that_begins_in_the_middle_of_calls_is_read(tmp_path):
    events, trace = reading(
        tmp_path,
        f"[pid 10] 1.1 {OPEN}",
        "[pid 13] 1.2 sigaltstack(NULL, strace: Process 14 attached",
        "{ss_sp=NULL, ss_flags=SS_DISABLE, ss_size=0}) = 0",
        "[pid 12] 1.3 <... clone resumed> child_stack=0xc42, flags=CLONE_VM|CLONE_THREAD) = 14",
        "[pid 10] 1.4 read(3,  <unfinished ...>",
        "[pid 14] 1.5 restart_syscall(<... resuming interrupted futex ...>) = 0",
        '[pid 10] 1.6 <... read resumed> "x"..., 4096) = 4096',
    )
    assert moved(events) == [("read", "/d/a", 0, 4096)]
    assert not trace.complete


@pytest.mark.parametrize("torn", ['7 1.3 read(3, "ab', "7 1.3 re", "7 1.", '7 1.3 <... read resumed>"ab'])
def test_a_last_line_that_is_cut_short_is_no_damage_but_no_whole_run(tmp_path, torn):
    events, trace = reading(tmp_path, f"7 1.1 {OPEN}", f"7 1.2 {READ}", torn, end="")
    assert moved(events) == [("read", "/d/a", 0, 4096)]
    assert "its last line is cut short" in trace.gaps
    with pytest.raises(TraceError):
        reading(tmp_path, f"7 1.1 {OPEN}", torn, f"7 1.4 {READ}")


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ("socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3", "socket:INET"),
        ("accept4(5, {sa_family=AF_INET}, [16], SOCK_CLOEXEC) = 3", "socket:"),
        ("socketpair(AF_UNIX, SOCK_STREAM, 0, [3, 4]) = 0", "socket:"),
        ("pipe2([3, 4], O_CLOEXEC) = 0", "pipe:"),
        ("pipe([3, 4]) = 0", "pipe:"),
        ('memfd_create("arrow", MFD_CLOEXEC) = 3', "/memfd:arrow"),
        ("eventfd2(0, EFD_CLOEXEC) = 3", "anon_inode:[eventfd]"),
        ("timerfd_create(CLOCK_MONOTONIC, 0) = 3", "anon_inode:[timerfd_create]"),
        ("pipe2([3<pipe:[71]>, 4<pipe:[71]>], 0) = 0", "pipe:"),
    ],
)
def test_descriptors_without_a_path_are_known_by_the_calls_that_made_them_and_are_no_data(tmp_path, made, name):
    path = tmp_path / "job.strace"
    path.write_text(
        f"7 1.1 {made}\n" + 30 * '7 1.2 read(3, "abc"..., 65536) = 65536\n' + f"7 1.3 {OPEN}\n7 1.4 {READ}\n"
    )
    events = pl.concat(read_trace(path).batches)
    assert events.filter(op="read")["path"].to_list() == [name] * 30 + ["/d/a"]
    found = profile_trace(path)
    assert (found.bytes_read, found.excluded_bytes) == (4096, 30 * 65536)


def run(*body, start=True, exit_line="+++ exited with 0 +++"):
    """Lines of a run from its start to its end."""
    first = ['7 1.0 execve("/bin/a", ["a"], 0x1 /* 1 var */) = 0'] if start else []
    return [
        *first,
        *(f"7 1.{at} {call}" for at, call in enumerate(body, 1)),
        *([f"7 2.0 {exit_line}"] if exit_line else []),
    ]


@pytest.mark.parametrize(
    ("lines", "gap"),
    [
        (run(OPEN, READ), None),
        (run(OPEN, READ, exit_line="+++ exited with 1 +++"), "it ended with exit status 1"),
        (run(OPEN, READ, exit_line="+++ killed by SIGKILL +++"), "it was killed by SIGKILL"),
        (run(OPEN, READ, exit_line="+++ killed by SIGSEGV (core dumped) +++"), "it was killed by SIGSEGV"),
        (run(OPEN, READ, exit_line=None), "the trace ends before it does"),
        (run(OPEN, READ, start=False), "the trace does not show how it began (there is no execve of its program)"),
        (run(READ), "1 descriptors were used that are never seen to be opened, so that calls are missing"),
        (run(OPEN, READ, "--- SIGINT {si_signo=SIGINT, si_code=SI_KERNEL} ---"), "it was sent SIGINT before it ended"),
        (run(OPEN, READ, "--- SIGCHLD {si_signo=SIGCHLD, si_pid=8} ---"), None),
        (run("fork() = 8"), "1 of its processes or threads are not seen to end (strace follows them with -f)"),
        (run("read(3,  <unfinished ...>", "read(3,  <unfinished ...>"), "1 of its calls have a beginning and no end"),
        (
            run(OPEN, "io_uring_enter(5, 1, 0, 0, NULL, 8) = 1"),
            "io_uring_enter moves data that the trace does not show",
        ),
        (run(OPEN, "io_uring_setup(8, {flags=0, sq_thread_cpu=0}) = 5"), None),
        (
            run(OPEN, "io_uring_setup(8, {flags=IORING_SETUP_SQPOLL}) = 5"),
            "io_uring_setup moves data that the trace does",
        ),
        (run(OPEN, "io_uring_setup(8, 0x7ffd) = 5"), "io_uring_setup moves data that the trace does not show"),
    ],
)
def test_a_trace_holds_the_whole_run_only_where_it_shows_its_start_its_end_and_all_between(tmp_path, lines, gap):
    _, trace = reading(tmp_path, *lines)
    assert trace.complete == (gap is None)
    assert any(gap in each for each in trace.gaps) == (gap is not None) if gap else trace.gaps == []


def test_a_library_that_was_mapped_and_not_read_tells_that_reads_were_not_traced(tmp_path):
    """As under -e trace='!read': files that were copied once show calls, and what was read of them does not."""
    library = 'openat(AT_FDCWD, "/usr/lib/libc.so.6", O_RDONLY|O_CLOEXEC) = 3'
    header, mapped = (
        'read(3, "ELF"..., 832) = 832',
        "mmap(NULL, 2037344, PROT_READ, MAP_PRIVATE|MAP_DENYWRITE, 3, 0) = 0x7f",
    )
    whole, filtered = ([library, *some, mapped, "close(3) = 0"] for some in ([header], []))
    _, trace = reading(tmp_path, *run(*whole))
    assert (trace.complete, trace.missing) == (True, False)
    _, trace = reading(tmp_path, *run(*filtered))
    assert (trace.missing, trace.gaps) == (True, ["read moves data that the trace does not show"])


@pytest.mark.parametrize("took", ["<0>", "<0.1>", "<12.123456789>"])
def test_durations_of_any_precision_are_read(tmp_path, took):
    events, _ = reading(tmp_path, f"7 1.1 {OPEN} {took}", f"7 1.2 {READ} {took}")
    assert events["duration"].to_list() == [float(took.strip("<>"))] * 2


def test_files_that_were_opened_and_that_no_call_touches_tell_of_calls_that_were_not_traced(tmp_path):
    path = tmp_path / "job.strace"
    opens = [f'openat(AT_FDCWD, "/d/{at}", O_RDONLY) = 3' for at in range(20)]
    path.write_text("\n".join(run(*opens, *[READ] * 5)) + "\n")
    assert profile_trace(path).untouched_share == 0.95
    path.write_text("\n".join(run(*itertools.chain.from_iterable((each, READ) for each in opens))) + "\n")
    assert profile_trace(path).untouched_share == 0
    path.write_text("\n".join(run('openat(AT_FDCWD, "/d/out", O_WRONLY|O_CREAT, 0666) = 3', "close(3) = 0")) + "\n")
    assert profile_trace(path).untouched_output_share == 1


def test_a_part_of_the_run_that_failed_is_told_though_the_run_did_not(tmp_path):
    path = tmp_path / "job.strace"
    body = ["fork() = 8"]
    limit = "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=7, si_uid=0} ---"
    for signal, end, share in (
        ("", "killed by SIGKILL", 1.0),
        ("", "exited with 1", 1.0),
        (limit, "killed by SIGTERM", 1.0),
        (limit, "exited with 0", 1.0),
        ("--- SIGCHLD {si_signo=SIGCHLD, si_pid=9} ---", "exited with 0", 0),
    ):
        lines = run(*body, exit_line=None)
        lines += [f"8 1.5 {OPEN}", f"8 1.6 {READ}", *[f"8 1.65 {signal}"] * bool(signal)]
        lines += [f"8 1.7 +++ {end} +++", "7 2.0 +++ exited with 0 +++"]
        path.write_text("\n".join(lines) + "\n")
        assert profile_trace(path).failed_share == share


@pytest.mark.parametrize("torn", ['1.3 read(3, "ab', "1.3 re", "1."])
def test_a_last_line_that_is_cut_short_in_a_file_of_ff_is_no_damage_but_no_whole_run(tmp_path, torn):
    (tmp_path / "log.7").write_text(f"1.1 {OPEN}\n1.2 {READ}\n{torn}")
    (tmp_path / "log.8").write_text(f"1.1 {OPEN}\n1.4 {READ}\n1.5 +++ exited with 0 +++\n")
    trace = read_trace(tmp_path)
    assert len(moved(pl.concat(trace.batches))) == 2
    assert trace.gaps.count("its last line is cut short") == 1
    (tmp_path / "log.7").write_text(f"1.1 {OPEN}\n{torn}\n1.2 {READ}\n")
    with pytest.raises(TraceError, match=r"log\.7, line 2"):
        list(read_trace(tmp_path).batches)


def test_logs_that_are_numbered_and_name_their_processes_are_runs_of_their_own(tmp_path):
    for rank in range(2):
        lines = [OPEN.replace("/d/a", f"/d/{rank}"), READ, READ]
        text = "".join(f"7 1.{at}{rank * (at != 1)} {line}\n" for at, line in enumerate(lines, 1))
        (tmp_path / f"rank.{rank}").write_text(text)
    expected = [("read", f"/d/{rank}", offset, 4096) for offset in (0, 4096) for rank in range(2)]
    assert moved(pl.concat(read_trace(tmp_path).batches)) == expected


def test_lines_of_ff_that_name_their_own_thread_are_those_of_one_run(tmp_path):
    (tmp_path / "log.7").write_text(f"7 1.0 {OPEN}\n7 1.1 fork() = 8\n")
    (tmp_path / "log.8").write_text(f"8 1.1 {READ}\n")
    assert moved(pl.concat(read_trace(tmp_path).batches)) == [("read", "/d/a", 0, 4096)]


def test_the_files_of_ff_are_one_run_with_descriptors_inherited(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    parent = [
        '1.0 execve("/bin/a", ["a"], 0x1 /* 1 var */) = 0',
        f"1.1 {OPEN}",
        "1.2 fork() = 8",
        "1.6 wait4(8, NULL, 0, NULL) = 8",
    ]
    child = ['1.3 read(3, "abc", 10) = 10', "1.4 close(3) = 0", "1.5 +++ exited with 0 +++"]
    for timed in (True, False):
        for pid, lines in ((7, [*parent, "1.7 +++ exited with 0 +++"]), (8, child)):
            text = "".join(f"{line if timed else line.split(' ', 1)[1]}\n" for line in lines)
            (logs / f"log.{pid}").write_text(text)
        trace = read_trace(logs)
        events = pl.concat(trace.batches)
        assert moved(events) == [("read", "/d/a", 0, 10)]
        assert events.select("pid", "group").unique().sort("pid").rows() == [(7, 7), (8, 7)]
        assert trace.complete
    (logs / "log.8").write_text('read(3, "abc", 10) = 10\nwhat?\nclose(3) = 0\n')
    with pytest.raises(TraceError, match=r"log\.8, line 2"):
        list(read_trace(logs).batches)
    lenient = read_trace(logs, lenient=True)
    list(lenient.batches)
    assert lenient.skipped_lines == 1
    assert not lenient.complete


def test_a_child_that_ended_before_its_fork_returned_is_not_waited_for(tmp_path):
    body = ["vfork( <unfinished ...>"]
    lines = [
        *run(*body, exit_line=None),
        '8 1.5 execve("/bin/b", ["b"], 0x1 /* 1 var */) = 0',
        "8 1.6 +++ exited with 0 +++",
    ]
    events, trace = reading(tmp_path, *lines, "7 1.7 <... vfork resumed>) = 8", "7 2.0 +++ exited with 0 +++")
    assert events["op"].to_list() == ["exec", "fork", "exec"]
    assert (trace.complete, trace.gaps) == (True, [])


def test_the_times_of_day_of_threads_pass_midnight_together(tmp_path):
    (tmp_path / "log.7").write_text(
        '23:59:58.1 execve("/bin/a", ["a"], 0x1 /* 1 var */) = 0\n'
        f"23:59:58.2 {OPEN}\n23:59:59.1 fork() = 8\n00:00:05.5 wait4(8, NULL, 0, NULL) = 8\n"
        "00:00:06.1 +++ exited with 0 +++\n"
    )
    (tmp_path / "log.8").write_text(f"00:00:01.1 {READ}\n00:00:05.1 +++ exited with 0 +++\n")
    trace = read_trace(tmp_path)
    events = pl.concat(trace.batches)
    assert moved(events) == [("read", "/d/a", 0, 4096)]
    assert events["time"].to_list() == pytest.approx([86398.1, 86398.2, 86399.1, 86401.1])
    assert trace.complete


def test_a_run_of_ff_that_lasts_longer_than_a_day_without_dates_says_so(tmp_path):
    hours = ["10:00:00", "18:00:00", "02:00:00", "09:00:00", "12:00:00"]
    (tmp_path / "log.7").write_text(f"09:59:59 {OPEN}\n" + "".join(f"{hour} {READ}\n" for hour in hours))
    trace = read_trace(tmp_path)
    assert pl.concat(trace.batches)["time"].is_sorted()
    assert any("longer than a day" in gap for gap in trace.gaps)


@pytest.mark.parametrize("lead", ["1.5 ", "10:00:05 ", "", "8 1.5 "])
def test_a_file_of_ff_that_holds_only_the_end_of_a_thread_counts(tmp_path, lead):
    other = lead.replace("8 ", "7 ", 1)
    first = 'execve("/bin/a", ["a"], 0x1 /* 1 var */) = 0'
    lines = [first, OPEN, READ, "fork() = 8", "+++ exited with 0 +++"]
    (tmp_path / "log.7").write_text("".join(f"{other}{line}\n" for line in lines))
    (tmp_path / "log.8").write_text(f"{lead}--- SIGCHLD {{si_signo=SIGCHLD}} ---\n{lead}+++ exited with 0 +++\n")
    trace = read_trace(tmp_path)
    assert moved(pl.concat(trace.batches)) == [("read", "/d/a", 0, 4096)]
    assert (trace.notes, trace.complete) == (([UNTIMED] if not lead else []), True)
    (tmp_path / "log.9").write_text("what is this?\n")
    trace = read_trace(tmp_path)
    list(trace.batches)
    assert not trace.complete
    assert "log.9, a file of the same run, holds no trace" in trace.gaps


def test_a_stray_trace_beside_the_files_of_ff_does_not_part_them(tmp_path):
    (tmp_path / "log.7").write_text(f"1.0 {OPEN}\n1.1 fork() = 8\n")
    (tmp_path / "log.8").write_text(f"1.2 {READ}\n")
    (tmp_path / "other.strace").write_text(f"5 1.3 {OPEN.replace('/d/a', '/d/b')}\n5 1.4 {READ}\n")
    expected = [("read", "/d/a", 0, 4096), ("read", "/d/b", 0, 4096)]
    assert moved(pl.concat(read_trace(tmp_path).batches)) == expected


@pytest.mark.parametrize("kind", ["text", "gzip", "zstandard", "xz"])
def test_more_files_of_ff_than_a_process_may_open_are_read_by_time(tmp_path, few_descriptors, kind):
    pack = {"gzip": gzip.compress, "zstandard": zstandard.compress, "xz": lzma.compress}.get(kind, bytes)
    suffix = {"gzip": ".gz", "zstandard": ".zst", "xz": ".xz"}.get(kind, "")
    for thread in range(100, 100 + few_descriptors):
        lines = f"{thread}.1 {OPEN}\n{thread + few_descriptors}.2 {READ}\n"
        (tmp_path / f"log.{thread}{suffix}").write_bytes(pack(lines.encode()))
    events = pl.concat(read_trace(tmp_path).batches)
    assert events["op"].to_list() == ["open"] * few_descriptors + ["read"] * few_descriptors


def test_more_logs_of_ranks_than_a_process_may_open_are_read_by_time(tmp_path, few_descriptors):
    for rank in range(few_descriptors):
        lines = [f"7 {1 + rank}.1 {OPEN}", f"7 {1000 + rank}.2 {READ}"]
        (tmp_path / f"rank-{rank}.log").write_text("\n".join(lines) + "\n")
    events = pl.concat(read_trace(tmp_path).batches)
    assert events["time"].is_sorted()
    assert len(events) == 2 * few_descriptors


@pytest.fixture
def few_descriptors():
    """Let this process open 40 more files, and give how many are too many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 40
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, before[0]), before[1]))
    yield 60
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
