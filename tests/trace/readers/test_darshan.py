"""Darshan's modules together: every byte of a file is counted once, by the module that knows it best."""

from __future__ import annotations

import polars as pl
import pytest

from tests.trace.readers.darshan_logs import record, traced, write_log
from tiering.trace.events import UNPLACED
from tiering.trace.readers import read_trace


def _posix(identity: int, **counters: int) -> tuple[str, bytes]:
    return record("POSIX", identity, OPENS=1, **counters)


#: Files and records of one log each: reading one takes a process of its own, and a second.
LOGS = {
    "posix": (
        {11: "/train.h5", 12: "/log.txt", 13: "/other.bin"},
        _posix(11, READS=4, BYTES_READ=4000, MAX_BYTE_READ=3999),
        traced("DXT_POSIX", 11, reads=[(3000, 1000), (0, 1000), (2000, 1000), (1000, 1000)]),
        record("STDIO", 12, OPENS=1, WRITES=10, BYTES_WRITTEN=6000, MAX_BYTE_WRITTEN=5999),
        _posix(13, READS=2, BYTES_READ=9000, MAX_BYTE_READ=8999),
        traced("DXT_POSIX", 13, reads=[(0, 10)]),
    ),
    "dfs": (
        {21: "/testfile", 22: "", 23: "daos:/testfile"},
        record("DFS", 21, -1, OPENS=2, READS=64, WRITES=32, BYTES_READ=1 << 24, BYTES_WRITTEN=1 << 23),
        record("DAOS", 21, -1, ARRAY_OPENS=34, ARRAY_READS=64, BYTES_READ=1 << 24, BYTES_WRITTEN=1 << 23),
        record("DAOS", 22, -1, OBJ_OPENS=16, OBJ_FETCHES=2, BYTES_READ=88),
        record("MPI-IO", 23, -1, COLL_OPENS=1, COLL_READS=4, BYTES_READ=4000),
    ),
    "mpiio": (
        {31: "/shared.nc", 32: "/below.nc", 33: "/traced.nc"},
        record("MPI-IO", 31, -1, COLL_OPENS=16, COLL_READS=8, BYTES_READ=8000, INDEP_WRITES=2, BYTES_WRITTEN=500),
        record("MPI-IO", 32, -1, COLL_OPENS=16, COLL_READS=8, BYTES_READ=8000),
        _posix(32, READS=2, BYTES_READ=8192, MAX_BYTE_READ=8191),
        record("MPI-IO", 33, INDEP_OPENS=1, INDEP_READS=2, BYTES_READ=2000),
        traced("DXT_MPIIO", 33, reads=[(1000, 1000), (0, 1000)]),
    ),
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> dict[str, tuple[pl.DataFrame, list[str]]]:
    """Give each log's events and notes."""
    found = {}
    for name, (names, *records) in LOGS.items():
        trace = read_trace(write_log(tmp_path_factory.mktemp("logs") / f"{name}.darshan", names, *records))
        found[name] = (pl.concat(trace.batches), trace.notes)
    return found


def _moved(events: pl.DataFrame, path: str) -> dict[str, int]:
    moved = events.filter(pl.col("path") == path, pl.col("op").is_in(["read", "write"]))
    return dict(moved.group_by(pl.col("op").cast(pl.String)).agg(pl.col("size").sum()).iter_rows())


def _offsets(events: pl.DataFrame, path: str) -> list[int]:
    return events.filter(pl.col("path") == path, pl.col("op") == "read")["offset"].to_list()


def test_stdio_counts_beside_extended_tracing(logs):
    events, notes = logs["posix"]
    assert _moved(events, "/train.h5") == {"read": 4000}
    assert _offsets(events, "/train.h5") == [3000, 0, 2000, 1000]
    assert _moved(events, "/log.txt") == {"write": 6000}
    assert notes[0].startswith("Extended tracing saw 21.1 % of the bytes that Darshan counted")


def test_a_file_that_extended_tracing_left_out_is_counted_by_its_counters(logs):
    assert _moved(logs["posix"][0], "/other.bin") == {"read": 9000}


def test_what_dfs_moves_is_counted_once_and_where_it_lies_is_not_known(logs):
    events, notes = logs["dfs"]
    assert _moved(events, "/testfile") == {"read": 1 << 24, "write": 1 << 23}
    reads = events.filter(pl.col("op") == "read")
    assert set(reads["flags"]) == {UNPLACED}
    assert reads["offset"].null_count() == len(reads)
    assert any("no order" in note for note in notes)


def test_an_object_of_daos_without_a_file_counts_by_itself(logs):
    assert _moved(logs["dfs"][0], "<record 22>") == {"read": 88}


def test_mpi_io_over_dfs_is_counted_by_dfs(logs):
    assert _moved(logs["dfs"][0], "daos:/testfile") == {}


def test_shared_records_of_mpi_io_count_where_no_lower_module_saw_the_file(logs):
    events, _ = logs["mpiio"]
    assert _moved(events, "/shared.nc") == {"read": 8000, "write": 500}
    assert events.filter(pl.col("path") == "/shared.nc", pl.col("op") == "open").height == 16
    assert _moved(events, "/below.nc") == {"read": 8192}


def test_extended_tracing_of_mpi_io_places_what_no_lower_module_saw(logs):
    assert _offsets(logs["mpiio"][0], "/traced.nc") == [1000, 0]
