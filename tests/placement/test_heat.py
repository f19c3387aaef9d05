"""Heat: one row a file from traces, tables and directories."""

from __future__ import annotations

import os

import polars as pl
import pytest

from tests.conftest import FIXTURES
from tiering.errors import InputError, TraceError
from tiering.placement.heat import HEAT_SCHEMA, trace_heat
from tiering.placement.heat_sources import read_heat, write_heat
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.profile import profile_trace

TRACES = FIXTURES / "traces"


def events(*rows):
    """Rows of (time, op, path, offset, size), as one batch."""
    return pl.DataFrame(
        [
            {
                "time": time,
                "op": op,
                "file": hash(path) % 2**63,
                "offset": offset,
                "size": size,
                "pid": 1,
                "group": 1,
                "path": path,
            }
            for time, op, path, offset, size in rows
        ],
        schema=EVENT_SCHEMA,
    )


def row(heat, path):
    return heat.files.row(by_predicate=pl.col("path") == path, named=True)


@pytest.mark.parametrize("name", ["train_loop.strace.gz", "sqlite_log.strace", "dlio", "vpic.darshan"])
def test_sums_are_those_of_the_profile(name):
    heat = read_heat(TRACES / name)
    profile = profile_trace(TRACES / name)
    assert heat.files.schema == HEAT_SCHEMA
    assert heat.files["bytes_read"].sum() == profile.bytes_read + profile.mapped_bytes
    assert heat.files["bytes_written"].sum() <= profile.bytes_written
    assert heat.duration == pytest.approx(profile.duration)


def test_every_photograph_of_five_epochs_was_read_five_times(photos):
    heat = read_heat(TRACES / "train_loop.strace.gz")
    images = heat.files.filter(pl.col("path").str.contains("/images/"))
    assert len(images) == 300
    assert (images["reads"] == 5).all()
    assert (images["bytes_read"] == 5 * images["size"]).all()
    sizes = sorted(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(photos) for name in names)
    assert sizes == sorted(images["size"])


def test_a_size_is_the_highest_byte_seen_over_batches():
    heat = trace_heat(
        [
            events((0, "open", "/d/a", None, 0), (1, "read", "/d/a", 0, 10)),
            # Without an offset a read follows the one before it, and what is written is appended.
            events((2, "read", "/d/a", None, 30), (3, "write", "/d/b", None, 7), (4, "write", "/d/b", None, 7)),
            events((5, "mmap", "/d/c", 100, 50)),
        ]
    )
    assert [(path, row(heat, path)["size"]) for path in ("/d/a", "/d/b", "/d/c")] == [
        ("/d/a", 40),
        ("/d/b", 14),
        ("/d/c", 150),
    ]
    assert (row(heat, "/d/a")["opens"], row(heat, "/d/a")["reads"], row(heat, "/d/a")["bytes_read"]) == (1, 2, 40)
    assert (row(heat, "/d/a")["first"], row(heat, "/d/a")["last"]) == (1.0, 2.0)
    assert heat.duration == 5.0


def test_what_is_deleted_in_the_end_or_was_only_opened_is_not_placed():
    heat = trace_heat(
        [
            events((0, "write", "/d/gone", 0, 10), (0, "write", "/d/again", 0, 10), (1, "unlink", "/d/again", None, 0)),
            events((2, "unlink", "/d/gone", None, 0), (3, "stat", "/d/gone", None, 0)),
            events((4, "write", "/d/again", 0, 20), (5, "open", "/d/looked-at", None, 0)),
            events((6, "read", "/dev/sda", 0, 512), (7, "read", "/usr/lib/libc.so.6", 0, 512)),
        ]
    )
    assert heat.files["path"].to_list() == ["/d/again"]
    assert any("deletes or renames: 1" in note for note in heat.notes)


