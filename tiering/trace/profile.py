"""Make the TraceProfile of a trace, in one pass and bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tiering.progress import Progress, no_progress
from tiering.trace.block_sample import BlockSample
from tiering.trace.bursts import BurstFinder
from tiering.trace.distinct_count import DistinctCount
from tiering.trace.events import IS_NOWHERE
from tiering.trace.file_totals import FileTally, file_figures
from tiering.trace.hash_share import mixed
from tiering.trace.intervals import Ranges, RangeUnion, length, over_groups
from tiering.trace.overwrites import WHOLE, Accesses, ReadHistory
from tiering.trace.program_evidence_tally import ProgramEvidenceTally, kinds_of
from tiering.trace.program_files import FileMarks
from tiering.trace.read_runs import ReadRuns
from tiering.trace.readers import read_trace
from tiering.trace.readers.base import Level
from tiering.trace.reuse_distance import miss_ratio_curve, passes, working_set
from tiering.trace.running_totals import Span, Sums, share
from tiering.trace.trace_profile import TraceProfile
from tiering.trace.visit_order import Visits

_REFERRED = ("file", "start", "end", "time", "sequential")


def profile_trace(
    path: str | os.PathLike[str],
    *,
    dataset_root: Path | None = None,
    dataset_bytes: int | None = None,
    lenient: bool = False,
    columns: str | None = None,
    beside: Callable[[pl.DataFrame, pl.DataFrame], None] | None = None,
    progress: Progress = no_progress,
) -> TraceProfile:
    """Read a trace of any known format, or a directory of one job's logs, and profile it.

    Args:
        path: A trace, as for `read_trace`.
        dataset_root: A directory whose files are data, even if they look like those of a library.
        dataset_bytes: B in the dataset, for coverage.
        lenient: Count lines that cannot be parsed, and skip them.
        columns: Columns of a table, as for `read_trace`.
        beside: Called with each batch of events, and with those of its events that are not of the machinery of
            programs, to use them in the same pass.
        progress: Called with the events read, an estimate of all events, and 0.

    Returns:
        The figures of the trace.

    Raises:
        TraceError: The trace cannot be used.
        UsageError: `columns` does not fit the table.

    Example:
        >>> profile = tiering.profile_trace("job.strace")  # doctest: +SKIP
        >>> profile.reread_share, profile.write_share  # doctest: +SKIP
        (0.79, 0.02)
    """
    trace = read_trace(path, lenient=lenient, columns=columns)
    profile = profile_events(
        trace.reporting(progress),
        source=str(path),
        format=trace.format,
        level=trace.level,
        dataset_root=dataset_root,
        dataset_bytes=dataset_bytes,
        failed=lambda: trace.failed,
        beside=beside,
    )
    seen = {"skipped_lines": trace.skipped_lines, "notes": trace.notes, "whole": trace.complete, "gaps": trace.gaps}
    seen |= {"calls_missing": trace.missing, "waiting": trace.waiting}
    if profile.evidence is not None and (clients := {name for each in trace.damage for name in each.clients}):
        seen["evidence"] = profile.evidence.with_clients(*kinds_of(clients))
    profile = profile.model_copy(update=seen | (_without_times(profile) if trace.untimed else {}))
    return trace.completeness.applied(profile, dataset_bytes)


def _without_times(profile: TraceProfile) -> dict[str, object]:
    """Drop the figures that need times. In such a trace, times are just line numbers."""
    found = profile.epochs_found
    epochs = found and found.model_copy(update={"period": None, "boundaries": []})
    evidence = profile.evidence and profile.evidence.without_times()
    return {
        "untimed": True,
        "evidence": evidence,
        "duration": None,
        "epochs_found": epochs,
        "write_bursts": None,
        "working_set": [],
    }


def profile_events(
    batches: Iterable[pl.DataFrame],
    *,
    source: str = "",
    format: str = "events",  # noqa: A002
    level: Level = "file",
    dataset_root: Path | None = None,
    dataset_bytes: int | None = None,
    failed: Callable[[], Collection[int]] = tuple,
    beside: Callable[[pl.DataFrame, pl.DataFrame], None] | None = None,
) -> TraceProfile:
    """Profile a stream of event batches.

    Memory is bounded by a batch, a row for each of a million files, two million ranges, and a million references to
    blocks. Larger traces are estimated from samples of positions. Figures whose denominator is 0 are 0.

    Args:
        batches: Events in EVENT_SCHEMA, in order of time.
        source: The name of the trace, kept in the profile.
        format: The name of its format, kept in the profile.
        level: The layer at which it was taken.
        dataset_root: A directory whose files are data, even if they look like those of a library.
        dataset_bytes: B in the dataset, for coverage.
        failed: Called at the end; returns the processes that failed or were ended although the run did not fail.
        beside: As for `profile_trace`.

    Returns:
        The figures of the trace.

    Example:
        >>> trace = tiering.read_trace("job.parquet")  # doctest: +SKIP
        >>> tiering.profile_events(trace.batches).reread_share  # doctest: +SKIP
        0.79
    """
    marks = FileMarks(dataset_root)
    span, history, runs, tally, visits = Span(), ReadHistory(), ReadRuns(), FileTally(), Visits()
    written, sample, bursts, sums, begun = RangeUnion(), BlockSample(), BurstFinder(), Sums(), DistinctCount()
    evidence = ProgramEvidenceTally()
    excluded = excluded_read = sequential = 0
    for batch in batches:
        span.add(batch)
        marked = marks.marked(batch)
        moved = pl.col("op").is_in(["read", "write"])
        left_out = marked.filter("noise", moved)
        excluded += int(left_out["size"].sum())
        excluded_read += int(left_out.filter(pl.col("op") == "read")["size"].sum())
        data = marked.filter(~pl.col("noise"))
        evidence.add(marked, data)
        if beside is not None:
            beside(batch, data)
        placed = data.filter(~IS_NOWHERE)
        run_batch = runs.add(placed)
        reads = run_batch.reads
        history.add(_in_order(placed, reads))
        begun.add(_beginnings(reads))
        sequential += int(reads["sequential"].sum())
        visits.add(reads)
        tally.add(data, reads, run_batch.finished)
        sums.add(data)
        _sample(sample, reads, data)
        writes = data.filter(pl.col("op") == "write", pl.col("size") > 0)
        if len(writes):
            written.add(_ranges(_located(writes.filter(pl.col("offset").is_not_null()))))
            ends = writes["time"] + writes["duration"].fill_null(0.0)
            bursts.add(writes["time"].to_numpy(), ends.to_numpy(), writes["size"].to_numpy())
    tally.add_finished(runs.rest())

    files = tally.table()
    totals = sums.totals
    # No read of unknown position is known to repeat another.
    nowhere = sums.unplaced.bytes_nowhere
    first_reads = min(totals["bytes_read"], history.first_reads() + nowhere)
    content = min(first_reads, history.new_content() + nowhere)
    read, rate = history.ranges_read(), history.rate
    touched = round(length(read) / rate)
    unique = min(content, touched + nowhere)
    reread = totals["bytes_read"] - first_reads
    moved_bytes = totals["bytes_read"] + totals["bytes_written"]
    unique_written = min(totals["bytes_written"], round(length(over_groups(written.merged())) / written.rate))
    references = sample.references()
    return TraceProfile(
        source=source,
        format=format,
        level=level,
        events=span.events,
        duration=span.seconds,
        processes=len(span.processes),
        failed_share=sums.share_of(failed()),
        **totals,
        **file_figures(files, tally.rate, unique),
        reads_again=max(0, totals["reads"] - sums.unplaced.reads_nowhere - begun.count()),
        bytes_unplaced=sums.unplaced.bytes,
        bytes_reread=reread,
        bytes_shared=first_reads - content,
        unique_bytes_read=unique,
        unique_bytes_written=unique_written,
        excluded_bytes=excluded,
        excluded_bytes_read=excluded_read,
        reread_share=share(reread, moved_bytes),
        write_share=share(totals["bytes_written"], moved_bytes),
        overwrite_factor=max(1.0, share(sums.placed_bytes_written, unique_written)) if totals["bytes_written"] else 0.0,
        busiest_share=sums.busiest_share(),
        sequentiality=share(sequential, totals["reads"]),
        order_randomness=visits.randomness(files),
        epochs=share(totals["bytes_read"], first_reads),
        coverage=_coverage(read, rate, files, dataset_bytes),
        epochs_found=passes(references, span.begin),
        write_bursts=bursts.found(),
        working_set=working_set(references, touched),
        miss_ratio_curve=miss_ratio_curve(references, touched),
        sample_rate=references.rate,
        range_rate=rate,
        evidence=evidence.found(files),
    ).without_guesses()


def _located(moves: pl.DataFrame) -> pl.DataFrame:
    return moves.with_columns(start=pl.col("offset").fill_null(0)).with_columns(end=pl.col("start") + pl.col("size"))


def _ranges(moves: pl.DataFrame) -> Ranges:
    return Ranges(*(moves[column].to_numpy() for column in ("file", "group", "start", "end")))


def _beginnings(reads: pl.DataFrame) -> NDArray[np.uint64]:
    """Return a hash of the job, file and start of each read."""
    file, group, start = (reads[column].to_numpy().astype(np.uint64) for column in ("file", "group", "start"))
    return mixed(file ^ mixed(start ^ mixed(group)))


def _in_order(data: pl.DataFrame, reads: pl.DataFrame) -> Accesses:
    """Put reads (from ReadRuns) and changes of files back into the order of events."""
    op, size = pl.col("op"), pl.col("size")
    # After a file is renamed, overwritten by a rename or removed, its name stands for another file.
    replaced = op.is_in(["rename", "unlink"])
    kinds = data.select(
        read=(op == "read") & (size > 0),
        changes=((op == "write") & (size > 0) & pl.col("offset").is_not_null()) | replaced,
    )
    if not kinds["changes"].any():
        return Accesses(*_ranges(reads), np.zeros(len(reads), np.bool_))
    whole = pl.when(replaced)
    changes = data.filter(kinds["changes"]).select(
        "file",
        "group",
        start=whole.then(0).otherwise("offset"),
        end=whole.then(WHOLE).otherwise(pl.col("offset") + size),
    )
    rows = [np.flatnonzero(kinds[name].to_numpy()) for name in ("read", "changes")]
    order = np.argsort(np.concatenate(rows), kind="stable")
    both = pl.concat([reads.select(changes.columns), changes])
    return Accesses(*_ranges(both), np.arange(len(both)) >= len(reads)).at(order)


def _sample(sample: BlockSample, reads: pl.DataFrame, data: pl.DataFrame) -> None:
    """Add reads, and accesses that may be reads, in order of time."""
    accesses = data.filter(pl.col("op") == "access", pl.col("size") > 0)
    if len(accesses):
        located = _located(accesses).with_columns(sequential=pl.lit(value=False))
        reads = pl.concat([reads.select(_REFERRED), located.select(_REFERRED)]).sort("time", maintain_order=True)
    if len(reads):
        sample.add(*(reads[column].to_numpy() for column in _REFERRED))


def _coverage(read: Ranges, rate: float, files: pl.DataFrame, dataset_bytes: int | None) -> float | None:
    if not dataset_bytes:
        return None
    mine = np.isin(read.file, files.filter("inside")["file"].to_numpy())
    return min(1.0, length(read.at(mine)) / rate / dataset_bytes)
