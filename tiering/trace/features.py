"""TraceProfile: what a trace says about a workload, in one pass and bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from tiering.trace.intervals import Ranges, RangeUnion, length, over_groups
from tiering.trace.noise import is_below, is_noise
from tiering.trace.order import order_randomness
from tiering.trace.readers import read_trace
from tiering.trace.readers.base import Level
from tiering.trace.runs import Runs
from tiering.trace.tally import FileTally

#: Visits whose order is judged: 12 bytes each, and enough for several epochs or one very long one.
_VISITS = 1 << 20


class TraceProfile(BaseModel):
    """The features of one trace. Sizes are bytes, times are seconds, shares are ratios in [0, 1].

    Traffic of the interpreter, of libraries, of /proc, /sys and /dev and of terminals and pipes is left out
    of every figure and counted in excluded_bytes alone.
    """

    model_config = ConfigDict(frozen=True)

    source: str = Field(description="path of the trace")
    format: str = Field(description="name of the reader that read it")
    level: Level = Field(description="where it was taken; a block trace hides what the page cache served")
    events: int = Field(description="events of any kind, excluded ones included")
    skipped_lines: int = Field(default=0, description="lines that a lenient reading left out")
    duration: float = Field(description="s from the first event to the end of the last")
    processes: int = Field(description="distinct processes with any event")
    files: int = Field(description="distinct files with data read, written or mapped")

    reads: int = Field(description="calls that read at least one byte; probes of a file's end are none")
    writes: int
    opens: int
    bytes_read: int
    bytes_written: int
    bytes_reread: int = Field(description="read again by the process group that had read them before")
    bytes_shared: int = Field(description="read first by another process group")
    unique_bytes_read: int = Field(description="distinct bytes of files, whoever read them")
    mapped_bytes: int = Field(description="an upper bound: touches of a mapping are invisible to a tracer")
    excluded_bytes: int = Field(description="read and written by the machinery of programs")

    reread_share: float = Field(description="bytes_reread / (bytes_read + bytes_written)")
    write_share: float = Field(description="bytes_written / (bytes_read + bytes_written)")
    opens_per_file: float = Field(description="mean opens of a file that was opened")
    reopened_share: float = Field(description="share of opened files that were opened again")
    whole_file_share: float = Field(
        description="share of runs of reads, from an open to the close, that cover the file from 0 to "
        "the highest byte read of it, without skipping ahead"
    )
    read_only_files: float = Field(description="share of files only read")
    write_only_files: float = Field(description="share of files only written")
    read_write_files: float = Field(description="share of files both read and written")
    sequentiality: float = Field(
        description="share of reads that begin where the last since the open ended, or at byte 0 as the first"
    )
    order_randomness: float = Field(
        description="how random the order of visits to files is: 0 sorted or repeated, 1 as in a shuffle"
    )
    file_size_mean: float = Field(description="mean over read files of the highest byte read")
    epochs: float = Field(
        description="passes: bytes_read / (bytes_read - bytes_reread); 1 is a single pass, 0 no reads"
    )
    coverage: float | None = Field(
        default=None,
        description="unique bytes read below dataset_root (of all files without one) / bytes of the dataset, "
        "where that is known",
    )


def profile_trace_file(
    path: str | os.PathLike[str],
    *,
    dataset_root: Path | None = None,
    dataset_bytes: int | None = None,
    lenient: bool = False,
) -> TraceProfile:
    """Read a trace file of any known format and profile it.

    dataset_root: directory whose files are data even where they look like a library's;
    dataset_bytes: B in the dataset, for coverage; lenient: leave out and count lines that cannot be parsed.
    Raises TraceError where the trace cannot be used.
    """
    trace = read_trace(path, lenient=lenient)
    profile = profile_trace(
        trace.batches,
        source=str(path),
        format=trace.format,
        level=trace.level,
        dataset_root=dataset_root,
        dataset_bytes=dataset_bytes,
    )
    return profile.model_copy(update={"skipped_lines": trace.skipped_lines})


def profile_trace(
    batches: Iterable[pl.DataFrame],
    *,
    source: str = "",
    format: str = "events",  # noqa: A002
    level: Level = "file",
    dataset_root: Path | None = None,
    dataset_bytes: int | None = None,
) -> TraceProfile:
    """Profile a stream of event batches (EVENT_SCHEMA, in order of time).

    Memory is bounded by a batch, a row per file, the disjoint ranges read, and a million visits.
    Figures whose denominator is 0 are 0.
    """
    noise = is_noise(dataset_root)
    inside = is_below(dataset_root) if dataset_root is not None else pl.lit(value=True)
    span, ranges, runs, tally, visits = _Span(), RangeUnion(), Runs(), FileTally(), _Visits()
    excluded = sequential = 0
    for batch in batches:
        span.add(batch)
        marked = batch.with_columns(noise=noise, inside=inside)
        moved = pl.col("op").is_in(["read", "write"])
        excluded += int(marked.filter("noise", moved)["size"].sum())
        data = marked.filter(~pl.col("noise"))
        run_batch = runs.add(data)
        reads = run_batch.reads
        ranges.add(Ranges(*(reads[column].to_numpy() for column in ("file", "group", "start", "end"))))
        sequential += int(reads["sequential"].sum())
        visits.add(reads)
        tally.add(data, reads, run_batch.finished)
    tally.add_finished(runs.rest())

    files = tally.table()
    summed = ("opens", "reads", "writes", "bytes_read", "bytes_written")
    totals = {name: int(files[name].sum()) for name in summed}
    by_group = ranges.merged()
    by_file = over_groups(by_group)
    first_reads, unique = length(by_group), length(by_file)
    reread = totals["bytes_read"] - first_reads
    moved_bytes = totals["bytes_read"] + totals["bytes_written"]
    is_read = (files["bytes_read"] > 0) | (files["mapped_bytes"] > 0)
    is_written = (files["bytes_written"] > 0) | files["mapped_for_writing"]
    used = int((is_read | is_written).sum())
    opened = files.filter(pl.col("opens") > 0)
    return TraceProfile(
        source=source,
        format=format,
        level=level,
        events=span.events,
        duration=span.seconds,
        processes=len(span.processes),
        files=used,
        **totals,
        bytes_reread=reread,
        bytes_shared=first_reads - unique,
        unique_bytes_read=unique,
        mapped_bytes=int(files["mapped_bytes"].sum()),
        excluded_bytes=excluded,
        reread_share=_share(reread, moved_bytes),
        write_share=_share(totals["bytes_written"], moved_bytes),
        opens_per_file=_share(totals["opens"], len(opened)),
        reopened_share=_share(int((opened["opens"] > 1).sum()), len(opened)),
        whole_file_share=_share(int(files["whole_runs"].sum()), int(files["runs"].sum())),
        read_only_files=_share(int((is_read & ~is_written).sum()), used),
        write_only_files=_share(int((is_written & ~is_read).sum()), used),
        read_write_files=_share(int((is_read & is_written).sum()), used),
        sequentiality=_share(sequential, totals["reads"]),
        order_randomness=visits.randomness(files),
        file_size_mean=_share(int(files["highest_read"].sum()), int((files["bytes_read"] > 0).sum())),
        epochs=_share(totals["bytes_read"], first_reads),
        coverage=_coverage(by_file, files, dataset_bytes),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _coverage(by_file: Ranges, files: pl.DataFrame, dataset_bytes: int | None) -> float | None:
    if not dataset_bytes:
        return None
    mine = np.isin(by_file.file, files.filter("inside")["file"].to_numpy())
    return min(1.0, length(by_file.at(mine)) / dataset_bytes)


class _Span:
    """When the trace begins and ends, and who is in it."""

    def __init__(self) -> None:
        self.events = 0
        self.processes: set[int] = set()
        self._first, self._last = float("inf"), float("-inf")

    def add(self, batch: pl.DataFrame) -> None:
        if batch.is_empty():
            return
        self.events += len(batch)
        self.processes.update(batch["pid"].unique())
        ends = batch["time"] + batch["duration"].fill_null(0.0)
        self._first = min(self._first, float(batch["time"].to_numpy().min()))
        self._last = max(self._last, float(ends.to_numpy().max()))

    @property
    def seconds(self) -> float:
        return self._last - self._first if self.events else 0.0


class _Visits:
    """The first visits of the trace, in order."""

    def __init__(self) -> None:
        self._kept: list[pl.DataFrame] = []
        self._count = 0

    def add(self, reads: pl.DataFrame) -> None:
        if self._count < _VISITS:
            visits = reads.filter("visit").select("file", "group").head(_VISITS - self._count)
            self._kept.append(visits)
            self._count += len(visits)

    def randomness(self, files: pl.DataFrame) -> float:
        if not self._count:
            return 0.0
        visits = pl.concat(self._kept)
        ranked = files.sort("path", "file")["file"].to_list()
        places = {file: place for place, file in enumerate(ranked)}
        return order_randomness(visits["file"].to_numpy(), visits["group"].to_numpy(), places)
