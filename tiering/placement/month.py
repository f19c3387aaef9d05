"""The month that a plan is priced for: how often the job runs, and how long, with how many processes.

A trace shows one run, or a stretch of everyday use. A trace shorter than a day is taken for one run, and priced as one
run a month unless the number of runs is given. A longer one, such as an access log of a week, is assumed to go on all
month. Runs that do not fit into a month one after the other overlap, which multiplies the load on the tiers.

Processes that run at the same time also wait at the same time: 16 ranks that wait 30 s each hold the job up for 30 s,
not for 480 s. Both are reported: 30 s of waiting, and 480 s of rank time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tiering.advice.hour_price import HOUR_USD
from tiering.errors import UsageError
from tiering.units import MONTH_SECONDS, format_number, format_seconds

#: A trace that spans at least this many seconds shows everyday use, not one run.
CONTINUOUS_SECONDS: Final = 86400.0
#: A run that waits this much longer than it lasts in the trace is worth a note.
_SLACK: Final = 1.01


@dataclass(frozen=True, slots=True)
class Month:
    """The month that a plan is priced for.

    Attributes:
        runs_per_month: Runs like the trace in a month. By default 1, or as many as fill the month if the trace spans a
            day or more.
        duration: Seconds that the trace spans; by default those of its heat.
        hour_usd: Cost of an hour in which the job waits, USD for each node.
        in_flight: Requests that wait at the same time; by default one for each process that the trace shows running
            at the same time.
        nodes: Nodes that the job occupies.

    Raises:
        UsageError: For impossible numbers.

    Example:
        >>> Month(duration=3600.0).terms(0.0).runs
        1.0
        >>> Month(duration=7 * 86400.0).terms(0.0).runs
        4.348214285714286
    """

    runs_per_month: float | None = None
    duration: float | None = None
    hour_usd: float = HOUR_USD
    in_flight: int | None = None
    nodes: int = 1

    def __post_init__(self) -> None:
        limits = (
            ("runs_per_month", self.runs_per_month or 0.0, 0),
            ("hour_usd", self.hour_usd, 0),
            ("in_flight", 1 if self.in_flight is None else self.in_flight, 1),
            ("nodes", self.nodes, 1),
        )
        for name, value, least in limits:
            if not least <= value < float("inf"):
                raise UsageError(name, rule=f"must be at least {least}", found=format_number(value, 6))

    def terms(self, duration: float, processes: float = 1.0) -> Terms:
        """Return the terms for a trace.

        Args:
            duration: Seconds that the trace spans.
            processes: Processes that read or write at the same time in it.

        Raises:
            UsageError: If the trace spans no time.
        """
        spans = duration if self.duration is None else self.duration
        if not 0 < spans < float("inf"):
            raise UsageError(
                "duration",
                expected="a trace that spans some time",
                found=f"{format_number(spans, 6)} s",
                action="Give the time that it spans in `duration`.",
            )
        runs = self.runs_per_month
        if runs is None:
            runs = MONTH_SECONDS / spans if spans >= CONTINUOUS_SECONDS else 1.0
        in_flight = processes if self.in_flight is None else float(self.in_flight)
        return Terms(spans, runs, self.hour_usd * self.nodes, in_flight, processes)

    def note(self, terms: Terms) -> str | None:
        """Return the sentence about runs that were not given; None where they were."""
        if self.runs_per_month is not None:
            return None
        if terms.runs == 1:
            length = format_seconds(terms.duration)
            return f"The trace of {length} is priced as one run a month; `runs_per_month` changes that."
        days = format_number(terms.duration / 86400)
        return f"The trace spans {days} days and is taken to go on all month; `runs_per_month` changes that."


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms that turn the counts of a trace into a month's bill.

    Attributes:
        duration: Seconds that the trace spans. Tiers must carry its mean rate.
        runs: Runs like the trace in a month.
        hour_usd: Cost of an hour in which the job waits, USD for all its nodes.
        in_flight: Requests that wait at the same time.
        processes: Processes that wait at the same time.
        raised: Whether in_flight was raised to what the pace of the trace shows (traced_pace.py).
    """

    duration: float
    runs: float
    hour_usd: float
    in_flight: float = 1.0
    processes: float = 1.0
    raised: bool = False

    @property
    def duty_cycle(self) -> float:
        """The share of the month in which the job runs; above 1 where runs must overlap."""
        return self.runs * self.duration / MONTH_SECONDS

    @property
    def overlap(self) -> float:
        """Runs at the same time: 1 as long as a month has time for all of them one after the other."""
        return max(1.0, self.duty_cycle)

    def notes(self, waiting_s: float) -> list[str]:
        """Return what follows from the runs, one sentence each. waiting_s: s a month that the job waits."""
        notes = []
        if self.overlap > 1:
            notes.append(
                f"{format_number(self.runs)} runs of {format_seconds(self.duration)} take longer than a month: on "
                f"average {format_number(self.overlap)} runs at the same time."
            )
        if self.processes > 1:
            notes.append(
                f"The trace has {format_number(self.processes)} processes at the same time. They wait together, so "
                "their waits are not added up."
            )
        if self.raised:
            notes.append(
                "One request at a time in each process would take longer than the trace: "
                f"{format_number(self.in_flight)} in flight are assumed; `in_flight` changes that."
            )
        waits = waiting_s / self.runs if self.runs else 0.0
        if waits > self.duration * _SLACK:
            notes.append(
                f"A run waits {format_seconds(waits)}, longer than the {format_seconds(self.duration)} that it takes "
                f"in the trace: on these tiers it would last at least so long."
            )
        return notes
