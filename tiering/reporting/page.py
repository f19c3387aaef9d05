"""Render a report into one HTML file, with Plotly included and nothing fetched."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Sequence
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from tiering import __version__
from tiering.dataset.profile import DatasetProfile
from tiering.errors import UsageError
from tiering.reporting.advice import COLUMNS, WHAT_IF, Assumptions
from tiering.reporting.charts import of_advice, of_dataset, of_trace
from tiering.reporting.content import Content, gather
from tiering.reporting.field_charts import COLUMNS as FIELD_COLUMNS
from tiering.reporting.field_charts import field_rows, of_fields
from tiering.sources.account_lines import account_lines
from tiering.storage.output_file import write_output
from tiering.text import shown
from tiering.units import format_bytes, format_count, format_seconds


def write_report(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    traces: Sequence[str | os.PathLike[str]] = (),
    *,
    assumptions: Assumptions | None = None,
    lenient: bool = False,
    columns: str | None = None,
) -> None:
    """Write one HTML file that shows a dataset, its traces, their verdicts and the recommendations.

    Args:
        source: A profile.json, a directory of images, or a packed store; a path or a URL.
        output: The file to write. It appears complete or not at all, and replaces an existing one.
        traces: Traces to show besides those of the profile.
        assumptions: The training run that the advice is for.
        lenient: Count damaged lines of a trace, and skip them.
        columns: Columns of a trace that is a table, as for `profile_trace`.

    Raises:
        UsageError: The extra `report` is not installed.
        DatasetError: The source is neither a profile nor images.
        StoreError: The source is a store that is damaged.
        ProfileError: The profile cannot be read.
        TraceError: A trace cannot be read.
        OSError: The file cannot be written.

    Example:
        >>> tiering.write_report("photos", "report.html", ["job.strace"])  # doctest: +SKIP
    """
    given = assumptions or Assumptions()
    content = gather(source, [Path(trace) for trace in traces], assumptions=given, lenient=lenient, columns=columns)
    write_output(output, render(content, given))


def render(content: Content, assumptions: Assumptions) -> str:
    """Return the report as one HTML document. Raises UsageError if the extra `report` is not installed."""
    jinja = _needed("jinja2")
    environment = jinja.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja.StrictUndefined,
        # Text marked as safe is our own HTML. Any other text may be foreign, so it is shown on one line.
        finalize=lambda value: value if hasattr(value, "__html__") else _visible(value),
    )
    template = environment.from_string(_file("page.html.jinja"))
    dataset = content.profile.dataset
    in_dataset = of_dataset(dataset) if dataset is not None else []
    fields = dataset.fields if dataset is not None else []
    of_each_field = of_fields(fields)
    in_traces = [of_trace(part, number) for number, part in enumerate(content.traces, start=1)]
    pareto = of_advice(content.advice) if content.advice is not None else None
    of_traces = [chart for charts in in_traces for chart in charts]
    every = [*in_dataset, *of_each_field, *of_traces, *([pareto] if pareto else [])]
    return str(
        template.render(
            title=dataset.root if dataset is not None else "I/O traces",
            version=__version__,
            style=_file("page.css"),
            script=_file("page.js"),
            dataset=dataset,
            dataset_charts=in_dataset,
            account=_account(dataset) if dataset is not None else [],
            fields=field_rows(fields),
            field_columns=FIELD_COLUMNS,
            field_charts=of_each_field,
            pictures=content.pictures,
            traces=list(zip(content.traces, in_traces, strict=True)),
            advice=content.advice,
            pareto=pareto,
            given=assumptions.job,
            option_columns=COLUMNS,
            what_if_columns=WHAT_IF,
            figures=_json({chart.name: chart.figure for chart in every}),
            plotly=_plotly(),
            size=format_bytes,
            count=format_count,
            seconds=format_seconds,
        )
    )


def _account(dataset: DatasetProfile) -> list[str]:
    """Return the lines of what is packed, or would be, and what is left out."""
    return list(account_lines(dataset.account, "packed" if dataset.is_packed else "to pack", about=dataset.sampled))


def _plotly() -> str:
    """Return plotly.js from the wheel, gzipped and in Base64: 2.0 MB instead of 4.8. The page inflates it."""
    source: str = _needed("plotly.offline").get_plotlyjs()
    return base64.b64encode(gzip.compress(source.encode(), 9, mtime=0)).decode()


def _needed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            "tiering report", expected="plotly and jinja2", found=str(error), action="pip install 'tiering[report]'"
        ) from error


def _file(name: str) -> str:
    return (resources.files("tiering.reporting") / name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """Return JSON that is safe in a script element: no "<" can end that element, or begin another."""
    text = json.dumps(_visible(value), separators=(",", ":"), default=lambda number: number.item())
    return text.replace("<", "\\u003c")


def _visible(value: object) -> object:
    """Return a value in which every text is escaped by tiering.text.shown."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {name: _visible(item) for name, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list | tuple) else value
