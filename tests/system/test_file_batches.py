"""Batches of small files: exactly as one after another, and nothing is trusted that is not as expected."""

from __future__ import annotations

import importlib.util
import os
import random
import sys

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.images.build_extension import compile_extension
from tiering.system import file_batches
from tiering.system.file_batches import NATIVE, list_names, look_at_files, neighbours, opened_directory, read_files


def columns(names):
    return b"".join(names), np.cumsum([len(name) for name in names], dtype=np.int64)


def read(folder, names, sizes, reader=read_files):
    text, ends = columns(names)
    out = memoryview(bytearray(sum(sizes)))
    with opened_directory(os.fsencode(folder)) as directory:
        crcs, whole = reader(directory, np.frombuffer(text, dtype=np.uint8), ends, np.array(sizes, dtype=np.int64), out)
    begins = np.cumsum([0, *sizes])
    data = [bytes(out[begin : begin + size]) for begin, size in zip(begins, sizes, strict=False)]
    return data, crcs.tolist(), whole.tolist()


@pytest.fixture
def portable(tmp_path, monkeypatch):
    """Read files with an extension that has no processor's instruction for CRC-32C."""
    monkeypatch.setenv("CFLAGS", "-DPORTABLE")
    spec = importlib.util.spec_from_file_location("_files", compile_extension("system/_files", tmp_path / "portable"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(file_batches, "_files", module)


def test_it_is_built_here():
    assert NATIVE, "python -m tiering.images.build_extension tells why not"


def contents_come_whole(tmp_path):
    drawn = random.Random(1)
    contents = {b"%d.jpg" % number: drawn.randbytes(drawn.choice([*range(40), 900, 5000])) for number in range(300)}
    contents["ü \n.jpg".encode()] = contents[b"\xff.png"] = b"odd names"
    for name, data in contents.items():
        (tmp_path / os.fsdecode(name)).write_bytes(data)
    names = [*contents, *contents]
    data, crcs, whole = read(tmp_path, names, [len(contents[name]) for name in names])
    assert all(whole)
    assert data == [contents[name] for name in names]
    assert crcs == [google_crc32c.value(contents[name]) for name in names]


def test_contents_come_whole_and_with_their_crc(tmp_path):
    contents_come_whole(tmp_path)


def test_without_the_processors_instruction_too(tmp_path, portable):
    contents_come_whole(tmp_path)


def test_whatever_is_not_as_expected_is_not_read(tmp_path):
    for name in ("same", "grew", "shrank"):
        (tmp_path / name).write_bytes(b"0123456789")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "link").symlink_to("same")
    cases = {
        b"same": (10, True), b"grew": (9, False), b"shrank": (11, False), b"fifo": (3, False), b"folder": (4096, False),
        b"dead": (10, False), b"link": (10, True), b"gone": (10, False), b"": (10, False), b"sa\0me": (10, False),
        b"x" * 5000: (10, False), os.fsencode(tmp_path / "same"): (10, True), b"folder/../same": (10, True),
    }  # fmt: skip
    # Both sides of one that is refused keep their bytes.
    names = [each for name in cases for each in (name, b"same")]
    sizes = [size for size, _ in cases.values() for size in (size, 10)]
    data, _, whole = read(tmp_path, names, sizes)
    assert whole == [each for _, good in cases.values() for each in (good, True)]
    assert [found for found, good in zip(data, whole, strict=True) if good] == [b"0123456789"] * sum(whole)


def test_files_that_are_not_in_the_page_cache_come_too(tmp_path):
    drawn, names, data = random.Random(2), [], []
    for number in range(60):
        path = tmp_path / str(number)
        data.append(drawn.randbytes(20_000))
        with path.open("wb") as file:
            file.write(data[-1])
            file.flush()
            os.fdatasync(file.fileno())  # os.fsync does nothing in tests
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        names.append(os.fsencode(path.name))
    found, _, whole = read(tmp_path, names, [20_000 - (number == 7) for number in range(60)])
    assert [number for number, good in enumerate(whole) if not good] == [7]
    assert all(one == other for number, (one, other) in enumerate(zip(found, data, strict=True)) if number != 7)


@pytest.mark.parametrize("cached", [1, 2])
def test_a_file_that_grew_by_pages_that_are_not_in_the_page_cache_is_not_read(tmp_path, cached):
    """A read that does not wait ends where the page cache does, as at the end of the file."""
    with (tmp_path / "grew").open("wb") as file:
        file.write(bytes(cached * 4096))
        file.flush()
        os.fdatasync(file.fileno())
        file.write(bytes(64 * 4096))
        file.flush()
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), cached * 4096, 0, os.POSIX_FADV_DONTNEED)
    (tmp_path / "same").write_bytes(bytes(cached * 4096))
    assert read(tmp_path, [b"grew", b"same"], [cached * 4096] * 2)[2] == [False, True]


