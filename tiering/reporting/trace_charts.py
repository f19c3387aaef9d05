"""Charts of a trace: bytes over time and by file, shares, miss ratios and the verdict."""

from __future__ import annotations

import numpy as np

from tiering.reporting.chart import Chart
from tiering.reporting.figures import axis, bars_of, curve_of, escaped, figure_of
from tiering.text import shown
from tiering.trace.timeline import Timeline
from tiering.trace.trace_profile import TraceProfile
from tiering.units import counted, format_bytes, format_percent, format_rate, format_seconds
from tiering.workload.verdict import Verdict

_LABELS = 12
_LABEL_CHARACTERS = 26


def of_trace(trace: TraceProfile, verdict: Verdict, line: Timeline | None, number: int) -> list[Chart]:
    """Return the charts of the number-th trace: timeline, heat map, shares, miss ratios, probabilities."""
    made = []
    if line is not None:
        made.append(_timeline(line, trace, number))
        # One row would show the timeline again.
        if len(line.rows) > 1:
            made.append(_heat(line, number))
    if trace.bytes_read + trace.bytes_written:
        made.append(_shares(trace, number))
    if trace.miss_ratio_curve:
        made.append(_misses(trace, number))
    if not verdict.facts:
        return made
    odds = sorted(verdict.probabilities.items(), key=lambda item: -item[1])
    second = f"; {odds[1][0]} is next, with {format_percent(odds[1][1], digits=3)}" if odds[1][1] >= 0.001 else ""
    made.append(
        Chart(
            f"verdict-{number}",
            "How likely each workload is",
            f"{odds[0][0]} is the likeliest workload, with {format_percent(odds[0][1], digits=3)}{second}",
            "",
            bars_of([(name, round(100 * share, 2)) for name, share in odds], "probability (%)", "workload", _percent),
            ("workload", "probability"),
            [(name, format_percent(share, digits=3)) for name, share in odds],
        )
    )
    return made


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
    marked = starts if len(starts) <= 60 else []
    figure = figure_of(
        data,
        x=axis("time since the trace began (s)"),
        y=axis("rate (B/s)", exponentformat="SI", rangemode="tozero"),
    )
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
        for at in marked
    ]
    every = max(1, len(marked) // 8)
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
        for nth, at in enumerate(marked, start=2)
        if (nth - 2) % every == 0
    ]
    mean = sum(float(sums.sum()) for _, sums, _ in kinds) / (len(times) * line.bin_s)
    peak = max((float(sums.max()) / line.bin_s for _, sums, _ in kinds), default=0.0)
    alone = f" All in one file: {shown(line.rows[0])}." if len(line.rows) == 1 else ""
    epochs = f"{len(starts) + 1} epochs." if starts else "No epochs were found."
    return Chart(
        f"timeline-{number}",
        "Reads and writes over time",
        f"The trace moves at most {format_rate(peak)}, and {format_rate(mean)} on average",
        f"{' and '.join(f'{format_bytes(float(sums.sum()))} {name}' for name, sums, _ in kinds)}, in bins of "
        f"{format_seconds(line.bin_s)}. {epochs}{alone}",
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
    names = _distinct(line.rows)
    every = max(1, -(-len(names) // _LABELS))
    labelled = names[::every]
    low, high = _decades(line)
    decades = list(range(low, high + 1, max(1, (high - low) // 4)))
    figure = figure_of(
        [
            {
                "type": "heatmap",
                "x": times,
                "y": [escaped(name) for name in names],
                "z": values,
                "zmin": low,
                "zmax": high,
                "colorscale": "heat",
                "colorbar": {
                    "title": {"text": "bytes"},
                    "thickness": 12,
                    "tickvals": decades,
                    "ticktext": [format_bytes(10**each) for each in decades],
                },
                # The page writes the bytes of each cell as its text.
                "hovertemplate": "%{y}<br>%{x:.3g} s: %{text}<extra></extra>",
            }
        ],
        x=axis("time since the trace began (s)"),
        y=axis(
            "files, in order of path",
            type="category",
            autorange="reversed",
            showgrid=False,
            tickvals=[escaped(name) for name in labelled],
            ticktext=[escaped(_short(name)) for name in labelled],
        ),
        height=460,
    )
    busy = float(np.median((line.heat > 0).mean(axis=1)))
    bins = line.heat.shape[1]
    halves = [part.any(axis=1) for part in (line.heat[:, : bins // 2], line.heat[:, bins // 2 :])]
    lesson = (
        f"{format_percent(float((halves[0] & halves[1]).mean()))} of the rows of files are used in both the first and "
        "the second half of the trace"
    )
    return Chart(
        f"heat-{number}",
        "Accesses to files over time",
        lesson if bins > 1 else f"All files are used within {format_seconds(line.heat_bin_s)}",
        f"Half of the rows are used in at least {format_percent(busy)} of the bins of time. "
        f"{counted(line.files, 'file')} in {counted(len(line.rows), 'row')} by order of path, {bins} bins of "
        f"{format_seconds(line.heat_bin_s)}; colours stand for bytes.{sampled}",
        figure,
        ("files", "bytes", "bins with accesses"),
        [
            (name, format_bytes(int(row.sum())), str(int((row > 0).sum())))
            for name, row in zip(line.rows, line.heat, strict=True)
        ],
        [
            ("bytes of the files, by time since the trace began (s)", *times),
            *((name, *row.tolist()) for name, row in zip(line.rows, line.heat, strict=True)),
        ],
    )


def _decades(line: Timeline) -> tuple[int, int]:
    """Return the powers of ten that enclose all values of the heat map."""
    seen = line.heat[line.heat > 0]
    if not len(seen):
        return 0, 1
    low, high = int(np.floor(np.log10(seen.min()))), int(np.ceil(np.log10(seen.max())))
    return low, max(high, low + 1)


def _distinct(names: tuple[str, ...]) -> list[str]:
    """Return the names of rows, each only once: a repeated one gets its number."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(shown(name) if seen[name] == 1 else f"{shown(name)} ({seen[name]})")
    return made


def _short(name: str) -> str:
    """Return the end of a path, which tells neighbours apart."""
    first = name.split(" and ", 1)[0]
    return first if len(first) <= _LABEL_CHARACTERS else f"…{first[1 - _LABEL_CHARACTERS :]}"


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
        f"{format_percent(trace.write_share, digits=3)} written",
        "",
        bars_of(
            [(name, float(f"{100 * size / whole:.4g}")) for name, size in parts],
            "share of bytes moved (%)",
            "bytes",
            _percent,
        ),
        ("part", "bytes", "share"),
        [(name, format_bytes(size), format_percent(size / whole, digits=3)) for name, size in parts],
    )


def _percent(hundredths: float) -> str:
    return format_percent(hundredths / 100, digits=3)


def _misses(trace: TraceProfile, number: int) -> Chart:
    curve = trace.miss_ratio_curve
    sizes = [point.cache_bytes for point in curve]
    half = min(curve, key=lambda point: abs(point.cache_bytes - sizes[-1] / 2))
    return Chart(
        f"misses-{number}",
        "Miss ratio against cache size",
        f"A cache of {format_bytes(half.cache_bytes)} answers {format_percent(1 - half.static)} of the reads if it "
        f"fills once, and {format_percent(1 - half.lru)} as LRU",
        "",
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
