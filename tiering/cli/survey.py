"""`tiering survey`: the datasets below some directories."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tiering.cli import completion
from tiering.cli.choices import Lenient, TraceColumns
from tiering.cli.output import JsonFlag, emit_json, note, out, table
from tiering.cli.panels import INPUT, OUTPUT
from tiering.cli.progress import progress
from tiering.text import shown
from tiering.units import counted, format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from tiering.placement.survey import Survey, SurveyedDataset

#: Columns of the table, and rows that it shows at most.
_WIDTH: Final = 80
_ROWS: Final = 40


def survey(
    roots: Annotated[list[str], typer.Argument(metavar="DIR...", help="Directories to look into.")],
    trace: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TRACE",
            show_default=False,
            rich_help_panel=INPUT,
            autocompletion=completion.traces,
            help="Trace or access log of a job: adds what it reads. May be repeated.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Write the survey, for `tiering place`."
        ),
    ] = None,
    columns: TraceColumns = None,
    lenient: Lenient = False,
    json: JsonFlag = False,
) -> None:
    """Find the datasets below some directories: kind, files, bytes, age, and how much jobs read of them.

    Finds folders of images, tar files, tables, TFRecords, arrays, and packed stores (LMDB, Zarr). Opens no file.

    Example: `tiering survey photos/ scans/ --trace train.strace -o survey.json`
    """
    # Imported here so that `tiering --help` stays quick.
    from tiering.placement.survey import survey as look

    with progress(f"surveying {', '.join(roots)}", "files") as advance:
        found = look(roots, traces=trace or (), lenient=lenient, columns=columns, progress=advance)
    if output is not None:
        from tiering.placement.survey_file import write_survey

        write_survey(found, output)
        note(f"Wrote {output}.")
    if json:
        emit_json(found)
        return
    _show(found)
    for line in (*found.notes, *(each for job in found.jobs for each in job.notes)):
        note(f"Note: {line}")


def _show(found: Survey) -> None:
    console = out()
    largest = sorted(found.datasets, key=lambda dataset: (-dataset.bytes, dataset.path))[:_ROWS]
    traced: Counter[str] = Counter()
    for job in found.jobs:
        for heat in job.datasets:
            traced[heat.path] += heat.bytes_read
    titles = ("kind", "files", "bytes", *(("read", "in traces") if found.jobs else ("changed", "read")))
    rows = []
    for dataset in largest:
        read = _last_read(found, dataset)
        uses = (read, format_bytes(traced[dataset.path])) if found.jobs else (_age(found, dataset.changed), read)
        rows.append((dataset.kind, format_count(dataset.files), format_bytes(dataset.bytes), *uses))
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    left = _WIDTH - sum(widths) - 2 * len(widths)
    view = table("dataset", *titles)
    for dataset, row in zip(largest, rows, strict=True):
        view.add_row(_shortened(shown(dataset.path), left), *row)
    if rows:
        console.show(view)
    more = len(found.datasets) - len(largest)
    if more:
        console.say(f"... and {format_count(more)} smaller ones: --json or -o lists all.")
    inside, files = found.bytes - found.outside_bytes, found.files - found.outside_files
    console.say(
        f"{counted(len(found.datasets), 'dataset')} with {format_bytes(inside)} in {counted(files, 'file')}. "
        f"Outside them: {format_bytes(found.outside_bytes)} in {counted(found.outside_files, 'file')}."
    )
    for job in found.jobs:
        console.say(
            f"{job.trace}: reads or writes {format_count(len(job.datasets))} of the datasets, and "
            f"{format_bytes(job.elsewhere_bytes)} of {counted(job.elsewhere_files, 'file')} outside them."
        )


def _age(found: Survey, when: int | None) -> str:
    """Return how long before the survey a time was: "3.2 days"; "-" for none."""
    return "-" if when is None else format_seconds(max(0.0, round(float(found.taken - when), 0)))


def _last_read(found: Survey, dataset: SurveyedDataset) -> str:
    if dataset.access_times == "not kept":
        return "not kept"
    if dataset.read is not None and dataset.changed is not None and dataset.read <= dataset.changed:
        return "no"
    return _age(found, dataset.read)


def _shortened(path: str, width: int) -> str:
    """Return a path with its middle left out if it is too long: /data/...sets/pets."""
    width = max(width, 12)
    if len(path) <= width:
        return path
    head = (width - 3) // 3
    return f"{path[:head]}...{path[-(width - 3 - head) :]}"
