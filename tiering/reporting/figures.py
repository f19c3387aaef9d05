"""Plotly figures as plain data: curves, bars and axes."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

from tiering.units import format_number


def curve_of(x: Sequence[float], y: Sequence[float], name: str, colour: str, points: bool) -> dict[str, Any]:
    """Return a line of a figure. points: whether to mark its points."""
    mode = "lines+markers" if points else "lines"
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y, "line": {"color": colour, "width": 2}}


def bars_of(
    items: Sequence[tuple[str, float]], unit: str, what: str, write: Callable[[float], str] = format_number
) -> dict[str, Any]:
    """Return a figure of one horizontal bar for each (name, value).

    unit, what: titles of the axes of values and of names. write: writes the value beside its bar.
    """
    return figure_of(
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": [value for _, value in items],
                "y": [escaped(name) for name, _ in items],
                "text": [write(value) for _, value in items],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": "c1"},
            }
        ],
        # The page makes room for the numbers beside the bars.
        x=axis(unit, rangemode="tozero", exponentformat="SI"),
        y=axis(what, autorange="reversed", type="category", showgrid=False),
        height=110 + 26 * len(items),
    )


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with this title. more: Plotly's own settings."""
    return {"title": {"text": title}, "automargin": True, **more}


def log_axis(title: str) -> dict[str, Any]:
    """Return a logarithmic axis of sizes or times; the page labels as many of its values as there is room for."""
    # With exponentformat alone, Plotly writes a thousandth as 0.001, not as 1m.
    return axis(title, type="log", exponentformat="SI", tickformat="~s")


def scale(values: Sequence[float]) -> dict[str, Any]:
    """Return a logarithmic axis if the values differ much and are all positive."""
    low, high = min(values), max(values)
    kind = {"type": "log"} if 0 < low < high / 20 else {"rangemode": "tozero"}
    return {"exponentformat": "none", **kind}


def figure_of(data: list[dict[str, Any]], *, x: dict[str, Any], y: dict[str, Any], height: int = 340) -> dict[str, Any]:
    """Return a figure of these traces (Plotly's word for lines and bars)."""
    layout = {"xaxis": x, "yaxis": y, "height": height, "showlegend": len(data) > 1}
    return {"data": data, "layout": layout}


def escaped(text: str) -> str:
    """Escape text for a label: Plotly interprets some markup, which a file's name must not become."""
    return html.escape(text)
