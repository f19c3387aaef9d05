"""Reads whose position in the file is unknown: parts of objects in logs without ranges."""

from __future__ import annotations

import polars as pl

from tiering.trace.events import UNPLACED

_IS_UNPLACED = (pl.col("op") == "read") & (pl.col("flags") == UNPLACED).fill_null(value=False)
#: Reads without even a likely position: they neither follow nor overlap another read.
IS_NOWHERE = _IS_UNPLACED & pl.col("offset").is_null()


class Unplaced:
    """Bytes read at unknown positions; and of them, the reads and bytes without even a likely position."""

    def __init__(self) -> None:
        self.bytes = self.bytes_nowhere = self.reads_nowhere = 0

    def add(self, data: pl.DataFrame) -> None:
        """Count a batch of events (EVENT_SCHEMA)."""
        self.bytes += int(data.filter(_IS_UNPLACED)["size"].sum())
        nowhere = data.filter(IS_NOWHERE, pl.col("size") > 0)["size"]
        self.bytes_nowhere += int(nowhere.sum())
        self.reads_nowhere += len(nowhere)
