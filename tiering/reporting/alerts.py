"""Alerts: figures of a trace against thresholds, as Drishti has them (Bez et al., PDSW 2022), each with what helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from tiering.trace.call_times import CallTimes
from tiering.trace.evidence import Evidence
from tiering.trace.trace_profile import TraceProfile
from tiering.units import format_count, format_number, format_percent

_PAGE: Final = 4096
#: Shares above which an alert is raised.
_SMALL: Final = 0.1
_OTHER_CALLS: Final = 0.1
_SLOW_TIME: Final = 0.2
_IN_CALLS: Final = 0.5
_IMBALANCE: Final = 0.3
_OPENS: Final = 10
_OVERWRITES: Final = 2
_MACHINERY: Final = 0.5
_UNPLACED: Final = 0.05
#: With fewer calls a share says little.
_FEW: Final = 100


@dataclass(frozen=True, slots=True)
class Alert:
    """A figure and its threshold.

    Attributes:
        what: The figure, in words.
        value, threshold: Both written out.
        raised: Whether the figure is beyond its threshold.
        advice: What it means and what helps.
    """

    what: str
    value: str
    threshold: str
    raised: bool
    advice: str


#: The columns of a table of alerts.
COLUMNS: Final = ("figure", "value", "alert if", "state", "what an alert means, and what helps")


def alert_rows(alerts: list[Alert]) -> list[tuple[str, ...]]:
    """Return a row of COLUMNS for each alert, those raised first."""
    ordered = sorted(alerts, key=lambda each: not each.raised)
    return [
        (each.what, each.value, each.threshold, "alert" if each.raised else "fine", each.advice) for each in ordered
    ]


def alerts_of(trace: TraceProfile, found: Evidence | None) -> list[Alert]:
    """Return every figure that the trace allows, with its threshold."""
    return [*_of_profile(trace), *(_of_evidence(found) if found is not None else [])]


def _above(what: str, share: float, bound: float, advice: str) -> Alert:
    return Alert(what, format_percent(share), f"above {format_percent(bound)}", share > bound, advice)


def _of_profile(trace: TraceProfile) -> Iterator[Alert]:
    opens = trace.opens_per_file
    if trace.opens and opens is not None:
        yield Alert(
            "opens of a file, on average", format_number(opens), f"above {_OPENS}", opens > _OPENS,
            "Each open costs a round trip on shared storage. A packed store is opened once.",
        )  # fmt: skip
    factor = trace.overwrite_factor
    if trace.bytes_written and factor is not None:
        yield Alert(
            "times that a written byte is written", format_number(factor), f"above {_OVERWRITES}", factor > _OVERWRITES,
            "The same bytes are written again and again, which wears flash. Write once, or buffer in memory.",
        )  # fmt: skip
    if trace.excluded_bytes_read + trace.bytes_read:
        machinery = trace.excluded_bytes_read / (trace.excluded_bytes_read + trace.bytes_read)
        yield _above(
            "bytes read of libraries and the interpreter", machinery, _MACHINERY,
            "The program's own files outweigh its data: keep the environment on a local disk or in an image.",
        )  # fmt: skip
    if trace.bytes_read:
        yield _above(
            "bytes read at unknown positions", trace.bytes_unplaced / trace.bytes_read, _UNPLACED,
            "Re-reading, epochs and cache curves are then lower bounds, or missing.",
        )  # fmt: skip
    yield _above(
        "bytes moved by processes that failed", trace.failed_share, 0.0,
        "Their work may have to be done again. Look at their exit codes.",
    )  # fmt: skip
    if trace.skipped_lines:
        lines = format_count(trace.skipped_lines)
        yield Alert("lines of the trace that were skipped", lines, "above 0", True, "Figures lack these events.")


def _of_evidence(found: Evidence) -> Iterator[Alert]:
    for op in ("read", "write"):
        if found.sizes.calls[("read", "write").index(op)].sum() >= _FEW:
            yield _above(
                f"{op}s of less than 4 KiB", found.sizes.share_below(op, _PAGE), _SMALL,
                "A call costs the same for one byte and for a page: pack small files, or use a larger buffer.",
            )  # fmt: skip
    if (times := found.process_times) is not None:
        shares = times.shares
        yield _above(
            "time of the processes in calls", sum(shares.values()), _IN_CALLS,
            "Calls take more time than computing: faster storage, caching or more loader processes help.",
        )  # fmt: skip
        yield _above(
            "time of the processes in opens, closes and the like", shares["other"], _OTHER_CALLS,
            "Finding files takes a good part of the time: pack them into a store.",
        )  # fmt: skip
    for calls in found.calls:
        if calls.op in {"read", "write"} and calls.calls >= _FEW:
            yield _slow(calls, found)
    busy = found.processes
    if busy.count > 1 and busy.seconds > 0:
        most = float(busy.table["seconds"][0])
        yield _above(
            "time in calls by which the busiest process is above the mean",
            1 - busy.seconds / busy.count / most, _IMBALANCE,
            "One process spends more time in calls than the others: share the work among them.",
        )  # fmt: skip


def _slow(calls: CallTimes, found: Evidence) -> Alert:
    share = calls.tail_seconds / calls.seconds if calls.seconds else 0.0
    one = _above(
        f"time of {calls.op}s in calls ten times slower than the median", share, _SLOW_TIME,
        "A few slow calls hold up the rest: keep more of them in flight, or choose storage with a shorter tail.",
    )  # fmt: skip
    if not (one.raised and found.sizes_explain_slow(calls)):
        return one
    large = format_percent(found.sizes.share_of_large(calls.op))
    reason = f"No alert: {large} of the {calls.op}s move far more than the median, which may be why they take longer."
    return replace(one, threshold=f"{one.threshold}, sizes alike", raised=False, advice=reason)
