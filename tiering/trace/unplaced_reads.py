"""Reads of bytes of which the trace does not tell where they lie: parts of objects in logs without Ranges."""

from __future__ import annotations

import polars as pl

from tiering.trace.events import UNPLACED

_IS_UNPLACED = (pl.col("op") == "read") & (pl.col("flags") == UNPLACED).fill_null(value=False)
#: Those that have not even a likely place: they follow no read, and overlap none.
IS_NOWHERE = _IS_UNPLACED & pl.col("offset").is_null()


class Unplaced:
    """Bytes read somewhere in their files; and of them the reads, and bytes, that have not even a likely place."""

    def __init__(self) -> None:
        self.bytes = self.bytes_nowhere = self.reads_nowhere = 0

    def add(self, data: pl.DataFrame) -> None:
        """Count a batch of events (EVENT_SCHEMA)."""
        self.bytes += int(data.filter(_IS_UNPLACED)["size"].sum())
        nowhere = data.filter(IS_NOWHERE, pl.col("size") > 0)["size"]
        self.bytes_nowhere += int(nowhere.sum())
        self.reads_nowhere += len(nowhere)
