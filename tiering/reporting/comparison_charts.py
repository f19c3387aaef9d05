"""Charts that show two traces, or two datasets, on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tiering.reporting.chart import Chart
from tiering.reporting.content import Content, TracePart
from tiering.reporting.evidence_charts import cumulated, power_range
from tiering.reporting.figures import axis, curve_of, figure_of, log_axis
from tiering.units import format_bytes, format_number, format_percent, format_rate, format_seconds

_SIDES = (("A", "c1"), ("B", "c2"))


def of_both(first: Content, second: Content) -> list[Chart]:
    """Return the charts that both sides allow; of several traces, the first of each side counts."""
    made = []
    if first.traces and second.traces:
        parts = (first.traces[0], second.traces[0])
        drawn = (_rates(parts), _sizes(parts), _latencies(parts), _doing(parts), _misses(parts))
        made += [chart for chart in drawn if chart is not None]
    datasets = [each.profile.dataset for each in (first, second)]
    if datasets[0] is not None and datasets[1] is not None:
        quantiles = [each.size_quantiles for each in datasets if each is not None]
        data = [
            curve_of([max(1, size) for size in sizes.values()], [100 * float(q) for q in sizes], name, colour, True)
            for sizes, (name, colour) in zip(quantiles, _SIDES, strict=True)
        ]
        made.append(
            _chart(
                "image-sizes-of-both",
                "Image sizes",
                "The images of A and B have the same sizes"
                if quantiles[0] == quantiles[1]
                else f"Half of the images are at most {format_bytes(quantiles[0]['0.5'])} in A, and "
                f"{format_bytes(quantiles[1]['0.5'])} in B",
                data,
                x=log_axis("size (B)"),
                y=axis("images at most this large (%)", range=[0, 103]),
            )
        )
    return made


def _chart(
    name: str, title: str, lesson: str, data: list[dict[str, Any]], *, x: dict[str, Any], y: dict[str, Any]
) -> Chart:
    across, up = x["title"]["text"], y["title"]["text"]
    rows: list[tuple[str, ...]] = [
        (each["name"], _number(at), _number(to)) for each in data for at, to in zip(each["x"], each["y"], strict=True)
    ]
    return Chart(name, title, lesson, "", figure_of(data, x=x, y=y), ("side", across, up), rows)


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else format_number(value)


def _rates(parts: Sequence[TracePart]) -> Chart | None:
    found = [part.evidence.timeline for part in parts if part.evidence is not None]
    lines = [each for each in found if each is not None]
    if len(lines) < 2:
        return None
    data = []
    for line, (name, colour) in zip(lines, _SIDES, strict=True):
        rates = (line.read + line.written + line.accessed) / line.bin_s
        times = [round(float(at), 9) for at in np.arange(len(rates)) * line.bin_s]
        one = curve_of(times, [float(f"{rate:.5g}") for rate in rates], name, colour, False)
        data.append(one | {"line": one["line"] | {"shape": "hv"}})
    means = [float((line.read + line.written + line.accessed).sum()) / (len(line.read) * line.bin_s) for line in lines]
    return _chart(
        "rates-of-both",
        "Bytes moved over time",
        f"A moves {format_rate(means[0])} on average, B {format_rate(means[1])}",
        data,
        x=axis("time since the trace began (s)"),
        y=axis("rate (B/s)", exponentformat="SI"),
    )


def _sizes(parts: Sequence[TracePart]) -> Chart | None:
    found = [part.evidence.sizes.calls[0] for part in parts if part.evidence is not None]
    if len(found) < 2 or not all(calls.any() for calls in found):
        return None
    used = np.flatnonzero(np.sum(found, axis=0))
    bins = list(range(int(used[0]), int(used[-1]) + 1))
    data = [
        curve_of(
            [2**each for each in bins],
            [float(f"{100 * calls[each] / calls.sum():.4g}") for each in bins],
            name,
            colour,
            True,
        )
        for calls, (name, colour) in zip(found, _SIDES, strict=True)
    ]
    common = [power_range(int(calls.argmax())) for calls in found]
    return _chart(
        "read-sizes-of-both",
        "Sizes of reads",
        f"The most frequent reads move {common[0]} in A, {common[1]} in B",
        data,
        x=log_axis("size of a read, from (B)"),
        y=axis("reads (%)", rangemode="tozero"),
    )


def _latencies(parts: Sequence[TracePart]) -> Chart | None:
    found = [
        next((calls for calls in part.evidence.calls if calls.op == "read"), None)
        for part in parts
        if part.evidence is not None
    ]
    known = [each for each in found if each is not None]
    if len(known) < 2:
        return None
    data = [cumulated(times, name, colour) for times, (name, colour) in zip(known, _SIDES, strict=True)]
    middle, late = ([format_seconds(times.percentile(percent)) for times in known] for percent in (50, 99))
    return _chart(
        "read-times-of-both",
        "Times of reads",
        f"Half of the reads take at most {middle[0]} in A, {middle[1]} in B; 1 of 100 takes {late[0]} or more in A, "
        f"{late[1]} in B",
        data,
        x=log_axis("time of a read (s)"),
        y=axis("reads that take at most that (%)", range=[0, 103]),
    )


def _doing(parts: Sequence[TracePart]) -> Chart | None:
    found = [part.evidence.process_times for part in parts if part.evidence is not None]
    known = [each for each in found if each is not None]
    if len(known) < 2:
        return None
    kinds = {"reading": "read", "writing": "write", "other calls": "other"}
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": name,
            "x": list(kinds),
            "y": [float(f"{100 * times.shares[kind]:.4g}") for kind in kinds.values()],
            "marker": {"color": colour},
        }
        for times, (name, colour) in zip(known, _SIDES, strict=True)
    ]
    inside = [sum(times.shares.values()) for times in known]
    return _chart(
        "doing-of-both",
        "What the processes do",
        f"Processes spend {format_percent(inside[0])} of their time in calls in A, {format_percent(inside[1])} in B",
        data,
        x=axis("what the processes do", type="category"),
        y=axis("time of all processes (%)", rangemode="tozero"),
    )


def _misses(parts: Sequence[TracePart]) -> Chart | None:
    curves = [part.profile.miss_ratio_curve for part in parts]
    if not all(curves):
        return None
    data = [
        curve_of([point.cache_bytes for point in curve], [100 * point.static for point in curve], name, colour, False)
        for curve, (name, colour) in zip(curves, _SIDES, strict=True)
    ]
    sizes = [curve[-1].cache_bytes for curve in curves]
    return _chart(
        "misses-of-both",
        "Miss ratio against cache size",
        f"What is read takes {format_bytes(sizes[0])} in A, {format_bytes(sizes[1])} in B",
        data,
        x=axis("cache that fills once (B)", exponentformat="SI", rangemode="tozero"),
        y=axis("reads missed (%)", range=[0, 103]),
    )
