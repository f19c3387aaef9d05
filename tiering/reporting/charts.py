"""Charts: each is a Plotly figure as plain data, a sentence that describes it, and the same data as a table.

Colours are names ("c1", "text") that the page replaces with those of its light or dark theme.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tiering.dataset.profile import DatasetProfile
from tiering.reporting.advice import Advice
from tiering.reporting.content import TracePart
from tiering.reporting.figures import axis, bars_of, curve_of, escaped, figure_of, scale
from tiering.trace.timeline import Timeline
from tiering.trace.trace_profile import TraceProfile
from tiering.units import counted, format_bytes, format_count, format_percent, format_rate, format_seconds


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its figure, and the same data as a table.

    name: unique in the page. summary: a description for readers. figure: Plotly's. columns, rows: the table.
    """

    name: str
    title: str
    summary: str
    figure: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def of_dataset(dataset: DatasetProfile) -> list[Chart]:
    """Return the distributions of sizes and, if headers were read, of shapes."""
    sizes = dataset.size_quantiles
    points = [(size, float(share)) for share, size in sizes.items()]
    # A logarithmic axis labels few numbers, perhaps none of a narrow range.
    logarithmic = {"type": "log", "dtick": "D2"} if sizes["1"] > 10 * sizes["0"] else {}
    made = [
        Chart(
            "sizes",
            "Image sizes",
            f"All images have {format_bytes(sizes['1'])}."
            if sizes["0"] == sizes["1"]
            else f"Half of the images are at most {format_bytes(sizes['0.5'])}, 95 % at most "
            f"{format_bytes(sizes['0.95'])}, the largest is {format_bytes(sizes['1'])}.",
            figure_of(
                [
                    curve_of(
                        [max(size, 1) for size, _ in points], [100 * share for _, share in points], "images", "c1", True
                    )
                ],
                x=axis("size (B)", exponentformat="SI", **logarithmic),
                y=axis("images at most this large (%)", range=[0, 103]),
            ),
            ("share of images", "at most"),
            [(f"{100 * share:g} %", format_bytes(size)) for size, share in points],
        )
    ]
    if dataset.shapes:
        shapes = [(f"{each.width} x {each.height} {each.mode}", each.count) for each in dataset.shapes]
        seen = dataset.probed - dataset.damaged_count
        made.append(
            Chart(
                "shapes",
                "Image shapes",
                f"{counted(dataset.distinct_shapes, 'shape')} in {counted(seen, 'image')} looked at; the most "
                f"common is {shapes[0][0]}, {format_percent(shapes[0][1] / max(seen, 1))} of them.",
                bars_of(shapes, "images of those looked at"),
                ("shape", "images"),
                [(name, format_count(count)) for name, count in shapes],
            )
        )
    return made


def of_trace(part: TracePart, number: int) -> list[Chart]:
    """Return the charts of the number-th trace: timeline, heat map, shares, miss ratios, probabilities."""
    trace = part.profile
    made = []
    if part.timeline is not None:
        made += [_timeline(part.timeline, trace, number), _heat(part.timeline, number)]
    made.append(_shares(trace, number))
    if trace.miss_ratio_curve:
        made.append(_misses(trace, number))
    odds = sorted(part.verdict.probabilities.items(), key=lambda item: -item[1])
    made.append(
        Chart(
            f"verdict-{number}",
            "How likely each workload is",
            f"{odds[0][0]} is the likeliest, with {format_percent(odds[0][1], digits=3)}.",
            bars_of([(name, round(100 * share, 2)) for name, share in odds], "probability (%)"),
            ("workload", "probability"),
            [(name, format_percent(share, digits=3)) for name, share in odds],
        )
    )
    return made


def of_advice(advice: Advice) -> Chart:
    """Return the plot of cost against epoch time, with the Pareto front as a line."""
    front = sorted((row for row in advice.rows if row.on_frontier), key=lambda row: row.usd)
    data = (
        [curve_of([row.usd for row in front], [row.epoch_s for row in front], "Pareto front", "c3", False)]
        if front
        else []
    )
    for mark, label, colour, symbol in (
        ("", "other options", "c1", "circle"),
        ("now", "as it is now", "c2", "square"),
        ("chosen", "chosen", "c3", "star"),
    ):
        rows = [row for row in advice.rows if row.mark == mark]
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text" if mark else "markers",
                "name": label,
                "text": [label if mark else escaped(row.name) for row in rows],
                "textposition": "top center",
                "x": [row.usd for row in rows],
                "y": [row.epoch_s for row in rows],
                "marker": {"color": colour, "symbol": symbol, "size": 15 if mark else 9},
            }
        )
    return Chart(
        "pareto",
        "Cost against epoch time",
        f"Lower and further left is better. {advice.summary}",
        figure_of(
            data,
            x=axis("cost (USD/month)", **scale([row.usd for row in advice.rows])),
            y=axis("time of a later epoch (s)", **scale([row.epoch_s for row in advice.rows])),
            height=440,
        ),
        ("option", "", "USD/month", "s of a later epoch", "on the Pareto front"),
        [
            (row.name, row.mark, f"{row.usd:,.2f}", f"{row.epoch_s:.4g}", "yes" if row.on_frontier else "no")
            for row in advice.rows
        ],
    )


