"""`tiering profile`: describe a dataset, and the workload that traces of it show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer

from tiering.cli import completion
from tiering.cli.choices import MOST_SEED, Lenient
from tiering.cli.field_trees import FieldTrees, patterns_of
from tiering.cli.mistaken_trace import no_trace
from tiering.cli.output import JsonFlag, emit_json, note
from tiering.cli.panels import INPUT, OUTPUT, SAMPLES
from tiering.cli.profiled import show
from tiering.cli.progress import progress
from tiering.cli.selected import Split, Where, selected
from tiering.errors import UsageError
from tiering.units import counted, format_count

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.progress import Progress
    from tiering.sources.source import TableSource
    from tiering.trace.trace_profile import TraceProfile


def profile(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            show_default=False,
            autocompletion=completion.stores,
            help="Directory of images, table, tar file, or packed store. Path or URL.",
        ),
    ] = None,
    trace: Annotated[
        list[Path] | None,
        typer.Option(
            "--trace",
            "-t",
            metavar="TRACE",
            rich_help_panel=INPUT,
            autocompletion=completion.traces,
            help="I/O trace of a program that reads the dataset. May be repeated.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Write the profile to this file, as JSON."
        ),
    ] = None,
    sample: Annotated[
        str,
        typer.Option(
            metavar="auto|COUNT|all",
            rich_help_panel=SAMPLES,
            help="Files to look at. auto estimates above 100,000 images.",
        ),
    ] = "auto",
    probes: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default=False,
            rich_help_panel=SAMPLES,
            metavar="COUNT",
            help="Image headers to read at most. By default all, or 2,000 of many.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=MOST_SEED, rich_help_panel=SAMPLES, metavar="NUMBER", help="Seed of the random sample."
        ),
    ] = 0,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD=COLUMN,...",
            rich_help_panel=INPUT,
            help="Columns of a trace or dataset that is a table, such as time=ts.",
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(metavar="DIR", rich_help_panel=INPUT, help="Where the paths in a table of images start."),
    ] = None,
    reencoded: Annotated[
        bool,
        typer.Option(
            "--reencoded",
            rich_help_panel=SAMPLES,
            help="Also measure stores made for training, with 300 images. Takes 5 s.",
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
    95 % intervals: --sample all counts every file, a number looks at about that many. Of a packed store it reads the
    index, and some headers. It never changes the dataset.

    --columns names the columns of a trace for time, size, op, offset, file and pid, and those of a dataset for image,
    label, split and fields. In the pattern of --field, {stem} is the path of an image below the folder of images,
    without its ending; {name} is its last part.

    Example: `tiering profile photos/ --trace train.strace -o profile.json`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.sources.source import TableSource
    from tiering.workload.profile import Profile, write_profile

    traces = trace or []
    if dataset is None and not traces:
        raise UsageError(
            "tiering profile",
            rule="needs a dataset directory or a trace",
            action="Type: tiering profile photos/",
        )
    asked = _sample(sample)
    of_table, of_trace = _columns(columns, dataset, traced=bool(traces))
    directory = None
    if dataset is not None:
        with progress(f"reading {dataset}", "images") as advance, no_trace(dataset):
            directory = _profile_dataset(
                TableSource(dataset, of_table, root) if of_table or root else dataset,
                patterns_of(field), asked, probes, seed, split, where, advance, reencoded=reencoded,
            )  # fmt: skip
    profiled = [_profile_trace(path, dataset, directory, lenient=lenient, columns=of_trace) for path in traces]
    document = Profile(dataset=directory, traces=profiled)
    if output is not None:
        write_profile(document, output)
    if json:
        emit_json(document)
    else:
        show(document.dataset, document.traces)
    _warn(document.dataset, document.traces)
    if output is not None:
        note(f"Wrote {output}.")


#: The fields of an event in a trace.
_OF_TRACES: Final = frozenset({"time", "size", "op", "offset", "file", "pid"})

#: More files than any file system holds.
_MOST_DIGITS: Final = 18


def _sample(text: str) -> Literal["auto", "all"] | int:
    if text in {"auto", "all"}:
        return cast('Literal["auto", "all"]', text)
    if text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) >= 2:
        return int(text)
    raise UsageError("--sample", rule="must be auto, all, or a number of files from 2", found=text, action="Try auto.")


def _profile_dataset(
    dataset: str | TableSource,
    fields: dict[str, str],
    sample: Literal["auto", "all"] | int,
    probes: int | None,
    seed: int,
    split: list[str] | None,
    where: str | None,
    advance: Progress,
    *,
    reencoded: bool,
) -> DatasetProfile:
    """Profile a dataset or a store. With --split or --where, a folder is opened as a store."""
    from tiering.dataset.gathering import MOST_HEADERS
    from tiering.dataset.profile import profile_dataset
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
            return profile_store(
                selected(store, split, where), probes=most, seed=seed, reencoded=reencoded, progress=advance
            )
    return profile_dataset(
        dataset, fields=fields, sample=sample, probes=probes, seed=seed, reencoded=reencoded, progress=advance
    )


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

    with progress(f"reading {path}", "events") as advance:
        return profile_trace(
            path,
            dataset_root=Path(dataset) if dataset is not None else None,
            dataset_bytes=directory.bytes if directory is not None else None,
            lenient=lenient,
            columns=columns,
            progress=advance,
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
