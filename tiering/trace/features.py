"""From a trace to its TraceProfile, in one pass and bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tiering.trace.blocks import BlockSample, mixed
from tiering.trace.bursts import BurstFinder
from tiering.trace.distinct import DistinctCount
from tiering.trace.intervals import Ranges, RangeUnion, length, over_groups
from tiering.trace.noise import is_below, is_noise
from tiering.trace.order import order_randomness
from tiering.trace.readers import read_trace
from tiering.trace.readers.base import Level
from tiering.trace.reuse import miss_ratio_curve, passes, working_set
from tiering.trace.runs import Runs
from tiering.trace.summary import TraceProfile
from tiering.trace.tally import FileTally
from tiering.trace.unplaced import IS_NOWHERE, Unplaced

#: Visits whose order is judged: 12 bytes each, and enough for several epochs or one very long one.
_VISITS = 1 << 20


def profile_trace_file(
    path: str | os.PathLike[str],
    *,
    dataset_root: Path | None = None,
    dataset_bytes: int | None = None,
    lenient: bool = False,
    columns: Mapping[str, str] | None = None,
    beside: Callable[[pl.DataFrame], None] | None = None,
) -> TraceProfile:
    """Read a trace of any known format, or a directory of one job's logs, and profile it.

    dataset_root: directory whose files are data even where they look like a library's;
    dataset_bytes: B in the dataset, for coverage; lenient: leave out and count lines that cannot be parsed;
    columns: of a table without a telling header (tiering.trace.readers.headed.parse_mapping);
    beside: told each batch of events, for what else is to be made of them in the same pass.
    Raises TraceError where the trace cannot be used.
    """
    trace = read_trace(path, lenient=lenient, columns=columns)
    profile = profile_trace(
        trace.batches if beside is None else _shown(trace.batches, beside),
        source=str(path),
        format=trace.format,
        level=trace.level,
        dataset_root=dataset_root,
        dataset_bytes=dataset_bytes,
    )
    return profile.model_copy(
        update={"skipped_lines": trace.skipped_lines, "notes": trace.notes, "complete": trace.complete}
    )


def _shown(batches: Iterable[pl.DataFrame], to: Callable[[pl.DataFrame], None]) -> Iterator[pl.DataFrame]:
    for batch in batches:
        to(batch)
        yield batch


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

    Memory is bounded by a batch, a row for each of a million files, two million ranges, and a million references to
    blocks; what does not fit is estimated from samples by place. Figures whose denominator is 0 are 0.
    """
    noise = is_noise(dataset_root)
    inside = is_below(dataset_root) if dataset_root is not None else pl.lit(value=True)
    span, ranges, runs, tally, visits = _Span(), RangeUnion(), Runs(), FileTally(), _Visits()
    written, sample, bursts, sums, begun = RangeUnion(), BlockSample(), BurstFinder(), _Sums(), DistinctCount()
    excluded = excluded_read = sequential = 0
    for batch in batches:
        span.add(batch)
        paths = batch.select("file", "path").unique("file").with_columns(noise=noise, inside=inside)
        marked = batch.join(paths.drop("path"), on="file", how="left", maintain_order="left")
        moved = pl.col("op").is_in(["read", "write"])
        left_out = marked.filter("noise", moved)
        excluded += int(left_out["size"].sum())
        excluded_read += int(left_out.filter(pl.col("op") == "read")["size"].sum())
        data = marked.filter(~pl.col("noise"))
        run_batch = runs.add(data.filter(~IS_NOWHERE))
        reads = run_batch.reads
        ranges.add(_ranges(reads))
        begun.add(_places(reads))
        sequential += int(reads["sequential"].sum())
        visits.add(reads)
        tally.add(data, reads, run_batch.finished)
        sums.add(data)
        _sample(sample, reads)
        accesses = data.filter(pl.col("op") == "access", pl.col("size") > 0)
        if len(accesses):
            _sample(sample, _located(accesses).with_columns(sequential=pl.lit(value=False)))
        writes = data.filter(pl.col("op") == "write", pl.col("size") > 0)
        if len(writes):
            written.add(_ranges(_located(writes.filter(pl.col("offset").is_not_null()))))
            ends = writes["time"] + writes["duration"].fill_null(0.0)
            bursts.add(writes["time"].to_numpy(), ends.to_numpy(), writes["size"].to_numpy())
    tally.add_finished(runs.rest())

    files = tally.table()
    totals = sums.totals
    by_group = ranges.merged()
    by_file = over_groups(by_group)
    rate = ranges.rate
    first_reads = min(totals["bytes_read"], round(length(by_group) / rate) + sums.unplaced.bytes_nowhere)
    unique = min(first_reads, round(length(by_file) / rate) + sums.unplaced.bytes_nowhere)
    reread = totals["bytes_read"] - first_reads
    moved_bytes = totals["bytes_read"] + totals["bytes_written"]
    is_read = (files["bytes_read"] > 0) | (files["mapped_bytes"] > 0)
    is_written = (files["bytes_written"] > 0) | files["mapped_for_writing"]
    used = int((is_read | is_written).sum())
    opened = files.filter(pl.col("opens") > 0)
    again = opened.filter(pl.col("opens") > 1)["opens"]
    highest = files.filter(pl.col("bytes_read") > 0)["highest_read"]
    unique_written = min(totals["bytes_written"], round(length(over_groups(written.merged())) / written.rate))
    placed = sums.placed_bytes_written
    references = sample.references()
    return TraceProfile(
        source=source,
        format=format,
        level=level,
        events=span.events,
        duration=span.seconds,
        processes=len(span.processes),
        files=round(used / tally.rate),
        **totals,
        reads_again=max(0, totals["reads"] - sums.unplaced.reads_nowhere - begun.count()),
        bytes_unplaced=sums.unplaced.bytes,
        bytes_reread=reread,
        bytes_shared=first_reads - unique,
        unique_bytes_read=unique,
        unique_bytes_written=unique_written,
        excluded_bytes=excluded,
        excluded_bytes_read=excluded_read,
        reread_share=_share(reread, moved_bytes),
        write_share=_share(totals["bytes_written"], moved_bytes),
        opens_per_file=_share(int(opened["opens"].sum()), len(opened)),
        # Of sorted numbers, so that it does not depend on the order of files.
        opens_deviation=float(np.std(np.sort(opened["opens"].to_numpy()))) if len(opened) else 0.0,
        reopened_share=_share(len(again), len(opened)),
        reopened_once_share=_share(int((again == 2).sum()), len(again)),
        reopened_rarely_share=_share(int((again <= 5).sum()), len(again)),
        overwrite_factor=max(1.0, _share(placed, unique_written)) if totals["bytes_written"] else 0.0,
        busiest_share=sums.busiest_share(),
        whole_file_share=_share(int(files["whole_runs"].sum()), int(files["runs"].sum())),
        read_only_files=_share(int((is_read & ~is_written).sum()), used),
        write_only_files=_share(int((is_written & ~is_read).sum()), used),
        read_write_files=_share(int((is_read & is_written).sum()), used),
        sequentiality=_share(sequential, totals["reads"]),
        order_randomness=visits.randomness(files),
        file_size_mean=_share(int(highest.sum()), len(highest)),
        file_size_spread=float(np.log10(np.maximum(highest.sort().to_numpy(), 1)).std()) if len(highest) else 0.0,
        file_coverage=min(1.0, _share(unique, int(highest.sum()) / tally.rate)),
        epochs=_share(totals["bytes_read"], first_reads),
        coverage=_coverage(by_file, files, dataset_bytes),
        epochs_found=passes(references, span.begin),
        write_bursts=bursts.found(),
        working_set=working_set(references),
        miss_ratio_curve=miss_ratio_curve(references),
        sample_rate=references.rate,
        range_rate=rate,
    ).without_guesses()


