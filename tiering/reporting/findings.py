"""Findings: what costs time or money, how much, and what to do about it; the dearest first.

Every cost is brought to one unit. Time counts at the job's price of an hour. What a trace shows is a share of its
processes' time; with advice, that share of a run as it is now is priced. So costs overlap, and must not be added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tiering.advice.option import Option
from tiering.advice.plan import making_of
from tiering.advice.saved_advice import SavedAdvice
from tiering.dataset.profile import DatasetProfile
from tiering.trace.evidence import Evidence
from tiering.trace.process_times import ProcessTimes
from tiering.trace.trace_profile import TraceProfile
from tiering.units import counted, format_bytes, format_percent, format_seconds, format_usd

#: Shares of the time that are not worth a finding.
_LEAST: Final = 0.01
_PACK: Final = "Pack the files into a store, which is opened once."
#: The miss ratio at which a cache is called sufficient.
_MISSES: Final = 0.1


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that costs time or money.

    Attributes:
        text: What it is, in a sentence.
        cost: What it costs, written out.
        fix: What to do, in a sentence.
        command: The command that does it; None where there is none.
        share: Of the time of a run, or of the money of a month, for ranking without a price.
        usd: USD a month, for ranking; None where the report has no advice.
    """

    text: str
    cost: str
    fix: str
    command: str | None
    share: float
    usd: float | None


def findings(
    saved: SavedAdvice | None,
    dataset: DatasetProfile | None,
    traces: Sequence[tuple[TraceProfile, Evidence | None]],
    *,
    most: int = 3,
) -> list[Finding]:
    """Return the few findings that cost most. With advice, only the first trace counts: the one that leads it."""
    found = [*(_of_advice(saved) if saved is not None else [])]
    for trace, evidence in traces[:1] if saved is not None else traces:
        found += _of_trace(trace, evidence, saved, dataset)
    if dataset is not None:
        found += _of_dataset(dataset, saved)
    return sorted(found, key=lambda each: (-(each.usd or 0.0), -each.share))[:most]


def _waiting_usd(seconds: float, saved: SavedAdvice) -> float:
    """Return the price of some seconds of each run, USD a month."""
    job = saved.job
    return seconds / 3600 * saved.recommendation.nodes * job.waiting_usd * job.runs_per_month


def _cost(seconds: float, month_usd: float, saved: SavedAdvice) -> tuple[str, float]:
    """Return a cost in words, and in USD a month. seconds: of a run; month_usd: storage."""
    usd = _waiting_usd(seconds, saved) + month_usd
    parts = []
    if abs(seconds) >= 1e-3:
        parts.append(f"{format_seconds(abs(seconds))} {'of' if seconds > 0 else 'less in'} each run")
    if abs(month_usd) >= 0.01:
        parts.append(f"{format_usd(abs(month_usd))} USD a month {'more' if month_usd > 0 else 'less'} for storage")
    total = f"together {format_usd(usd)} USD a month" if parts[1:] else f"{format_usd(usd)} USD a month"
    return ", ".join([*parts, total]), usd


def _of_advice(saved: SavedAdvice) -> Iterator[Finding]:
    found = saved.recommendation
    now, choice, epochs = found.baseline, found.choice, found.epochs
    if not choice.stays(now) or choice.cache != now.cache:
        gained = now.run_s(epochs) - choice.run_s(epochs) if saved.job.runs_per_month else 0.0
        cost, usd = _cost(gained, now.monthly_usd - choice.monthly_usd, saved)
        if usd > 0:
            command = next((place.command for place in found.plan if place.command is not None), None)
            text = (
                f"An epoch from {_place(now)} takes {format_seconds(now.steady_epoch_s)}, limited by {now.bottleneck}; "
                f"from {_place(choice)} it would take {format_seconds(choice.steady_epoch_s)}."
            )
            yield Finding(text, cost, found.answer, command, gained / max(now.run_s(epochs), 1e-9), usd)
    rivals = [form.option for form in found.forms if form.name != "originals" and not form.allowed]
    best = min(rivals, key=lambda option: option.run_s(epochs), default=None)
    if best is not None and best.run_s(epochs) < (1 - 5 * _LEAST) * choice.run_s(epochs):
        gained = choice.run_s(epochs) - best.run_s(epochs)
        cost, usd = _cost(gained, choice.monthly_usd - best.monthly_usd, saved)
        if usd > 0:
            yield Finding(
                f"Training reads the original images: from re-encoded ones ({best.format}) an epoch would take "
                f"{format_seconds(best.steady_epoch_s)} in place of {format_seconds(choice.steady_epoch_s)}.",
                cost,
                "If training may read re-encoded images, make a store of them and keep the originals.",
                making_of(best, saved.profile.dataset.root, None) if saved.profile.dataset is not None else None,
                gained / max(choice.run_s(epochs), 1e-9),
                usd,
            )
    if choice.checkpoint_fraction > _LEAST:
        cost, usd = _cost(choice.checkpoint_fraction * choice.run_s(epochs), 0.0, saved)
        yield Finding(
            f"The job waits for checkpoints {format_percent(choice.checkpoint_fraction)} of its time.",
            cost,
            "Write checkpoints to a local disk or in the background, or less often.",
            None,
            choice.checkpoint_fraction,
            usd,
        )