def test_a_table_of_heat_comes_back_as_it_was(tmp_path):
    heat = trace_heat([events((0, "read", "/d/a,b\nc", 0, 10), (9, "read", '/d/"x"', 0, 5))])
    write_heat(heat, tmp_path / "heat.csv")
    again = read_heat(tmp_path / "heat.csv")
    assert again.files.equals(heat.files)
    assert again.duration == 9.0


def test_missing_columns_of_a_table_are_zero(tmp_path):
    (tmp_path / "heat.csv").write_text("path,size,reads,bytes_read\na,10,1,10\n")
    heat = read_heat(tmp_path / "heat.csv")
    assert row(heat, "a") | {"first": None, "last": None} == row(heat, "a")
    assert row(heat, "a")["writes"] == 0


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a,10,1,x", "expected a table of path"),
        ("a,10,-1,10", "in the column reads"),
        ("a,,1,10", "in the column size"),
        ("a,10,1,10\na,10,1,10", "several for 'a'"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path, lines, said):
    (tmp_path / "heat.csv").write_text(f"path,size,reads,bytes_read\n{lines}\n")
    with pytest.raises(InputError, match=said):
        read_heat(tmp_path / "heat.csv")


def test_a_root_gives_every_file_its_own_size_and_touched_ones_their_heat(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "hot").write_bytes(b"x" * 100)
    (tmp_path / "data" / "deep" / "cold").write_bytes(b"x" * 50)
    (tmp_path / "elsewhere").write_bytes(b"x")
    os.symlink(tmp_path / "elsewhere", tmp_path / "data" / "link")
    (tmp_path / "data" / os.fsdecode(b"bad\xff")).write_bytes(b"x")
    table = f"path,size,reads,bytes_read\n{tmp_path}/data/hot,3,7,21\n{tmp_path}/elsewhere,1,1,1\n{tmp_path}/data/no,1,1,1\n"
    (tmp_path / "heat.csv").write_text(table)
    heat = read_heat(tmp_path / "heat.csv", root=tmp_path / "data")
    assert heat.files.select("path", "size", "reads").rows() == [("deep/cold", 50, 0), ("hot", 100, 7)]
    assert heat.root == str(tmp_path / "data")
    assert any("not UTF-8: 1" in note for note in heat.notes)
    assert any("no longer below" in note for note in heat.notes)
    write_heat(heat, tmp_path / "again.csv")
    with pytest.raises(InputError, match="`root`"):
        read_heat(tmp_path / "heat.csv", root=tmp_path / "nowhere")


def test_block_traces_and_traces_without_names_are_refused():
    with pytest.raises(TraceError, match="block device"):
        read_heat(TRACES / "websearch.mqsim")
    with pytest.raises(TraceError, match="no data of any file"):
        trace_heat([])
    nameless = events((0, "read", "/d/a", 0, 10)).with_columns(path=pl.lit(None, pl.String))
    with pytest.raises(TraceError, match="1 without a name"):
        trace_heat([nameless])


def test_a_file_that_another_replaced_is_still_there(tmp_path):
    lines = [
        '7 1.0 openat(AT_FDCWD, "/d/a", O_RDONLY) = 3',
        '7 1.1 read(3, "x", 100) = 100',
        '7 1.2 openat(AT_FDCWD, "/d/tmp", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 4',
        '7 1.3 write(4, "x", 100) = 100',
        '7 1.4 rename("/d/tmp", "/d/a") = 0',
        '7 1.5 rename("/d/other", "/d/new") = 0',
    ]
    (tmp_path / "job.strace").write_text("\n".join(lines) + "\n")
    heat = read_heat(tmp_path / "job.strace")
    assert heat.files["path"].to_list() == ["/d/a"]
    assert any("deletes or renames: 1" in note for note in heat.notes)


def test_without_times_it_is_not_known_how_long_what_is_placed_took(tmp_path):
    (tmp_path / "job.strace").write_text('openat(AT_FDCWD, "/d/a", O_RDONLY) = 3\nread(3, "x", 100) = 100\n')
    heat = read_heat(tmp_path / "job.strace")
    assert heat.duration == 0
    assert any("no times" in note for note in heat.notes)