@pytest.mark.parametrize(
    ("ends", "sizes", "room"),
    [([3, 2], [1, 1], 2), ([3, 99], [1, 1], 2), ([-1, 3], [1, 1], 2), ([2, 4], [1, -1], 2), ([2, 4], [1, 2], 2),
     ([2, 4], [1], 2), ([2, 4], [1 << 62, 1 << 62], 2)],
)  # fmt: skip
def test_columns_that_do_not_fit_are_refused(tmp_path, ends, sizes, room):
    names = np.frombuffer(b"abcd", dtype=np.uint8)
    with opened_directory(os.fsencode(tmp_path)) as directory, pytest.raises(ValueError, match="expected"):
        read_files(directory, names, np.array(ends), np.array(sizes), memoryview(bytearray(room)))
    if sizes == [1, 1]:
        with opened_directory(os.fsencode(tmp_path)) as directory, pytest.raises(ValueError, match="expected"):
            look_at_files(directory, b"abcd", np.array(ends))


def test_looks_are_those_of_stat(tmp_path):
    """So many that two threads share them."""
    for number in range(700):
        (tmp_path / f"{number}").write_bytes(bytes(number % 7))
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "to 5").symlink_to("5")
    (tmp_path / "folder").mkdir()
    os.utime(tmp_path / "3", ns=(1, -1_500_000_000))
    os.utime(tmp_path / "4", (0, 13_000_000_000))
    names = [os.fsencode(name) for name in os.listdir(tmp_path)] + [b"gone", b"a\0b", b""]
    with opened_directory(os.fsencode(tmp_path)) as directory:
        found = np.stack(look_at_files(directory, *columns(names))).T.tolist()

    def expected(name):
        try:
            about = os.stat(os.path.join(os.fsencode(tmp_path), name))
        except (OSError, ValueError):
            return [0, 0, 0]
        return [about.st_mode, about.st_size, min(about.st_mtime_ns, (1 << 63) - 1)]

    assert found == [expected(name) if name else [0, 0, 0] for name in names]


def test_names_are_sorted_and_directories_marked(tmp_path):
    for name in ("b", "b.d", "b-", "\udcff", "é", ".hidden", *map(str, range(2000))):
        (tmp_path / name).touch()
    for name in ("a", "b!", "z.jpg"):
        (tmp_path / name).mkdir()
    (tmp_path / "to a").symlink_to("a")
    (tmp_path / "dead").symlink_to("nowhere")
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(2):  # a descriptor has one position
            text, ends = list_names(handle)
            names = [text[begin:end] for begin, end in zip([0, *ends.tolist()], ends.tolist(), strict=False)]
            folders = (b"a", b"b!", b"z.jpg", b"to a")
            every = map(os.fsencode, os.listdir(tmp_path))
            assert names == sorted(name + b"/" * (name in folders) for name in every)
        with pytest.raises(OSError, match="Not a directory"):
            list_names(os.open(tmp_path / "b", os.O_RDONLY))
    finally:
        os.close(handle)


@given(st.lists(st.text("ab/", max_size=6).map(str.encode)))
@settings(max_examples=examples(100))
def test_neighbours_are_those_of_python(paths):
    native = list(neighbours(paths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_batches, "NATIVE", False)
        assert list(neighbours(paths)) == native
    assert sum(count for _, count in native) == len(paths)


def test_neighbours_takes_only_bytes():
    before = sys.getrefcount(None)
    with pytest.raises(TypeError):
        list(neighbours([b"a/b", None]))
    assert abs(sys.getrefcount(None) - before) < 50
