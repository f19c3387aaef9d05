"""Parquet files that are written piece by piece."""

from __future__ import annotations

import errno
import itertools
import resource
import signal

import polars as pl
import pytest

from tiering.storage.location import Location
from tiering.storage.parquet_file import ParquetFile

SCHEMA = {"number": pl.Int64(), "text": pl.String()}


def piece(begin, end):
    return pl.DataFrame(
        {"number": range(begin, end), "text": [f"é {n}" * 20 for n in range(begin, end)]}, schema=SCHEMA
    )


def made(path, pieces, **how):
    with ParquetFile(Location(str(path)), SCHEMA, {"a": "b"}, **({"rows": 10, "compression": "snappy"} | how)) as file:
        for each in pieces:
            file.write(each)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("bounds", [[], [0, 3], [0, 10, 20], [0, 1, 2, 50, 51], [0, 1000]])
def test_pieces_become_rows_in_their_order(tmp_path, bounds, plain):
    made(tmp_path / "x.parquet", (piece(*each) for each in itertools.pairwise(bounds)), plain=plain)
    found = pl.read_parquet(tmp_path / "x.parquet")
    assert found.equals(piece(0, bounds[-1] if bounds else 0))
    assert pl.read_parquet_metadata(tmp_path / "x.parquet")["a"] == "b"
    assert ("ARROW:schema" in pl.read_parquet_metadata(tmp_path / "x.parquet")) is not plain


def test_an_error_of_the_caller_comes_through(tmp_path):
    def failing():
        yield piece(0, 100)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        made(tmp_path / "x.parquet", failing())


def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"x\.parquet") as raised:
            made(tmp_path / "x.parquet", (piece(at, at + 5000) for at in range(0, 500_000, 5000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert raised.value.errno == errno.EFBIG


def test_nothing_is_replaced(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        made(tmp_path / "x.parquet", [])
    assert (tmp_path / "x.parquet").read_bytes() == b"mine"
