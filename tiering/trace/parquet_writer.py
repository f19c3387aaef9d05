"""Write a growing trace as Parquet, the format of `tiering trace`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tiering.storage.output_file import output_file
from tiering.trace.completeness import Completeness
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.program_files import is_noise
from tiering.trace.waiting import Waiting

#: Names in the file's metadata: whether the whole run is in the trace, if not, why, which processes failed, and
#: whether calls that move data are missing.
WHOLE, GAPS, FAILED, MISSING = "tiering.whole", "tiering.gaps", "tiering.failed", "tiering.missing"
#: The same of where the processes of a watched job spent their time, as JSON.
WAITING = "tiering.waiting"
#: The same of what its sources showed.
SHOWS = "tiering.shows"

#: How many events stay in memory before they go to a file.
_PART = 1 << 20
#: Batches that wait before they become one: a table of a row takes 5 kB.
_BATCHES = 1_000


class TraceWriter:
    """Collects batches of events, and writes a trace that appears complete or not at all.

    Memory is bounded by a million events and a batch. Further events wait in files below `work`.
    """

    def __init__(self, work: Path) -> None:
        self.events = self.bytes_read = self.bytes_written = self.mapped_bytes = 0
        self._work = work
        self._parts: list[Path] = []
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, batch: pl.DataFrame) -> None:
        """Add events (EVENT_SCHEMA). The sum mapped_bytes, in B, excludes the machinery of programs."""
        if not len(batch):
            return
        op, size = batch["op"], batch["size"]
        self.events += len(batch)
        self.bytes_read += int(size.filter(op == "read").sum())
        self.bytes_written += int(size.filter(op == "write").sum())
        if (is_map := op == "mmap").any():
            self.mapped_bytes += int(batch.select("size", "path").filter(is_map).filter(~is_noise())["size"].sum())
        self._waiting.append(batch)
        self._rows += len(batch)
        if len(self._waiting) >= _BATCHES:
            self._waiting = [pl.concat(self._waiting, rechunk=True)]
        if self._rows >= _PART:
            self._parts.append(self._work / f"part-{len(self._parts)}.parquet")
            self._taken().write_parquet(self._parts[-1])

    def finish(
        self,
        to: Path,
        notes: Sequence[str],
        gaps: Sequence[str] | None = None,
        *,
        failed: Sequence[int] = (),
        missing: bool = False,
        waiting: Waiting | None = None,
        completeness: Completeness | None = None,
    ) -> None:
        """Write the trace, with notes that its reader returns. Raises OSError.

        gaps: reasons why the trace is not the whole run; empty if it is, None if that is unknown. failed: processes
        that ended with a status other than 0, although the run did not. missing: whether calls that move data are
        missing. waiting: where the processes of a watched job spent their time. completeness: what its sources showed.
        """
        whole = "unknown" if gaps is None else "no" if gaps else "yes"
        metadata = {
            "tiering.notes": "\n".join(notes),
            WHOLE: whole,
            GAPS: "\n".join(gaps or ()),
            FAILED: " ".join(map(str, failed)),
            MISSING: "yes" if missing else "no",
        }
        if waiting is not None:
            metadata[WAITING] = waiting.model_dump_json()
        if completeness is not None:
            metadata[SHOWS] = completeness.model_dump_json()
        rest = self._taken()
        with output_file(to) as file:
            if self._parts:
                pl.concat([pl.scan_parquet(self._parts, glob=False), rest.lazy()]).sink_parquet(file, metadata=metadata)
            else:
                rest.write_parquet(file, metadata=metadata)

    def _taken(self) -> pl.DataFrame:
        table = pl.concat([pl.DataFrame(schema=EVENT_SCHEMA), *self._waiting])
        self._waiting, self._rows = [], 0
        return table
