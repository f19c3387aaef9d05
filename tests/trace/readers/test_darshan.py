"""Darshan's modules together: every byte of a file is counted once, by the module that knows it best."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.trace.readers.darshan_logs import record, traced, write_log
from tiering.trace.events import UNPLACED
from tiering.trace.readers import Trace, read_trace
from tiering.trace.readers.darshan_log import main

_DATA, _LOG, _OTHER = 11, 12, 13
_NAMES = {_DATA: "/data/train.h5", _LOG: "/data/log.txt", _OTHER: "/data/other.bin"}


def _read(path: Path, *, beside: bool = False) -> tuple[Trace, pl.DataFrame]:
    """Read a log in this process, which has Darshan's library by now, or beside it, as the reader does."""
    if not beside:
        events = path.with_suffix(".parquet")
        main(str(path), str(events))
        path = events
    trace = read_trace(path)
    return trace, pl.concat(trace.batches)


def _moved(events: pl.DataFrame) -> dict[tuple[str, str], int]:
    moved = events.filter(pl.col("op").is_in(["read", "write"]))
    return {
        (row[0], row[1]): row[2]
        for row in moved.group_by("path", pl.col("op").cast(pl.String)).agg(pl.col("size").sum()).rows()
    }


def _posix(identity: int, **counters: int) -> tuple[str, bytes]:
    return record("POSIX", identity, OPENS=1, **counters)


def test_stdio_counts_beside_extended_tracing(tmp_path):
    log = write_log(
        tmp_path / "a.darshan",
        _NAMES,
        _posix(_DATA, READS=4, BYTES_READ=4000, MAX_BYTE_READ=3999),
        traced("DXT_POSIX", _DATA, reads=[(3000, 1000), (0, 1000), (2000, 1000), (1000, 1000)]),
        record("STDIO", _LOG, OPENS=1, WRITES=10, BYTES_WRITTEN=6000, MAX_BYTE_WRITTEN=5999),
    )
    trace, events = _read(log, beside=True)
    assert trace.format == "darshan"
    assert _moved(events) == {("/data/train.h5", "read"): 4000, ("/data/log.txt", "write"): 6000}
    assert events.filter(pl.col("op") == "read")["offset"].to_list() == [3000, 0, 2000, 1000]
    assert trace.notes[0] == (
        "Extended tracing saw 40 % of the bytes that Darshan counted: of the files that it left out, the counters were used."
    )


def test_a_file_that_extended_tracing_left_out_is_counted_by_its_counters(tmp_path):
    log = write_log(
        tmp_path / "a.darshan",
        _NAMES,
        _posix(_DATA, READS=2, BYTES_READ=2000, MAX_BYTE_READ=1999),
        _posix(_OTHER, READS=2, BYTES_READ=9000, MAX_BYTE_READ=8999),
        traced("DXT_POSIX", _DATA, reads=[(1000, 1000), (0, 1000)]),
        traced("DXT_POSIX", _OTHER, reads=[(0, 10)]),
    )
    _, events = _read(log)
    assert _moved(events) == {("/data/train.h5", "read"): 2000, ("/data/other.bin", "read"): 9000}
    assert events.filter(pl.col("path") == "/data/train.h5", pl.col("op") == "read")["offset"].to_list() == [1000, 0]


def test_what_dfs_moves_is_counted_once_and_where_it_lies_is_not_known(tmp_path):
    log = write_log(
        tmp_path / "a.darshan",
        {_DATA: "/testfile", _LOG: ""},
        record("DFS", _DATA, -1, OPENS=2, READS=64, WRITES=32, BYTES_READ=1 << 24, BYTES_WRITTEN=1 << 23),
        record("DAOS", _DATA, -1, ARRAY_OPENS=34, ARRAY_READS=64, BYTES_READ=1 << 24, BYTES_WRITTEN=1 << 23),
        record("DAOS", _LOG, -1, OBJ_OPENS=16, OBJ_FETCHES=2, BYTES_READ=88),
    )
    trace, events = _read(log)
    assert _moved(events) == {
        ("/testfile", "read"): 1 << 24,
        ("/testfile", "write"): 1 << 23,
        (f"<record {_LOG}>", "read"): 88,
    }
    reads = events.filter(pl.col("op") == "read")
    assert set(reads["flags"]) == {UNPLACED}
    assert reads["offset"].null_count() == len(reads) == 66
    assert any("no order" in note for note in trace.notes)


def test_shared_records_of_mpi_io_count_where_no_lower_module_saw_the_file(tmp_path):
    shared = record(
        "MPI-IO", _DATA, -1, COLL_OPENS=16, COLL_READS=8, BYTES_READ=8000, INDEP_WRITES=2, BYTES_WRITTEN=500
    )
    _, alone = _read(write_log(tmp_path / "a.darshan", _NAMES, shared))
    assert _moved(alone) == {("/data/train.h5", "read"): 8000, ("/data/train.h5", "write"): 500}
    assert alone.filter(pl.col("op") == "open").height == 16
    below = _posix(_DATA, READS=2, BYTES_READ=8192, MAX_BYTE_READ=8191)
    _, both = _read(write_log(tmp_path / "b.darshan", _NAMES, shared, below))
    assert _moved(both) == {("/data/train.h5", "read"): 8192}


def test_mpi_io_over_dfs_is_counted_by_dfs(tmp_path):
    log = write_log(
        tmp_path / "a.darshan",
        {_DATA: "/testfile", _OTHER: "daos:/testfile"},
        record("DFS", _DATA, -1, OPENS=1, READS=4, BYTES_READ=4000),
        record("MPI-IO", _OTHER, -1, COLL_OPENS=1, COLL_READS=4, BYTES_READ=4000),
    )
    _, events = _read(log)
    assert _moved(events) == {("/testfile", "read"): 4000}


def test_extended_tracing_of_mpi_io_places_what_no_lower_module_saw(tmp_path):
    log = write_log(
        tmp_path / "a.darshan",
        _NAMES,
        record("MPI-IO", _DATA, INDEP_OPENS=1, INDEP_READS=2, BYTES_READ=2000),
        traced("DXT_MPIIO", _DATA, reads=[(1000, 1000), (0, 1000)]),
    )
    trace, events = _read(log)
    assert events.filter(pl.col("op") == "read")["offset"].to_list() == [1000, 0]
    assert not any("counters" in note for note in trace.notes)
