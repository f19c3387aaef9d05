"""Events from the kernel's records of calls: compiled code and Python make the same of the same records."""

from __future__ import annotations

import os
import struct

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.system import bpf
from tiering.system.call_records import BLOCK, COPIES, END, EXEC, FORK, HEAD, NUMBERS, PATH
from tiering.trace.capturing import call_rows, kernel_calls
from tiering.trace.capturing.kernel_calls import KernelCalls
from tiering.trace.readers import strace_state

#: Processes that no machine has.
FIRST, CHILD, STRANGER = (1 << 30) + 1, (1 << 30) + 2, (1 << 30) + 3
HERE = 2**64 - 100
PATHS = [b"/data/a.jpg", b"/data/b.jpg", b"/data/\xff", b"c.jpg", b"sub/d.jpg", b"/", b"./e/..", b"/data//f", b""]
FLAGS = [0, os.O_RDONLY | os.O_CLOEXEC, os.O_WRONLY, os.O_RDWR | os.O_CREAT, os.O_TRUNC | os.O_WRONLY, os.O_DIRECTORY,
         os.O_APPEND | os.O_WRONLY, os.O_EXCL | os.O_CREAT | os.O_RDWR, os.O_PATH]  # fmt: skip
SIZES = st.sampled_from([0, 1, 4096, 1 << 40, (1 << 61) - 1, (1 << 61) + 1])
FREQUENT = ["read", "write", "openat", "open", "close", "lseek", "pread64", "pwrite64", "readv", "writev"]


def record(call, result, arguments=(), copied=b"", pid=FIRST, when=0, *, discarded=False):
    """Return a record as the ring has it."""
    words = (when, pid << 32 | pid, call, result, *arguments, *[0] * (6 - len(arguments)))
    body = (struct.pack("<10Q", *words) + copied)[: None if copied or call not in COPIES else COPIES[call].head]
    return struct.pack("<II", len(body) | (1 << 30) * discarded, 0) + body + bytes(-len(body) % 8)


def decoded(taken, native):
    """Return the events and the state that records lead to."""
    made = KernelCalls(1.7e9)
    made.join(FIRST, "/where/it/is", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_calls, "NATIVE", native)
        for piece in taken:
            made.add(piece)
    state = {
        pid: {
            fd: (opened.file.path, opened.file.size, opened.offset, opened.append)
            for fd, opened in process.descriptors.items()
        }
        for pid, process in made.calls.tree.members.items()
    }
    return made.calls.take().to_dicts(), state, sorted(made.calls.files.written), made.strange


@st.composite
def records(draw):
    """Draw a record of any call; those that are frequent come often."""
    name = draw(st.sampled_from(FREQUENT)) if draw(st.integers(0, 4)) else draw(st.sampled_from(sorted(NUMBERS)))
    number, fd = NUMBERS[name], draw(st.integers(0, 5))
    arguments = [fd, draw(SIZES), draw(st.integers(0, 3)), draw(st.sampled_from([0, 0x20, 1 << 20, 2**64 - 1])), fd, 0]
    result, copied = draw(SIZES), b""
    paths = st.sampled_from(PATHS).map(lambda path: path + b"\0" if path else b"")
    if name in {"openat", "open", "creat", "openat2"}:
        result = draw(st.integers(0, 5))
        flags = draw(st.sampled_from(FLAGS))
        arguments[:3] = [draw(st.sampled_from([HERE, fd])), flags if name == "open" else 0, flags]
        copied = draw(paths)
    what = COPIES[number].what
    if what == "path" and not copied:
        copied = draw(paths)
    elif what in {"paths", "path and block"}:
        copied = draw(paths).ljust(PATH, b"\0") + draw(paths).ljust(PATH if what == "paths" else BLOCK, b"\0")[:PATH]
    elif what == "blocks":
        copied = draw(st.sampled_from([b"", struct.pack("<QQQQ", 3 | 4 << 32, 0, 5, 0)]))
    if name in {"fcntl", "dup", "dup2", "dup3", "pipe", "pipe2", "socketpair", "accept"} or "create" in name:
        result = draw(st.integers(0, 5))
    pid = draw(st.sampled_from([FIRST, FIRST, CHILD, STRANGER]))
    return record(
        number, result, arguments, copied, pid, draw(st.integers(0, 10)) * 10**9, discarded=not draw(st.integers(0, 9))
    )


SPECIAL = st.sampled_from(
    [
        record(FORK, CHILD, [CHILD]),
        record(EXEC, 0, copied=b"/bin/true\0", pid=CHILD),
        record(END, 0, pid=CHILD),
        record(NUMBERS["chdir"], 0, copied=b"/elsewhere\0"),
    ]
)


@given(st.lists(st.lists(st.one_of(records(), records(), SPECIAL), max_size=30).map(b"".join), min_size=1, max_size=3))
def test_compiled_code_makes_what_python_makes(taken):
    assert decoded(taken, native=True) == decoded(taken, native=False)


