"""`tiering profile`: describe a dataset, and the workload that traces of it show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer

from tiering.cli.choices import MOST_SEED, Lenient
from tiering.cli.dataset_rows import dataset_rows
from tiering.cli.field_trees import FieldTrees, patterns_of
from tiering.cli.mistaken_trace import no_trace
from tiering.cli.output import JsonFlag, emit_json, note, out, status
from tiering.cli.selected import Split, Where, selected
from tiering.errors import UsageError
from tiering.units import counted, format_bytes, format_count, format_percent, format_seconds

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.sources.source import TableSource
    from tiering.trace.trace_profile import TraceProfile
    from tiering.workload.verdict import Verdict


def profile(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            help="Directory of images, table, tar file, or packed store; path or URL.",
            show_default=False,
        ),
    ] = None,
    trace: Annotated[
        list[Path] | None,
        typer.Option(
            "--trace", "-t", metavar="TRACE", help="I/O trace of a program that reads the dataset. May be repeated."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the profile to this file, as JSON."),
    ] = None,
    sample: Annotated[
        str,
        typer.Option(
            metavar="auto|N|all",
            help="all: count every file. N: estimate from about N files, without listing the others. "
            "auto: estimate above 100,000 images.",
        ),
    ] = "auto",
    probes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most image headers to read when files are counted. By default all, or 2,000 of more than 10,000.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the random sample.")] = 0,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD=COLUMN,...",
            help="For a trace that is a table: columns for time, size, op, offset, file and pid, such as "
            "time=ts,size=len. For a dataset that is a table: image, label, split and fields.",
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(metavar="DIRECTORY", help="Directory that the paths in a table of images are relative to."),
    ] = None,
    reencoded: Annotated[
        bool,
        typer.Option(
            "--reencoded",
            help="Also re-encode 300 of the images, and measure the bytes, the speed and the loss of stores made for "
            "training. Takes about 5 s.",
        ),
    ] = False,
    field: FieldTrees = None,
    split: Split = None,
    where: Where = None,
    lenient: Lenient = False,
    json: JsonFlag = False,
) -> None:
    """Describe an image dataset and, from I/O traces, the workload that reads it.

    Counts files and reads image headers. For large datasets it samples some directories and estimates the rest, with
    95 % intervals. Of a packed store it reads the index, and some headers. It never changes the dataset.

    Example: `tiering profile photos/ --trace train.strace -o profile.json`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.sources.source import TableSource
    from tiering.workload.profile import Profile, write_profile

    traces = trace or []
    if dataset is None and not traces:
        raise UsageError(
            "tiering profile",
            expected="a dataset directory or a trace",
            found="neither",
            action="Type: tiering profile photos/",
        )
    asked = _sample(sample)
    of_table, of_trace = _columns(columns, dataset, traced=bool(traces))
    directory = None
    if dataset is not None:
        with status(f"Reading {dataset}"), no_trace(dataset):
            directory = _profile_dataset(
                TableSource(dataset, of_table, root) if of_table or root else dataset,
                patterns_of(field), asked, probes, seed, split, where, reencoded=reencoded,
            )  # fmt: skip
    profiled = [_profile_trace(path, dataset, directory, lenient=lenient, columns=of_trace) for path in traces]
    document = Profile(dataset=directory, traces=profiled)
    if output is not None:
        write_profile(document, output)
        note(f"Wrote {output}.")
    _warn(document.dataset, document.traces)
    if json:
        emit_json(document)
        return
    _show(document.dataset, document.traces)


#: The fields of an event in a trace.
_OF_TRACES: Final = frozenset({"time", "size", "op", "offset", "file", "pid"})

#: More files than any file system holds.
_MOST_DIGITS: Final = 18


def _sample(text: str) -> Literal["auto", "all"] | int:
    if text in {"auto", "all"}:
        return cast('Literal["auto", "all"]', text)
    if text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) >= 2:
        return int(text)
    raise UsageError("--sample", expected="auto, all, or a number of files from 2", found=text, action="Try auto.")


