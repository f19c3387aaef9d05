"""Merge the traces of several processes by time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from tiering.trace.events import EVENT_SCHEMA

_TOGETHER = 16


def merged(streams: Sequence[Iterator[pl.DataFrame]]) -> Iterator[pl.DataFrame]:
    """Merge streams of batches by time. A single stream is passed through.

    If each stream is in order of time, events are yielded as soon as no earlier one can follow. Memory is bounded by
    two batches per stream. Many streams are merged in groups, so that each batch is compared with few others.
    """
    if len(streams) > _TOGETHER:
        step = -(-len(streams) // _TOGETHER)
        streams = [merged(streams[at : at + step]) for at in range(0, len(streams), step)]
    if len(streams) == 1:
        yield from streams[0]
        return
    waiting = {number: pl.DataFrame(schema=EVENT_SCHEMA) for number in range(len(streams))}
    open_ones = set(waiting)
    while open_ones or any(map(len, waiting.values())):
        for number in sorted(open_ones):
            while number in open_ones and waiting[number].is_empty():
                batch = next(streams[number], None)
                if batch is None:
                    open_ones.discard(number)
                else:
                    waiting[number] = batch.sort("time", maintain_order=True)
        ends = [float(waiting[number]["time"].to_numpy()[-1]) for number in open_ones]
        until = min(ends, default=float("inf"))
        ready = pl.concat([batch.filter(pl.col("time") <= until) for batch in waiting.values()])
        waiting = {number: batch.filter(pl.col("time") > until) for number, batch in waiting.items()}
        if len(ready):
            yield ready.sort("time", maintain_order=True)
