"""Writing a trace that grows batch by batch."""

from __future__ import annotations

import polars as pl

from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.parquet_writer import TraceWriter


def batch(number: int, rows: int) -> pl.DataFrame:
    events = [(float(number), "read", 1, 10 * number, 10, 1, 1, None, "/data/a", None)] * rows
    return pl.DataFrame(events, EVENT_SCHEMA, orient="row")


def test_many_small_batches_become_few_tables(tmp_path):
    # A watch of a week makes a million batches of no event, or of one, at 5 kB each.
    writer = TraceWriter(tmp_path)
    for number in range(2_500):
        writer.add(batch(number, number % 3))
    assert len(writer._waiting) < 1_000
    writer.finish(tmp_path / "trace.parquet", [])
    offsets = pl.read_parquet(tmp_path / "trace.parquet")["offset"].to_list()
    assert offsets == [10 * number for number in range(2_500) for _ in range(number % 3)]