def _timeline(line: Timeline, trace: TraceProfile, number: int) -> Chart:
    times = [round(float(at), 9) for at in np.arange(len(line.read)) * line.bin_s]
    kinds = [("read", line.read, "c1"), ("written", line.written, "c2"), ("accessed", line.accessed, "c3")]
    kinds = [kind for kind in kinds if kind[1].any()]
    data = [
        curve_of(times, [float(f"{rate:.5g}") for rate in sums / line.bin_s], name, colour, False)
        for name, sums, colour in kinds
    ]
    for one in data:
        one["line"]["shape"] = "hv"
    starts = trace.epochs_found.boundaries if trace.epochs_found is not None else []
    # More lines would hide the data between them.
    shown = starts if len(starts) <= 60 else []
    figure = figure_of(data, x=axis("time since the trace began (s)"), y=axis("rate (B/s)", exponentformat="SI"))
    figure["layout"]["shapes"] = [
        {
            "type": "line",
            "x0": at,
            "x1": at,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": "text", "width": 1, "dash": "dot"},
        }
        for at in shown
    ]
    every = max(1, len(shown) // 8)
    figure["layout"]["annotations"] = [
        {
            "x": at,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "text": f"epoch {nth}",
            "font": {"size": 11},
        }
        for nth, at in enumerate(shown, start=2)
        if (nth - 2) % every == 0
    ]
    peak = max((float(sums.max()) / line.bin_s for _, sums, _ in kinds), default=0.0)
    epochs = f" {len(starts) + 1} epochs." if starts else " No epochs were found."
    return Chart(
        f"timeline-{number}",
        "Reads and writes over time",
        f"{format_bytes(float(line.read.sum()))} read and {format_bytes(float(line.written.sum()))} written; "
        f"at most {format_rate(peak)} in a bin of {format_seconds(line.bin_s)}.{epochs}",
        figure,
        ("time", *(name for name, _, _ in kinds)),
        [
            (format_seconds(at), *(format_bytes(int(sums[nth])) for _, sums, _ in kinds))
            for nth, at in enumerate(times)
            if any(sums[nth] for _, sums, _ in kinds)
        ],
    )


def _heat(line: Timeline, number: int) -> Chart:
    times = [round(float(at), 9) for at in (np.arange(line.heat.shape[1]) + 0.5) * line.heat_bin_s]
    sampled = "" if line.rate == 1 else f" They are a sample: {format_percent(line.rate, digits=2)} of all files."
    values = [[round(float(v), 2) if v else None for v in row] for row in np.log10(np.maximum(line.heat, 1))]
    figure = figure_of(
        [
            {
                "type": "heatmap",
                "x": times,
                "y": list(range(len(line.rows))),
                "z": values,
                "colorscale": "heat",
                "colorbar": {"title": {"text": "log10 B"}, "thickness": 12},
                "hovertemplate": "row %{y}, %{x:.3g} s: 10^%{z} B<extra></extra>",
            }
        ],
        x=axis("time since the trace began (s)"),
        y=axis("files, in order of path", autorange="reversed", showgrid=False),
        height=460,
    )
    return Chart(
        f"heat-{number}",
        "Accesses to files over time",
        f"{format_count(line.files)} files in {format_count(len(line.rows))} rows by order of path, "
        f"{line.heat.shape[1]} bins of "
        f"{format_seconds(line.heat_bin_s)}; darker or brighter is more bytes.{sampled}",
        figure,
        ("row", "files", "bytes", "bins with accesses"),
        [
            (str(nth), name, format_bytes(int(row.sum())), str(int((row > 0).sum())))
            for nth, (name, row) in enumerate(zip(line.rows, line.heat, strict=True))
        ],
    )


def _shares(trace: TraceProfile, number: int) -> Chart:
    first = trace.bytes_read - trace.bytes_reread
    if trace.bytes_shared is None:
        parts = [("read, for the first time or again", first), ("surely read again", trace.bytes_reread)]
    else:
        parts = [
            ("read for the first time", first - trace.bytes_shared),
            ("read first by another process", trace.bytes_shared),
            ("read again", trace.bytes_reread),
        ]
    parts.append(("written", trace.bytes_written))
    whole = max(1, trace.bytes_read + trace.bytes_written)
    return Chart(
        f"shares-{number}",
        "What the bytes moved were",
        f"{format_percent(trace.reread_share, digits=3)} of all bytes moved were read again, "
        f"{format_percent(trace.write_share, digits=3)} written.",
        bars_of([(name, float(f"{100 * size / whole:.4g}")) for name, size in parts], "share of bytes moved (%)"),
        ("part", "bytes", "share"),
        [(name, format_bytes(size), f"{100 * size / whole:.3g} %") for name, size in parts],
    )


def _misses(trace: TraceProfile, number: int) -> Chart:
    curve = trace.miss_ratio_curve
    sizes = [point.cache_bytes for point in curve]
    half = min(curve, key=lambda point: abs(point.cache_bytes - sizes[-1] / 2))
    return Chart(
        f"misses-{number}",
        "Miss ratio against cache size",
        f"With {format_bytes(half.cache_bytes)} a cache that fills once misses {format_percent(half.static)} of the "
        f"reads, an LRU cache {format_percent(half.lru)}.",
        figure_of(
            [
                curve_of(sizes, [100 * point.static for point in curve], "filled once", "c1", False),
                curve_of(sizes, [100 * point.lru for point in curve], "LRU", "c2", False),
            ],
            x=axis("cache size (B)", exponentformat="SI", rangemode="tozero"),
            y=axis("reads missed (%)", range=[0, 103]),
        ),
        ("cache", "filled once", "LRU"),
        [
            (format_bytes(p.cache_bytes), format_percent(p.static, digits=3), format_percent(p.lru, digits=3))
            for p in curve
        ],
    )
