"""Charts for papers: each as SVG and PDF, in a style for print, with its data as CSV. Drawn by matplotlib."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from html import unescape
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tiering.advice.saved_advice import Assumptions
from tiering.errors import UsageError, needs_package
from tiering.reporting.chart import Chart
from tiering.reporting.comparison_charts import of_both
from tiering.reporting.content import Content, Reported, gather
from tiering.reporting.page import charts_of
from tiering.storage.output_file import write_output

#: A column of most journals, and the height of a chart in it, in inches.
_WIDTH: Final = 3.5
_HEIGHT: Final = 2.3
#: Okabe and Ito's colours, which readers of every kind of sight tell apart, each with a line style for grey printers.
_COLOURS: Final = {
    "c1": "#0072B2",
    "c2": "#D55E00",
    "c3": "#009E73",
    "c4": "#BBBBBB",
    "c5": "#CC79A7",
    "text": "#000000",
}
_STYLES: Final = ("-", "--", ":", "-.")
_SETTINGS: Final = {
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.4,
    "legend.frameon": False,
    "legend.fontsize": 7,
    # Text stays text: it can be searched and edited, and equal data give equal files.
    "svg.fonttype": "none",
    "svg.hashsalt": "tiering",
    "pdf.fonttype": 42,
    # A dollar sign in a file's name begins no formula.
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
}
_MARKERS: Final = {"circle": "o", "square": "s", "star": "*"}


def write_figures(
    source: Reported | Content,
    directory: str | os.PathLike[str],
    traces: Sequence[str | os.PathLike[str]] = (),
    *,
    other: Reported | Content | None = None,
    assumptions: Assumptions | None = None,
) -> list[str]:
    """Write each chart of a report as NAME.svg, NAME.pdf and NAME.csv, and what each shows into captions.txt.

    Args:
        source: As for write_report.
        directory: It is made if it does not exist. Existing files of the same names are replaced.
        traces: Traces to show besides those of the profile.
        other: Something to compare with, for the charts of `write_comparison`.
        assumptions: The basis of the advice, if none was saved.

    Returns:
        The names of the files, in the order of the report.

    Raises:
        UsageError: The extra `figures` is not installed.
        InputError: The source or a trace cannot be read.
        OSError: A file cannot be written.

    Example:
        >>> tiering.write_figures("profile.json", "figures")  # doctest: +SKIP
        ['pareto.svg', 'pareto.pdf', 'pareto.csv', 'captions.txt']
    """
    plotting = _matplotlib()
    paths = [Path(trace) for trace in traces]
    content = source if isinstance(source, Content) else gather(source, paths, assumptions=assumptions, pictures=False)
    if other is None:
        charts = [chart for _, _, each in charts_of(content) for chart in each]
    else:
        charts = of_both(content, other if isinstance(other, Content) else gather(other, pictures=False))
    files: dict[str, bytes] = {}
    for chart in charts:
        name = _file_name(chart.name)
        for kind in ("svg", "pdf"):
            files[f"{name}.{kind}"] = _drawn(plotting, chart, kind)
        files[f"{name}.csv"] = chart.csv.encode()
    captions = (
        f"{_file_name(chart.name)}: {chart.title}. {chart.lesson}. {chart.summary}".rstrip() for chart in charts
    )
    files["captions.txt"] = ("\n".join(captions) + "\n").encode()
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_output(Path(directory, name), data)
    return list(files)


def _file_name(name: str) -> str:
    """Return a chart's name as that of a file: a field's name may hold any character."""
    return "".join(each if each.isascii() and (each.isalnum() or each in "-_") else "_" for each in name)


def _matplotlib() -> Any:
    try:
        for name in ("figure", "ticker", "backends.backend_svg", "backends.backend_pdf"):
            import_module(f"matplotlib.{name}")
        return import_module("matplotlib")
    except ImportError as error:
        raise UsageError(
            "figures for print", rule=needs_package("matplotlib", error), action="pip install 'tiering[figures]'"
        ) from error


def _drawn(plotting: Any, chart: Chart, kind: str) -> bytes:
    """Return a chart as a file of this kind."""
    data, layout = chart.figure["data"], chart.figure["layout"]
    with plotting.rc_context(_SETTINGS):
        lying = bool(data) and data[0].get("orientation") == "h"
        height = max(_HEIGHT, 0.5 + 0.17 * len(data[0]["y"])) if lying else _HEIGHT
        figure = plotting.figure.Figure(figsize=(_WIDTH, height))
        axes = figure.subplots()
        stacked = [each for each in data if "stackgroup" in each]
        if stacked:
            axes.stackplot(
                stacked[0]["x"],
                [each["y"] for each in stacked],
                labels=[each["name"] for each in stacked],
                colors=[_COLOURS[each["fillcolor"]] for each in stacked],
                step="post",
                linewidth=0,
            )
        for nth, each in enumerate(data):
            if each["type"] == "heatmap":
                _heat(figure, axes, each)
            elif each["type"] == "bar":
                _bars(axes, each, nth, len(data))
            elif each not in stacked:
                _curve(axes, each, nth)
        _axes(plotting, axes, layout, data[0]["y"] if data else [], lying=lying)
        if layout["showlegend"]:
            long = sum(len(each["name"]) for each in data) > 40
            columns = 2 if long else len(data)
            figure.legend(loc="outside upper center", ncols=columns, columnspacing=1.0, handlelength=1.5)
        made = io.BytesIO()
        # Without the time, equal data give equal files.
        no_time = {"Date": None} if kind == "svg" else {"CreationDate": None}
        figure.savefig(made, format=kind, metadata={"Title": chart.title, **no_time})
    return made.getvalue()


def _curve(axes: Any, each: dict[str, Any], nth: int) -> None:
    marks = "markers" in each["mode"]
    if "lines" not in each["mode"]:
        marker = each["marker"]
        axes.scatter(
            each["x"], each["y"], label=each["name"], s=24, color=_COLOURS[marker["color"]],
            marker=_MARKERS[marker["symbol"]], zorder=3,
        )  # fmt: skip
        return
    axes.plot(
        each["x"],
        each["y"],
        label=each["name"],
        color=_COLOURS[each["line"]["color"]],
        linestyle=_STYLES[nth % len(_STYLES)],
        linewidth=1,
        marker="o" if marks else None,
        markersize=2.5,
        drawstyle="steps-post" if each["line"].get("shape") == "hv" else "default",
    )
    if each.get("fill"):
        axes.fill_between(each["x"], each["y"], step="post", color=_COLOURS[each["line"]["color"]], alpha=0.2)


def _bars(axes: Any, each: dict[str, Any], nth: int, of: int) -> None:
    colour = _COLOURS[each["marker"]["color"]]
    if each.get("orientation") == "h":
        names = [unescape(name) for name in each["y"]]
        drawn = axes.barh(range(len(names)), each["x"], color=colour)
        axes.bar_label(drawn, each["text"], fontsize=6, padding=2)
        axes.set_yticks(range(len(names)), names, fontsize=6)
        # Room for the number beside the longest bar.
        room = 1.1 + 0.03 * max(map(len, each["text"]))
        axes.set_xlim(0, room * max(map(float, each["x"])) or 1)
        return
    width = 0.8 / of
    at = [place + (nth - (of - 1) / 2) * width for place in range(len(each["x"]))]
    axes.bar(at, each["y"], width, label=each["name"], color=colour)
    many = len(each["x"]) > 5
    axes.set_xticks(range(len(each["x"])), each["x"], rotation=45 if many else 0, ha="right" if many else "center")


def _heat(figure: Any, axes: Any, each: dict[str, Any]) -> None:
    values = [[float("nan") if value is None else value for value in row] for row in each["z"]]
    half = (each["x"][1] - each["x"][0]) / 2 if len(each["x"]) > 1 else 0.5
    shown = axes.imshow(
        values,
        aspect="auto",
        interpolation="nearest",
        cmap="viridis_r",
        vmin=each["zmin"],
        vmax=each["zmax"],
        extent=(each["x"][0] - half, each["x"][-1] + half, len(values) - 0.5, -0.5),
    )
    bar = figure.colorbar(shown, ax=axes, label=each["colorbar"]["title"]["text"])
    bar.set_ticks(each["colorbar"]["tickvals"], labels=each["colorbar"]["ticktext"])
    axes.grid(visible=False)


def _axes(plotting: Any, axes: Any, layout: dict[str, Any], names: Sequence[str], *, lying: bool) -> None:
    for name, axis in (("xaxis", axes.xaxis), ("yaxis", axes.yaxis)):
        wanted = layout[name]
        axis.set_label_text(wanted["title"]["text"])
        if wanted.get("type") == "log":
            (axes.set_xscale if name == "xaxis" else axes.set_yscale)("log")
        if "range" in wanted and wanted.get("type") != "log" and not lying:
            (axes.set_xlim if name == "xaxis" else axes.set_ylim)(*wanted["range"])
        elif wanted.get("rangemode") == "tozero":
            low, high = axis.get_view_interval()
            (axes.set_xlim if name == "xaxis" else axes.set_ylim)(0, high + 0.05 * (high - min(low, 0)))
        if wanted.get("exponentformat") == "SI":
            axis.set_major_formatter(plotting.ticker.EngFormatter(sep=""))
        if wanted.get("autorange") == "reversed" and wanted.get("type") == "category" and "ticktext" not in wanted:
            axis.set_inverted(True)
        if "ticktext" in wanted:
            at = [names.index(each) for each in wanted["tickvals"]]
            axis.set_ticks(at, labels=[unescape(each) for each in wanted["ticktext"]], fontsize=5)
    for line in layout.get("shapes", []):
        axes.axvline(line["x0"], color="#000000", linewidth=0.5, linestyle=":")
