"""The verdict on a trace: the kind of workload, its probability, the reasons, and the caveats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from tiering.notebook import Shown, Summary, data_frame
from tiering.trace.trace_profile import TraceProfile
from tiering.units import format_bytes, format_number, format_percent
from tiering.workload.classifier import Model, shipped
from tiering.workload.doubt import gaps, near, too_little, unplaced, unsupported, what_decides
from tiering.workload.explain import Fact, defined_facts, facts, percent
from tiering.workload.features import features, mapping_decides
from tiering.workload.label import MAJORITY, WORKLOADS, Workload, label
from tiering.workload.thresholds import Thresholds

if TYPE_CHECKING:
    import polars as pl

#: The threshold of an agreeing trace of a block device. No model learns from such traces: this was chosen by hand, with
#: two published ones, web search and a virtual machine, so these two do not test it.
BLOCK_ABOVE = 0.7

#: The highest probability if most accesses went through mappings, which tracers do not see: too low for a verdict.
MAPPED_CAP = 0.75

#: The highest probability below the page cache, which serves repeated reads invisibly.
BLOCK_CAP = 0.85

#: With fewer reads and writes there is no forecast.
FEW_CALLS = 20


class Verdict(Shown, BaseModel):
    """The kind of workload that a trace shows, and its probability.

    Example:
        >>> verdict = tiering.classify(tiering.profile_trace("job.strace"))  # doctest: +SKIP
        >>> verdict.workload, verdict.probability  # doctest: +SKIP
        ('re-read-heavy', 0.97)
    """

    model_config = ConfigDict(frozen=True)

    workload: Workload | Literal["inconclusive"]
    probability: float = Field(description="probability of the likeliest workload, in [0, 1]")
    probabilities: dict[str, float] = Field(description="probability of each workload; they sum to 1")
    facts: list[Fact] = Field(description="the facts with the greatest weights, heaviest first; at most three")
    whole: bool = Field(default=False, description="the whole run was judged, so nothing is a forecast")
    notes: list[str] = []

    @property
    def is_single_pass(self) -> bool:
        """Whether advice may assume a single pass. Before a run has ended, every first epoch looks like one."""
        return self.workload == "read-once" and self.whole

    def summary(self) -> Summary:
        """Return the workload, its probability and the facts behind it."""
        facts = [("despite" if fact.against else "because", fact.text) for fact in self.facts]
        return "Verdict", [("workload", self.workload), ("probability", format_percent(self.probability)), *facts]

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each workload, with its probability."""
        return data_frame({"workload": self.probabilities, "probability": self.probabilities.values()})


def classify(trace: TraceProfile, model: Model | None = None) -> Verdict:
    """Forecast the kind of workload of a whole run from its trace, or from a trace of its beginning.

    The verdict is "inconclusive", with the reason in its notes, if no workload is likely enough (see the bounds above),
    too little data moved, unknown positions of reads decide (tiering.workload.doubt), or the trace lacks the part that
    would decide.

    Args:
        trace: The profile of the trace.
        model: From `load_model`; by default the model that ships with tiering.

    Returns:
        The verdict, with its reasons and caveats.

    Raises:
        ModelError: The model file is damaged.

    Example:
        >>> tiering.classify(tiering.profile_trace("job.strace")).workload  # doctest: +SKIP
        'read-once'
    """
    if (reason := no_ground(trace)) is not None:
        even = 1 / len(WORKLOADS)
        chances = dict.fromkeys(WORKLOADS, even)
        notes = [reason, *_lacking(trace), *_of_reading(trace)]
        return Verdict(workload="inconclusive", probability=even, probabilities=chances, facts=[], notes=notes)
    decided = is_decided(trace)
    # Reading the model that ships takes longer than the verdict.
    chosen = None if decided else model or shipped()
    vector = features(trace)
    forecast = _as_defined(trace) if chosen is None else chosen.probabilities(vector[None, :])[0]
    found = judge(trace, forecast, Thresholds() if chosen is None else chosen.thresholds)
    best, sure, chances_of = found.best, found.sure, found.chances
    notes = _limits(trace)
    if found.lacking is not None:
        notes.append(found.lacking)
    elif not found.conclusive:
        second = int(np.argsort(chances_of)[-2])
        notes.append(
            f"The likeliest are {WORKLOADS[best]} ({percent(sure)}) and {WORKLOADS[second]} "
            f"({percent(float(chances_of[second]))})."
        )
        notes.append(what_decides(trace, WORKLOADS[best], WORKLOADS[second]))
    elif WORKLOADS[best] == "re-read-heavy" and trace.reread_share <= MAJORITY:
        notes.append(_unfinished(trace))
    elif WORKLOADS[best] == "read-once":
        notes.append("A single pass over the data: it may be one epoch of several, if the program trains.")
    notes.extend(near(trace))
    return Verdict(
        workload=WORKLOADS[best] if found.conclusive else "inconclusive",
        probability=sure,
        probabilities={name: float(chance) for name, chance in zip(WORKLOADS, chances_of, strict=True)},
        facts=defined_facts(trace, WORKLOADS[best]) if chosen is None else facts(chosen, vector, best),
        whole=decided,
        notes=notes,
    )


