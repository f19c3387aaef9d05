"""The frame of a page: one HTML file with its style, its script, Plotly and the data of its charts."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from functools import cache
from importlib import import_module, resources
from typing import Any

from tiering.errors import UsageError, needs_package
from tiering.reporting.chart import Chart
from tiering.text import shown
from tiering.units import format_bytes, format_count, format_percent, format_seconds, format_usd

#: A section of the contents: its id, its words, its charts.
Section = tuple[str, str, Sequence[Chart]]


def render(template: str, *, title: str, contents: Sequence[Section], **values: object) -> str:
    """Return a template of this package as one HTML document, with the charts of its contents.

    Raises UsageError if the extra `report` is not installed.
    """
    jinja = needed("jinja2")
    environment = jinja.Environment(
        loader=jinja.FunctionLoader(_file),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja.StrictUndefined,
        # Text marked as safe is our own HTML. Any other text may be foreign, so it is shown on one line.
        finalize=lambda value: value if hasattr(value, "__html__") else _visible(value),
    )
    every = [chart for _, _, charts in contents for chart in charts]
    return str(
        environment.get_template(template).render(
            title=title,
            contents=contents,
            style=_file("page.css"),
            script=_file("page.js"),
            figures=_json({chart.name: chart.figure for chart in every}),
            csv=_json({chart.name: chart.csv.splitlines() for chart in every}),
            plotly=_plotly(),
            size=format_bytes,
            count=_count,
            counted=lambda number, one, many: f"{format_count(number)} {one if number == 1 else many}",
            percent=format_percent,
            seconds=format_seconds,
            usd=format_usd,
            **values,
        )
    )


@cache
def _plotly() -> str:
    """Return plotly.js from the wheel, gzipped and in Base64: 2.0 MB instead of 4.8. The page inflates it."""
    source: str = needed("plotly.offline").get_plotlyjs()
    return base64.b64encode(gzip.compress(source.encode(), 9, mtime=0)).decode()


def needed(module: str) -> Any:
    """Import a module of the extra `report`. Raises UsageError if it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            "tiering report", rule=needs_package("plotly and jinja2", error), action="pip install 'tiering[report]'"
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


def _count(number: float | None) -> str:
    """Write a whole number; one that a trace does not show is unknown."""
    return "an unknown number of" if number is None else format_count(number)