def _place(option: Option) -> str:
    kept = "plain files" if option.format == "folder" else option.format
    behind = f", behind a cache of {option.cache}" if option.kind == "cached" else ""
    return f"{option.tier_title} ({kept}{behind})"


def _of_trace(
    trace: TraceProfile, found: Evidence | None, saved: SavedAdvice | None, dataset: DatasetProfile | None
) -> Iterator[Finding]:
    times = found.process_times if found is not None else None
    if found is None or times is None:
        return
    pack = None
    if saved is not None and dataset is not None:
        pack = next((place.command for place in saved.recommendation.plan if place.command is not None), None)
    alive = float(times.alive.sum())
    parts = (*_finding_files(trace, found, times), *_slow(found, times), *_moving(trace, times))
    for text, share, fix in parts:
        if share > _LEAST:
            yield _priced(text, share, alive, fix, pack if fix == _PACK else None, saved)


def _priced(text: str, share: float, alive: float, fix: str, command: str | None, saved: SavedAdvice | None) -> Finding:
    """Return a finding that takes a share of the traced time. alive: that time of all processes, in s."""
    traced = f"{format_percent(share)} of the traced time ({format_seconds(share * alive)})"
    if saved is None:
        return Finding(text, traced, fix, command, share, None)
    now = saved.recommendation.baseline
    if now.bottleneck == "training job":
        hidden = f"{traced}, which the training job hides, because it sets the pace"
        return Finding(text, hidden, fix, command, share, 0.0)
    cost, usd = _cost(share * now.run_s(saved.recommendation.epochs), 0.0, saved)
    return Finding(text, f"{traced}; at that share, {cost}", fix, command, share, usd)


def _finding_files(trace: TraceProfile, found: Evidence, times: ProcessTimes) -> Iterator[tuple[str, float, str]]:
    if trace.opens is None:
        return
    opens = next((calls for calls in found.calls if calls.op == "open"), None)
    each = f", half of which take up to {format_seconds(opens.percentile(50))}" if opens is not None else ""
    yield (
        f"Processes open, close and look for files: {counted(trace.opens, 'open')}{each}.",
        times.shares["other"],
        _PACK,
    )


def _slow(found: Evidence, times: ProcessTimes) -> Iterator[tuple[str, float, str]]:
    for calls in found.calls:
        if calls.op in {"read", "write"} and calls.seconds and not found.sizes_explain_slow(calls):
            share, median = format_percent(calls.tail_share, digits=2), format_seconds(calls.percentile(50))
            text = f"{share} of the {calls.op}s take more than ten times the median, {median}."
            fix = "Keep more calls in flight, or choose storage with a shorter tail: tiering probe measures it."
            yield text, calls.tail_seconds / calls.seconds * times.shares[calls.op], fix


def _moving(trace: TraceProfile, times: ProcessTimes) -> Iterator[tuple[str, float, str]]:
    enough = next((point for point in trace.miss_ratio_curve if point.static <= _MISSES), None)
    fix = (
        f"A cache of {format_bytes(enough.cache_bytes)} answers {format_percent(1 - enough.static)} of them."
        if enough is not None
        else "Put the data on a faster tier, or a cache in front of it."
    )
    yield (
        f"{format_bytes(trace.bytes_reread)} of {format_bytes(trace.bytes_read)} read had been read before.",
        times.shares["read"] * trace.bytes_reread / max(1, trace.bytes_read),
        fix,
    )
    yield (
        f"Processes write {format_bytes(trace.bytes_written)} and wait until it is done.",
        times.shares["write"],
        "Write to a local disk first, or in the background.",
    )


def _of_dataset(dataset: DatasetProfile, saved: SavedAdvice | None) -> Iterator[Finding]:
    copies = dataset.estimates.get("duplicate_share")
    if copies is not None and copies.value > _LEAST:
        usd = 0.0 if saved is None else copies.value * saved.recommendation.choice.monthly_usd
        yield Finding(
            f"About {format_percent(copies.value)} of the images are copies of others.",
            f"{format_bytes(copies.value * dataset.bytes)} that are stored and read twice"
            + (f", {format_usd(usd)} USD a month" if saved is not None else ""),
            "Remove them, unless they are meant to weigh more.",
            None,
            copies.value,
            usd if saved is not None else None,
        )
    if dataset.damaged_count:
        share = dataset.damaged_count / max(1, dataset.probed)
        yield Finding(
            f"{counted(dataset.damaged_count, 'image')} of {counted(dataset.probed, 'image')} looked at "
            f"{'is' if dataset.damaged_count == 1 else 'are'} damaged.",
            f"{format_percent(share, digits=2)} of the images are lost to training",
            "Fetch them again, or leave them out: tiering convert lists every one.",
            None,
            0.0,
            0.0 if saved is not None else None,
        )