def no_ground(trace: TraceProfile) -> str | None:
    """Return why a trace allows no judgement at all, or None."""
    if trace.bytes_accessed > trace.bytes_read + trace.bytes_written:
        return "The trace does not distinguish reads from writes. It gives cache curves, but no kind of workload."
    return too_little(trace) or unplaced(trace)


class Judgement(NamedTuple):
    """A judgement of a forecast within the limits of the trace.

    chances: of each workload, float64 (4,). best: position of the likeliest. sure: its chance. conclusive: whether that
    is the verdict. lacking: the missing part of the trace that would decide, or None.
    """

    chances: npt.NDArray[np.float64]
    best: int
    sure: float
    conclusive: bool
    lacking: str | None


def judge(trace: TraceProfile, forecast: npt.NDArray[np.float64], thresholds: Thresholds) -> Judgement:
    """Judge a trace that allows it. forecast: a model's probability of each workload, float64 (4,)."""
    chances = _capped(_chances(trace, forecast), _cap(trace))
    best = int(chances.argmax())
    sure = float(chances[best])
    few = trace.reads + trace.writes < FEW_CALLS and not is_decided(trace)
    lacking = unsupported(trace, WORKLOADS[best])
    conclusive = sure >= _threshold(trace, WORKLOADS[best], thresholds) and lacking is None and not few
    return Judgement(chances, best, sure, conclusive, lacking)