def _profile_dataset(
    dataset: str | TableSource,
    fields: dict[str, str],
    sample: Literal["auto", "all"] | int,
    probes: int | None,
    seed: int,
    split: list[str] | None,
    where: str | None,
    *,
    reencoded: bool,
) -> DatasetProfile:
    """Profile a dataset or a store. With --split or --where, a folder is opened as a store."""
    from tiering.dataset.profile import MOST_HEADERS, profile_dataset
    from tiering.store.open import is_store, open_store
    from tiering.store.profile import profile_store

    selecting = bool(split) or where is not None
    if selecting and not isinstance(dataset, str):
        raise UsageError(
            "--split and --where", expected="a store or a folder of images", found="a table, by --columns or --root"
        )
    if isinstance(dataset, str) and (selecting or is_store(dataset)):
        most = probes if probes or sample == "auto" else MOST_HEADERS if sample == "all" else sample
        with open_store(dataset, fields=fields) as store:
            return profile_store(selected(store, split, where), probes=most, seed=seed, reencoded=reencoded)
    return profile_dataset(dataset, fields=fields, sample=sample, probes=probes, seed=seed, reencoded=reencoded)


def _columns(text: str | None, dataset: str | None, *, traced: bool) -> tuple[str | None, str | None]:
    """Part the columns of a table of images from those of a trace, by the names of the fields."""
    if text is None or dataset is None:
        return None, text
    if not traced:
        return text, None
    parts = text.split(",")
    of_trace = [part for part in parts if part.partition("=")[0].strip() in _OF_TRACES and "=" in part]
    of_table = [part for part in parts if part not in of_trace]
    return ",".join(of_table) or None, ",".join(of_trace) or None


def _profile_trace(
    path: Path, dataset: str | None, directory: DatasetProfile | None, *, lenient: bool, columns: str | None
) -> TraceProfile:
    from tiering.trace.profile import profile_trace

    with status(f"Reading {path}"):
        return profile_trace(
            path,
            dataset_root=Path(dataset) if dataset is not None else None,
            dataset_bytes=directory.bytes if directory is not None else None,
            lenient=lenient,
            columns=columns,
        )


def _warn(dataset: DatasetProfile | None, traces: list[TraceProfile]) -> None:
    if dataset is not None:
        for line in dataset.notes:
            note(f"Note: {line}")
        if dataset.damaged_count:
            note(
                f"Warning: {format_count(dataset.damaged_count)} of {format_count(dataset.probed)} images "
                "looked at cannot be used:"
            )
        for line in dataset.damaged:
            note(f"  {line}")
        if dataset.damaged_count > len(dataset.damaged):
            note(f"  ... and {format_count(dataset.damaged_count - len(dataset.damaged))} more")
    for trace in traces:
        if trace.skipped_lines:
            note(f"Warning: {trace.source}: skipped {counted(trace.skipped_lines, 'damaged line')}.")
        if dataset is not None and trace.coverage == 0 and trace.bytes_read:
            note(f"Note: {trace.source} reads no file below {dataset.root}: was it recorded under another path?")


def _show(dataset: DatasetProfile | None, traces: list[TraceProfile]) -> None:
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
    yield "read", f"{format_bytes(trace.bytes_read)} in {format_count(trace.reads)} reads"
    yield "written", f"{format_bytes(trace.bytes_written)} in {format_count(trace.writes)} writes"
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
        yield "epochs", f"{trace.epochs:.3g}, by the bytes read and those of the dataset"
    elif not trace.is_placed or trace.epochs is None:
        yield "epochs", "unknown: the trace does not record the offsets of reads"
    elif trace.bytes_read:
        yield "epochs", f"none; each byte was read {trace.epochs:.3g} times on average"
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
    yield "verdict", f"{verdict.workload} ({format_percent(verdict.probability)} sure)"
    for fact in verdict.facts:
        yield "", f"- {'against it: ' if fact.against else ''}{fact.text}"
    for line in verdict.notes:
        yield "", f"- {line}"


def _several(count: int, word: str, ending: str = "s") -> str:
    return f"{format_count(count)} {word}{'' if count == 1 else ending}"