@given(st.lists(st.one_of(records(), SPECIAL), max_size=8).map(b"".join), st.integers(0, 1200), st.integers(0, 20))
def test_records_that_are_cut_or_still_written_wait(taken, cut, busy):
    piece = bytearray(taken[:cut])
    places = [at - 1 for at in bpf.records_of(taken) if at * 8 <= len(piece)]
    if busy < len(places):
        piece[places[busy] * 8 + 3] |= 0x80
    done = bpf.finished(piece)
    assert call_rows.finished(piece) == done == bpf.finished(piece[:done])
    assert done <= (places[busy] * 8 if busy < len(places) else len(piece))
    for native in (True, False):
        made = KernelCalls(0.0)
        made.join(FIRST, "/", 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernel_calls, "NATIVE", native)
            assert made.add(memoryview(bytes(piece[: places[busy] * 8 + 8 if busy < len(places) else done]))) == done


def test_it_is_compiled_here():
    assert call_rows.NATIVE, "python -m tiering.images.build_extension tells why not"


@pytest.mark.parametrize("native", [True, False])
def test_an_epoch_keeps_its_order_and_places(native):
    def epoch(start):
        for number in range(3):
            when = start + number * 10
            yield record(NUMBERS["openat"], 7, [HERE, 0, os.O_CLOEXEC], f"img/{number}.jpg\0".encode(), when=when)
            yield record(NUMBERS["read"], 4096, [7], when=when + 1)
            yield record(NUMBERS["fcntl"], 9, [7, 0], when=when + 2)
            yield record(NUMBERS["read"], 100, [9], when=when + 3)
            yield record(NUMBERS["close"], 0, [9], when=when + 4)
            yield record(NUMBERS["close"], 0, [7], when=when + 5)

    events, state, *_ = decoded([b"".join(epoch(0)), b"".join(epoch(10**9))], native)
    assert [(event["op"], event["path"][-5:], event["offset"], event["size"], event["flags"]) for event in events] == [
        row
        for _ in range(2)
        for name in ("0.jpg", "1.jpg", "2.jpg")
        for row in (
            ("open", name, None, 0, "r"),
            ("read", name, 0, 4096, None),
            # The copy of a descriptor shares its position.
            ("read", name, 4096, 100, None),
            ("close", name, None, 0, None),
            ("close", name, None, 0, None),
        )
    ]
    assert {event["path"] for event in events} == {f"/where/it/is/img/{number}.jpg" for number in range(3)}
    assert state == {FIRST: {}}


@pytest.mark.parametrize("native", [True, False])
def test_a_call_at_a_place_that_no_file_has_is_counted(native):
    far = record(NUMBERS["openat"], 3, [HERE], b"/dev/shm/holes\0") + record(NUMBERS["lseek"], (1 << 63) - 1, [3])
    events, *_, strange = decoded([far + record(NUMBERS["read"], 10, [3])], native)
    assert ([event["op"] for event in events], strange) == (["open"], 1)


@pytest.mark.parametrize("native", [True, False])
def test_names_of_files_that_nobody_has_open_are_forgotten_and_keep_their_identity(monkeypatch, native):
    monkeypatch.setattr(kernel_calls, "NATIVE", native)
    monkeypatch.setattr(strace_state, "_NAMES", 10)
    made = KernelCalls(0.0)
    made.join(FIRST, "/", 1)
    flags = os.O_WRONLY | os.O_TRUNC

    def opened(name, fd, flags=0):
        return record(NUMBERS["openat"], fd, [HERE, 0, flags], f"/data/{name}\0".encode())

    made.add(opened("kept", 3, flags) + record(NUMBERS["write"], 100, [3]))
    for number in range(50):
        made.add(opened(number, 4, flags) + record(NUMBERS["write"], 10, [4]) + record(NUMBERS["close"], 0, [4]))
        made.calls.forget_names()
        assert len(made.calls.files) <= 30
    again = opened("kept", 5, os.O_APPEND) + record(NUMBERS["write"], 7, [5]) + record(NUMBERS["write"], 1, [3])
    made.add(again + opened(0, 6, os.O_APPEND) + record(NUMBERS["write"], 1, [6]))
    *before, kept, same, forgotten = made.calls.take().filter(pl.col("op") == "write").to_dicts()
    assert {event["file"] for event in (kept, same)} == {before[0]["file"]}
    # The size of a file that is open stays known, and that of another one does not.
    assert (kept["offset"], same["offset"]) == (100, 100)
    assert (forgotten["file"], forgotten["offset"]) == (before[1]["file"], None)


@pytest.mark.parametrize("broken", [b"\0" * 8, record(0, 1)[:-8], record(0, 1)[: HEAD // 2]])
def test_half_a_record_is_refused(broken):
    made = KernelCalls(0.0)
    made.join(FIRST, "/", 1)
    with pytest.raises((ValueError, IndexError)):
        made.add(broken)