def _chances(trace: TraceProfile, forecast: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the probability of each workload, before the limits of the trace apply.

    A trace of a block device usually shows a window of a service, without a beginning, and the window represents the
    whole. But it may also be the beginning of a program, so the definition and the forecast count half each.
    """
    if is_decided(trace):
        return _as_defined(trace)
    if trace.level != "block":
        return forecast
    return np.asarray((forecast + _as_defined(trace)) / 2, np.float64)


def _threshold(trace: TraceProfile, forecast: Workload, thresholds: Thresholds) -> float:
    if _is_mapped(trace):
        return 1.0
    if trace.level == "block":
        return BLOCK_ABOVE if _shows(trace, forecast) else 1.0
    return float(getattr(thresholds, ground(trace, forecast)))


def ground(trace: TraceProfile, forecast: Workload) -> Literal["forecast", "shown", "mixed"]:
    """Return which of the Thresholds applies: less is asked of a forecast that the trace already shows."""
    if not _shows(trace, forecast) or forecast == "read-once":
        return "forecast"
    # A run may first write the data that it then reads over and over.
    if forecast != "re-read-heavy" and (gaps(trace) or mapping_decides(trace)):
        return "forecast"
    return "mixed" if forecast == "mixed" else "shown"


def _shows(trace: TraceProfile, forecast: Workload) -> bool:
    return label(trace.bytes_read, trace.bytes_written, trace.bytes_reread) == forecast


def moves_data(trace: TraceProfile) -> bool:
    """Return whether any data moved."""
    return bool(trace.bytes_read or trace.bytes_written or trace.mapped_bytes)


def is_decided(trace: TraceProfile) -> bool:
    """Return whether the whole run is in the trace and mappings cannot change its label, so nothing is forecast."""
    return trace.whole and not gaps(trace) and not _is_mapped(trace) and not mapping_decides(trace)


def _is_mapped(trace: TraceProfile) -> bool:
    return not trace.mapped_once_seen and trace.bytes_mapped_unseen > trace.bytes_read + trace.bytes_written


def _as_defined(trace: TraceProfile) -> npt.NDArray[np.float64]:
    """Apply the definition of the label to the bytes in the trace."""
    found = label(trace.bytes_read, trace.bytes_written, trace.bytes_reread)
    return np.array([float(name == found) for name in WORKLOADS])


def _cap(trace: TraceProfile) -> float:
    """Return the highest probability that such a trace can support. _limits gives the reasons."""
    return min(MAPPED_CAP if _is_mapped(trace) else 1.0, BLOCK_CAP if trace.level == "block" else 1.0)


def _limits(trace: TraceProfile) -> list[str]:
    """Return notes on what a trace can support, and what it cannot."""
    notes = []
    if _is_mapped(trace):
        notes.append(
            "Most bytes are mapped into memory, where no tracer sees which are touched, or how often. The mapped bytes "
            f"are an upper bound, and the probability is at most {format_number(MAPPED_CAP, 6)}."
        )
    elif trace.whole and mapping_decides(trace) and not gaps(trace):
        notes.append(
            f"The whole run is in this trace, but {format_bytes(trace.mapped_bytes)} are mapped into memory, where no "
            "tracer sees how often they are touched. That may change the label, so this is a forecast."
        )
    if is_decided(trace):
        notes.append("The whole run is in this trace, so its label follows from the bytes and is not a forecast.")
    notes.extend(_lacking(trace))
    if trace.level == "block":
        notes.append(
            "This trace was taken below the page cache: reads that the cache answered are missing, so there may be "
            f"more re-reading than it shows. The probability is at most {format_number(BLOCK_CAP, 6)}."
        )
    if (calls := trace.reads + trace.writes) < FEW_CALLS:
        notes.append(f"Only {calls} reads and writes were traced: too few for a forecast, and little to judge by.")
    if trace.coverage == 0:
        notes.append("This trace reads no byte of the named dataset, so the dataset's size was ignored.")
    return [*notes, *_of_reading(trace)]


def _of_reading(trace: TraceProfile) -> list[str]:
    """Return notes on skipped lines, and those of the reader."""
    if not trace.skipped_lines:
        return trace.notes
    one = trace.skipped_lines == 1
    lines = "line of the trace could not be read and was" if one else "lines of the trace could not be read and were"
    return [f"{trace.skipped_lines} {lines} left out.", *trace.notes]


def _lacking(trace: TraceProfile) -> list[str]:
    """Return a note on why a trace is not the whole run, if that is known."""
    lacking = "; ".join(gaps(trace))
    return [f"The whole run is not in this trace: {lacking}. So the verdict is a forecast."] if lacking else []


def _unfinished(trace: TraceProfile) -> str:
    seen = "" if not trace.coverage else f" So far {percent(min(1.0, trace.coverage))} of the dataset was read."
    return (
        f"A forecast: re-reads are {percent(trace.reread_share)} of the bytes in this trace, and it looks like the "
        f"beginning of a run that will read its data again.{seen}"
    )


def _capped(chances: npt.NDArray[np.float64], cap: float) -> npt.NDArray[np.float64]:
    """Lower the highest probability to the cap, and distribute the rest over the others in proportion."""
    best = int(chances.argmax())
    if chances[best] <= cap:
        return chances
    rest = 1 - chances[best]
    scaled = chances * (1 - cap) / rest if rest > 0 else np.full_like(chances, (1 - cap) / (len(chances) - 1))
    scaled[best] = cap
    return np.asarray(scaled, np.float64)