def _located(moves: pl.DataFrame) -> pl.DataFrame:
    return moves.with_columns(start=pl.col("offset").fill_null(0)).with_columns(end=pl.col("start") + pl.col("size"))


def _ranges(moves: pl.DataFrame) -> Ranges:
    return Ranges(*(moves[column].to_numpy() for column in ("file", "group", "start", "end")))


def _places(reads: pl.DataFrame) -> NDArray[np.uint64]:
    """Return a hash of where each read begins, and for which job."""
    file, group, start = (reads[column].to_numpy().astype(np.uint64) for column in ("file", "group", "start"))
    return mixed(file ^ mixed(start ^ mixed(group)))


def _sample(sample: BlockSample, reads: pl.DataFrame) -> None:
    if len(reads):
        sample.add(*(reads[column].to_numpy() for column in ("file", "start", "end", "time", "sequential")))


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
    def begin(self) -> float:
        return self._first if self.events else 0.0

    @property
    def seconds(self) -> float:
        return self._last - self._first if self.events else 0.0


class _Sums:
    """Sums over the whole trace, and over each process."""

    def __init__(self) -> None:
        names = (
            "opens",
            "reads",
            "writes",
            "bytes_read",
            "bytes_written",
            "mapped_bytes",
            "accesses",
            "bytes_accessed",
        )
        self.totals = dict.fromkeys(names, 0)
        self.placed_bytes_written = 0
        self.unplaced = Unplaced()
        self._processes = [pl.DataFrame(schema={"pid": pl.Int32, "size": pl.Int64})]

    def add(self, data: pl.DataFrame) -> None:
        op, size = pl.col("op"), pl.col("size")
        self.unplaced.add(data)
        counted = data.select(
            opens=(op == "open").sum(),
            reads=((op == "read") & (size > 0)).sum(),
            writes=((op == "write") & (size > 0)).sum(),
            bytes_read=size.filter(op == "read").sum(),
            bytes_written=size.filter(op == "write").sum(),
            mapped_bytes=size.filter(op == "mmap").sum(),
            accesses=(op == "access").sum(),
            bytes_accessed=size.filter(op == "access").sum(),
            placed=size.filter(op == "write", pl.col("offset").is_not_null()).sum(),
        ).row(0, named=True)
        self.placed_bytes_written += int(counted.pop("placed"))
        for name, value in counted.items():
            self.totals[name] += int(value)
        moved = data.filter(op.is_in(["read", "write"])).group_by("pid").agg(size.sum())
        self._processes = [pl.concat([*self._processes, moved]).group_by("pid").agg(size.sum())]

    def busiest_share(self) -> float:
        sizes = np.sort(self._processes[0]["size"].to_numpy())[::-1]
        return _share(int(sizes[: max(1, len(sizes) // 100)].sum()), int(sizes.sum()))


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
        visits = pl.concat(self._kept).join(files.select("file"), on="file", how="semi", maintain_order="left")
        ranked = files.sort("path", "file")["file"].to_list()
        places = {file: place for place, file in enumerate(ranked)}
        return order_randomness(visits["file"].to_numpy(), visits["group"].to_numpy(), places)
