"""The verdict on a trace: what kind of workload, how sure, why, and what to keep in mind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from tiering.notebook import Shown, Summary, data_frame
from tiering.trace.trace_profile import TraceProfile
from tiering.units import format_bytes, format_percent
from tiering.workload.classifier import Model, shipped
from tiering.workload.doubt import gaps, near, too_little, unplaced, unsupported
from tiering.workload.explain import Fact, defined_facts, facts, percent
from tiering.workload.features import features, mapping_decides
from tiering.workload.label import MAJORITY, WORKLOADS, Workload, label

if TYPE_CHECKING:
    import polars as pl

#: Below this probability the verdict is "inconclusive". Before anything is read twice, every run looks like a single
#: pass: of a forecast that goes beyond what the trace shows, and of read-once, more is asked.
FORECAST_ABOVE = 0.95

#: This is enough where the definition, applied to the trace, already says the same: re-read-heavy, write-heavy, mixed.
SHOWN_ABOVE = 0.85

#: And this for a trace of a block device that agrees. It was chosen with two published block traces at hand, web search
#: and a virtual machine, so these two are no test of it.
BLOCK_ABOVE = 0.7

#: No verdict is surer than this where most of what was done went through mappings, whose touches nobody sees.
MAPPED_CAP = 0.75

#: Nor than this below the page cache, which answers repeated reads unseen.
BLOCK_CAP = 0.85

#: Reads and writes below which nothing is forecast.
FEW_CALLS = 20


class Verdict(Shown, BaseModel):
    """What kind of workload a trace shows, and how sure that is."""

    model_config = ConfigDict(frozen=True)

    workload: Workload | Literal["inconclusive"]
    probability: float = Field(description="of the likeliest workload, in [0, 1]")
    probabilities: dict[str, float] = Field(description="of each workload; they sum to 1")
    facts: list[Fact] = Field(description="up to three that weighed most, heaviest first; none without a judgement")
    whole: bool = Field(default=False, description="the whole run was judged, so that nothing is a forecast")
    notes: list[str] = []

    @property
    def is_single_pass(self) -> bool:
        """Whether advice may rest on there being one pass: before a run has ended, every first epoch looks like one."""
        return self.workload == "read-once" and self.whole

    def summary(self) -> Summary:
        """Return the workload, its probability and the facts behind it."""
        facts = [("despite" if fact.against else "because", fact.text) for fact in self.facts]
        return "Verdict", [("workload", self.workload), ("probability", format_percent(self.probability)), *facts]

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each workload, with its probability."""
        return data_frame({"workload": self.probabilities, "probability": self.probabilities.values()})


def classify(trace: TraceProfile, model: Model | None = None) -> Verdict:
    """Forecast what kind of workload the whole run is that a trace shows, or shows the beginning of.

    model: as loaded with `load`; the one that comes with tiering by default. The verdict is "inconclusive", with
    the reason in its notes, when no workload is likely enough (see the bounds above), when too little data moved, when
    places of reads decide that are not known (tiering.workload.doubt), or when the trace is known to lack what would
    decide it.
    Raises ModelError when the model file is damaged.
    """
    if (reason := no_ground(trace)) is not None:
        even = 1 / len(WORKLOADS)
        chances = dict.fromkeys(WORKLOADS, even)
        notes = [reason, *_lacking(trace), *_of_reading(trace)]
        return Verdict(workload="inconclusive", probability=even, probabilities=chances, facts=[], notes=notes)
    chosen = model or shipped()
    vector = features(trace)
    found = judge(trace, chosen.probabilities(vector[None, :])[0])
    best, sure, chances_of = found.best, found.sure, found.chances
    notes = _limits(trace)
    if found.lacking is not None:
        notes.append(found.lacking)
    elif not found.given:
        second = int(np.argsort(chances_of)[-2])
        notes.append(
            f"The likeliest are {WORKLOADS[best]} ({percent(sure)}) and {WORKLOADS[second]} "
            f"({percent(float(chances_of[second]))}); a longer trace, or the dataset's size, may decide."
        )
    elif WORKLOADS[best] == "re-read-heavy" and trace.reread_share <= MAJORITY:
        notes.append(_unfinished(trace))
    elif WORKLOADS[best] == "read-once":
        notes.append("A single pass over the data: it may be one epoch of several, if the program trains.")
    notes.extend(near(trace))
    decided = is_decided(trace)
    return Verdict(
        workload=WORKLOADS[best] if found.given else "inconclusive",
        probability=sure,
        probabilities={name: float(chance) for name, chance in zip(WORKLOADS, chances_of, strict=True)},
        facts=defined_facts(trace, WORKLOADS[best]) if decided else facts(chosen, vector, best),
        whole=decided,
        notes=notes,
    )


def no_ground(trace: TraceProfile) -> str | None:
    """Say why a trace is no ground for any judgement, if so."""
    if trace.bytes_accessed > trace.bytes_read + trace.bytes_written:
        return "The trace does not tell reads from writes: it gives the curves of a cache, but no kind of workload."
    return too_little(trace) or unplaced(trace)


class Judgement(NamedTuple):
    """What a forecast comes to, with all that limits it.

    chances: of each workload; best: position of the likeliest, and sure its chance; given: whether that is the verdict;
    lacking: what the trace lacks that would decide.
    """

    chances: npt.NDArray[np.float64]
    best: int
    sure: float
    given: bool
    lacking: str | None


