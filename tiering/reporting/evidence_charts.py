"""Charts of what peers show of a trace: access sizes, times of calls, what processes do, the busiest of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from tiering.reporting.chart import Chart
from tiering.reporting.figures import axis, bars_of, curve_of, figure_of, log_axis
from tiering.text import shown
from tiering.trace.access_sizes import MOVES, AccessSizes
from tiering.trace.busiest import Busiest
from tiering.trace.call_times import PERCENTILES, CallTimes
from tiering.trace.evidence import Evidence
from tiering.trace.process_times import KINDS, ProcessTimes
from tiering.units import counted, format_bytes, format_count, format_percent, format_seconds

_WORDS: Final = {"read": "reads", "write": "writes", "access": "accesses"}
_DOING: Final = ("reading", "writing", "other calls, such as open", "outside calls")
_COLOURS: Final = ("c1", "c2", "c3", "c5")
#: Operations of one chart of times; their curves would hide each other.
_CURVES: Final = 4
_BARS: Final = 10


def of_evidence(found: Evidence, number: int) -> list[Chart]:
    """Return the charts of the number-th trace that its evidence allows."""
    made = []
    if found.process_times is not None:
        made.append(_doing(found.process_times, number))
    if found.sizes.calls.any():
        made.append(_sizes(found.sizes, number))
    if found.calls:
        made.append(_latencies(found.calls, number))
    if found.processes.count > 1:
        made.append(_busiest(found.processes, "process", "processes", number))
    if found.files.count > 1:
        made.append(_busiest(found.files, "file", "files", number))
    return made


def _doing(found: ProcessTimes, number: int) -> Chart:
    times = [round(float(at), 9) for at in np.arange(len(found.alive)) * found.bin_s]
    alive = np.maximum(found.alive, 1e-12)
    rows = [*(row / alive for row in found.calls), np.maximum(0.0, 1 - found.calls.sum(axis=0) / alive)]
    data = []
    for name, row, colour in zip(_DOING, rows, (*_COLOURS[:3], "c4"), strict=True):
        one = curve_of(times, [float(f"{100 * share:.4g}") for share in row], name, colour, False)
        data.append(
            one | {"stackgroup": "time", "line": one["line"] | {"shape": "hv", "width": 0}, "fillcolor": colour}
        )
    shares = found.shares
    inside = sum(shares.values())
    return Chart(
        f"doing-{number}",
        "What the processes do over time",
        f"Processes spend {format_percent(shares['read'])} of their time reading, {format_percent(shares['write'])} "
        f"writing, {format_percent(shares['other'])} in other calls",
        f"The other {format_percent(1 - inside)} lies outside the calls of the trace: there they compute, or wait for "
        "something that it does not show. A process counts from its first event to the end of its last, and each "
        "moment once, even if several of its threads call.",
        figure_of(data, x=axis("time since the trace began (s)"), y=axis("time of all processes (%)", range=[0, 100])),
        ("from", *_DOING),
        [
            (format_seconds(at), *(format_percent(float(row[nth]), digits=2) for row in rows))
            for nth, at in enumerate(times)
            if found.alive[nth] > 0
        ],
        [
            ("time since the trace began (s)", *(f"{kind} (s)" for kind in KINDS), "alive (s)"),
            *((at, *(float(row[nth]) for row in found.calls), float(found.alive[nth])) for nth, at in enumerate(times)),
        ],
    )


def _sizes(found: AccessSizes, number: int) -> Chart:
    used = np.flatnonzero(found.calls.any(axis=0))
    # A bar on its own would be as wide as the chart.
    beside = 1 if len(used) == 1 else 0
    bins = list(range(max(0, int(used[0]) - beside), int(used[-1]) + 1 + beside))
    kinds = [(op, row) for op, row in zip(MOVES, found.calls, strict=True) if row.any()]
    labels = [_power(each) for each in bins]
    data = [
        {
            "type": "bar",
            "name": _WORDS[op],
            "x": labels,
            "y": [int(row[each]) for each in bins],
            "marker": {"color": _COLOURS[nth]},
        }
        for nth, (op, row) in enumerate(kinds)
    ]
    op, row = max(kinds, key=lambda kind: int(kind[1].sum()))
    common, largest = int(row.argmax()), int(found.bytes.sum(axis=0).argmax())
    share = int(row[common]) / int(row.sum())
    most = f"Most {_WORDS[op]} move" if share > 0.5 else f"The most frequent {_WORDS[op]} move"
    heavy = int(found.bytes[:, largest].sum()) / int(found.bytes.sum())
    return Chart(
        f"access-sizes-{number}",
        "Sizes of accesses",
        f"{most} {power_range(common)}: {format_percent(share)} of them",
        f"Calls that move {power_range(largest)} carry {format_percent(heavy)} of the bytes. Each bar counts calls "
        "from its size up to twice that.",
        figure_of(data, x=axis("size of a call, from (B)", type="category"), y=axis("calls", rangemode="tozero")),
        ("from", *(f"{_WORDS[op]}" for op, _ in kinds), "bytes moved"),
        [
            (
                _power(each),
                *(format_count(int(row[each])) for _, row in kinds),
                format_bytes(int(found.bytes[:, each].sum())),
            )
            for each in bins
        ],
        [
            ("size from (B)", "below (B)", *(f"{_WORDS[op]} (calls)" for op, _ in kinds), "moved (B)"),
            *(
                (2**each, 2 ** (each + 1), *(int(row[each]) for _, row in kinds), int(found.bytes[:, each].sum()))
                for each in bins
            ),
        ],
    )


def power_range(exponent: int) -> str:
    """Write from which size on, and up to which, a bin of AccessSizes counts: 12 -> "4 KiB to 8 KiB"."""
    return f"{_power(exponent)} to {_power(exponent + 1)}"


def _power(exponent: int) -> str:
    """Write a power of two of bytes exactly, in binary units: 12 -> "4 KiB"."""
    letters = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    step = min(exponent // 10, len(letters) - 1)
    return f"{2 ** (exponent - 10 * step)} {letters[step]}"


def _latencies(found: Sequence[CallTimes], number: int) -> Chart:
    first = found[:_CURVES]
    data = [cumulated(times, times.op, colour) for times, colour in zip(first, _COLOURS, strict=False)]
    longest = found[0]
    middle, late = longest.percentile(50), longest.percentile(99)
    names = ", ".join(times.op for times in found[_CURVES:])
    return Chart(
        f"latency-{number}",
        "Times of calls",
        f"Half of the {longest.op} calls take at most {format_seconds(middle)}, and 1 of 100 takes "
        f"{format_seconds(late)} or more",
        f"{counted(longest.calls, longest.op + ' call')} take {format_seconds(longest.seconds)} in all. Calls that "
        "move nothing count, too, such as a read at the end of a file. Percentiles are at most 4.5 % too high."
        f"{' In the table alone: ' + names + '.' if names else ''}",
        figure_of(
            data,
            x=log_axis("time of a call (s)"),
            y=axis("calls that take at most that (%)", range=[0, 103]),
        ),
        ("call", "calls", "in all", *(f"p{percent:g}" for percent in PERCENTILES), "longest"),
        [
            (
                times.op,
                format_count(times.calls),
                format_seconds(times.seconds),
                *(format_seconds(each) for each in times.percentiles),
                format_seconds(times.longest),
            )
            for times in found
        ],
    )


def cumulated(times: CallTimes, name: str, colour: str) -> dict[str, Any]:
    """Return a curve of the share of calls that take at most a time."""
    points = [*times.curve[: -1 : max(1, len(times.curve) // 160)], times.curve[-1]]
    seconds, shares = [float(f"{at:.4g}") for at, _ in points], [round(100 * share, 3) for _, share in points]
    one = curve_of(seconds, shares, name, colour, False)
    one["line"] |= {"shape": "hv"}
    return one


def _busiest(found: Busiest, one: str, many: str, number: int) -> Chart:
    table = list(found.table.iter_rows(named=True))
    timed = found.seconds > 0
    values = [row["seconds"] if timed else _moved(row) for row in table]
    whole, write = (found.seconds, format_seconds) if timed else (found.bytes, format_bytes)
    share = values[0] / (whole or 1)
    names = [_end(row["name"]) for row in table[:_BARS]]
    told = found.table["accesses"].sum() == 0
    kinds = ("reads", "writes", "others") if told else ("reads", "writes", "accesses", "others")
    moves = [f"bytes_{kind}" for kind in (("read", "written") if told else ("read", "written", "accessed"))]
    heads = [kind.replace("others", "other calls") for kind in kinds]
    listed = f"The table has all {len(table)}" if len(table) == found.count else f"The table has the first {len(table)}"
    cut = "" if found.exact else " There are too many to keep each: a row may miss early events."
    return Chart(
        f"busiest-{many}-{number}",
        f"The busiest {many}",
        f"The busiest of {'' if found.exact else 'at least '}{format_count(found.count)} {many}, {shown(names[0])}, "
        f"{'takes' if timed else 'moves'} {write(values[0])}{' in calls' if timed else ''}, "
        f"{format_percent(share)} of all",
        f"{listed}.{' Every file with a call on it counts.' if one == 'file' else ''}{cut}",
        bars_of(
            list(zip(_unique(names), values, strict=False)), "time in calls (s)" if timed else "bytes moved (B)",
            one, write,
        ),
        (one, *heads, *(move.removeprefix("bytes_") for move in moves), "time in calls"),
        [
            (
                row["name"],
                *(format_count(row[kind]) for kind in kinds),
                *(format_bytes(row[move]) for move in moves),
                format_seconds(row["seconds"]) if timed else "-",
            )
            for row in table
        ],
        [
            (one, *heads, *(f"{move.removeprefix('bytes_')} (B)" for move in moves), "time in calls (s)"),
            *((row["name"], *(row[key] for key in (*kinds, *moves, "seconds"))) for row in table),
        ],
    )  # fmt: skip


def _moved(row: dict[str, Any]) -> int:
    return int(row["bytes_read"] + row["bytes_written"] + row["bytes_accessed"])


def _end(name: str, most: int = 30) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _unique(names: Sequence[str]) -> list[str]:
    """Return names that differ, for an axis of categories."""
    return [name if names.index(name) == nth else f"{name} ({nth + 1})" for nth, name in enumerate(names)]
