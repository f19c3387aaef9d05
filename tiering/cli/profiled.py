"""What `tiering profile` prints: a dataset, and traces with their verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tiering.cli.dataset_rows import dataset_rows
from tiering.cli.output import out
from tiering.units import format_bytes, format_count, format_number, format_percent, format_seconds

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.trace.trace_profile import TraceProfile
    from tiering.workload.verdict import Verdict


def show(dataset: DatasetProfile | None, traces: list[TraceProfile]) -> None:
    """Print a dataset, then each trace with its verdict."""
    from tiering.advice.current_tier import storage_in_words
    from tiering.workload.verdict import classify

    verdicts = [classify(trace) for trace in traces]
    if dataset is not None:
        held = storage_in_words(dataset.root)
        where = [] if held is None else [("stored on", held)]
        _show_block(f"Dataset {dataset.root}", iter([*where, *dataset_rows(dataset)]))
    for trace, verdict in zip(traces, verdicts, strict=True):
        _show_block(f"Trace {trace.source}", _trace_rows(trace))
        _show_block("", _verdict_rows(verdict))


def _show_block(title: str, rows: Iterator[tuple[str, str]]) -> None:
    """Print a line for each row; on a terminal, long values are wrapped between words below their beginning."""
    from rich.table import Table

    console = out()
    if title:
        console.print(title, style="bold")
    if not console.is_terminal:
        for name, value in rows:
            console.say(f"  {name:<12} {value}")
        return
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(min_width=14, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(f"  {name}", value)
    console.print(grid)


def _trace_rows(trace: TraceProfile) -> Iterator[tuple[str, str]]:
    yield (
        "format",
        (
            f"{trace.format}, {trace.level} level: {_several(trace.events, 'event')}, "
            f"{_several(trace.processes, 'process', 'es')}, "
            f"{'files unknown' if trace.files is None else _several(trace.files, 'file')}, "
            f"{'no times' if trace.duration is None else format_seconds(trace.duration)}"
        ),
    )
    yield "read", f"{format_bytes(trace.bytes_read)} in {_several(trace.reads, 'read')}"
    yield "written", f"{format_bytes(trace.bytes_written)} in {_several(trace.writes, 'write')}"
    if trace.mapped_bytes and not trace.mapped_seen:
        yield "mapped", f"at most {format_bytes(trace.mapped_bytes)}"
    again = (
        f", by {format_count(trace.reads_again)} of the reads" if trace.reads and trace.reads_again is not None else ""
    )
    least = "" if trace.is_placed else "at least "
    yield "read again", f"{least}{format_percent(trace.reread_share)} of all bytes moved{again}"
    if trace.accesses:
        asked = format_bytes(trace.bytes_accessed)
        yield "accesses", f"{format_count(trace.accesses)}, {asked} (whether they read or wrote is not known)"
    if trace.epochs_found is not None:
        found = trace.epochs_found
        yield (
            "epochs",
            f"{found.count}" + ("" if found.period is None else f", one every {format_seconds(found.period)}"),
        )
    elif not trace.is_placed and trace.epochs is not None and trace.bytes_reread == 0:
        yield "epochs", f"{format_number(trace.epochs)}, by the bytes read and those of the dataset"
    elif not trace.is_placed or trace.epochs is None:
        yield "epochs", "unknown: the trace does not record the offsets of reads"
    elif trace.bytes_read:
        yield "epochs", f"none; each byte was read {format_number(trace.epochs)} times on average"
    if trace.write_bursts is not None and trace.write_bursts.count > 1:
        bursts = trace.write_bursts
        every = f", one every {format_seconds(bursts.period)}" if bursts.period is not None else ""
        yield "bursts", f"{bursts.count} of about {format_bytes(round(bursts.size))} written{every}"
    if curve := trace.miss_ratio_curve:
        whole = curve[-1].cache_bytes
        half = min(curve, key=lambda point: abs(point.cache_bytes - whole / 2))
        filled, lru = format_percent(1 - half.static), format_percent(1 - half.lru)
        yield "cache", f"{format_bytes(half.cache_bytes)} would answer {filled} of the reads (LRU: {lru})"
    if trace.coverage is not None:
        yield "coverage", f"{format_percent(trace.coverage)} of the dataset's bytes"


def _verdict_rows(verdict: Verdict) -> Iterator[tuple[str, str]]:
    sure = format_percent(verdict.probability)
    if verdict.workload != "inconclusive":
        yield "verdict", f"{verdict.workload} ({sure} sure)"
    elif verdict.facts:
        likeliest = max(verdict.probabilities, key=verdict.probabilities.__getitem__)
        yield "verdict", f"inconclusive (the likeliest is {likeliest}, at {sure})"
    else:
        yield "verdict", "inconclusive"
    for fact in verdict.facts:
        yield "", f"- {'against it: ' if fact.against else ''}{fact.text}"
    for line in verdict.notes:
        yield "", f"- {line}"


def _several(count: int, word: str, ending: str = "s") -> str:
    return f"{format_count(count)} {word}{'' if count == 1 else ending}"