def judge(trace: TraceProfile, forecast: npt.NDArray[np.float64]) -> Judgement:
    """Judge a trace that there is ground for. forecast: a model's probability of each workload."""
    chances = _capped(_chances(trace, forecast), _cap(trace))
    best = int(chances.argmax())
    sure = float(chances[best])
    few = trace.reads + trace.writes < FEW_CALLS and not is_decided(trace)
    lacking = unsupported(trace, WORKLOADS[best])
    given = sure >= _threshold(trace, WORKLOADS[best]) and lacking is None and not few
    return Judgement(chances, best, sure, given, lacking)


def _chances(trace: TraceProfile, forecast: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the probability of each workload, before what the trace cannot show limits it.

    A trace of a block device is mostly a window of a service, without a beginning: what it shows is what there is. It
    may still be the beginning of a program, so that the definition and the forecast count half each.
    """
    if is_decided(trace):
        return _as_defined(trace)
    if trace.level != "block":
        return forecast
    return np.asarray((forecast + _as_defined(trace)) / 2, np.float64)


def _threshold(trace: TraceProfile, forecast: Workload) -> float:
    if label(trace.bytes_read, trace.bytes_written, trace.bytes_reread) != forecast:
        return FORECAST_ABOVE
    if trace.level == "block":
        return BLOCK_ABOVE
    # What a run writes before it trains is written once, and read over and over.
    doubtful = forecast != "re-read-heavy" and bool(gaps(trace) or mapping_decides(trace))
    doubtful |= forecast == "read-once"
    return FORECAST_ABOVE if doubtful else SHOWN_ABOVE


def moves_data(trace: TraceProfile) -> bool:
    """Tell whether there is anything to judge by."""
    return bool(trace.bytes_read or trace.bytes_written or trace.mapped_bytes)


def is_decided(trace: TraceProfile) -> bool:
    """Tell whether there is nothing to forecast: the whole run is in the trace, and what was mapped cannot tip it."""
    return trace.whole and not gaps(trace) and not _is_mapped(trace) and not mapping_decides(trace)


def _is_mapped(trace: TraceProfile) -> bool:
    return trace.mapped_bytes > trace.bytes_read + trace.bytes_written


def _as_defined(trace: TraceProfile) -> npt.NDArray[np.float64]:
    """Apply the definition of the label to what the trace shows."""
    found = label(trace.bytes_read, trace.bytes_written, trace.bytes_reread)
    return np.array([float(name == found) for name in WORKLOADS])


def _cap(trace: TraceProfile) -> float:
    """Return the highest probability that such a trace can support; _limits says why."""
    return min(MAPPED_CAP if _is_mapped(trace) else 1.0, BLOCK_CAP if trace.level == "block" else 1.0)


def _limits(trace: TraceProfile) -> list[str]:
    """Say what a trace can support, and what it cannot."""
    notes = []
    if _is_mapped(trace):
        notes.append(
            "Most bytes are mapped into memory. No tracer sees what is touched there, or how often: the mapped bytes "
            f"are an upper bound, and the probability is held to {MAPPED_CAP:g} at most."
        )
    elif trace.whole and mapping_decides(trace) and not gaps(trace):
        notes.append(
            f"The whole run is in this trace, but {format_bytes(trace.mapped_bytes)} are mapped into memory, where no "
            "tracer sees how often they are touched: that may tip the label, so this is a forecast."
        )
    if is_decided(trace):
        notes.append("The whole run is in this trace: its label follows from the bytes, and is no forecast.")
    notes.extend(_lacking(trace))
    if trace.level == "block":
        notes.append(
            "This trace was taken below the page cache: reads that the cache answered are missing, so there may be "
            f"more re-reading than it shows. The probability is held to {BLOCK_CAP:g} at most."
        )
    if (calls := trace.reads + trace.writes) < FEW_CALLS:
        notes.append(f"Only {calls} reads and writes were traced: too few to forecast from, little to judge by.")
    if trace.coverage == 0:
        notes.append("No byte of the dataset that was named is read in this trace: its size was left out of account.")
    return [*notes, *_of_reading(trace)]


def _of_reading(trace: TraceProfile) -> list[str]:
    """Say what the reading of the trace left out, and what its reader has to say."""
    if not trace.skipped_lines:
        return trace.notes
    one = trace.skipped_lines == 1
    lines = "line of the trace could not be read and was" if one else "lines of the trace could not be read and were"
    return [f"{trace.skipped_lines} {lines} left out.", *trace.notes]


def _lacking(trace: TraceProfile) -> list[str]:
    """Say why a trace is not the whole run, where it is known not to be."""
    lacking = "; ".join(gaps(trace))
    return [f"The whole run is not in this trace: {lacking}. What is said of it is a forecast."] if lacking else []


def _unfinished(trace: TraceProfile) -> str:
    seen = "" if not trace.coverage else f" So far {percent(min(1.0, trace.coverage))} of the dataset was read."
    return (
        f"A forecast: re-reads are {percent(trace.reread_share)} of the bytes in this trace, and it looks like the "
        f"beginning of a run that will read its data again.{seen}"
    )


def _capped(chances: npt.NDArray[np.float64], cap: float) -> npt.NDArray[np.float64]:
    """Lower the highest probability to the cap, and spread what it loses over the others evenly by their size."""
    best = int(chances.argmax())
    if chances[best] <= cap:
        return chances
    rest = 1 - chances[best]
    scaled = chances * (1 - cap) / rest if rest > 0 else np.full_like(chances, (1 - cap) / (len(chances) - 1))
    scaled[best] = cap
    return np.asarray(scaled, np.float64)
