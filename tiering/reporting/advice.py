"""The recommendation of a report, and the same under other assumptions. Only this module knows its types."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tiering.advice.catalog import Tier, load_catalog
from tiering.advice.ranking import HOUR_USD
from tiering.advice.recommend import Job, recommend
from tiering.advice.recommendation import Option, Recommendation
from tiering.dataset.profile import DatasetProfile
from tiering.errors import UsageError
from tiering.units import format_bytes, format_count, format_seconds
from tiering.workload.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What advice rests on: ram in B, epochs of a run, the tier now, USD of an hour of waiting, a catalog's file."""

    ram: int = 0
    epochs: int = 100
    tier: str | None = None
    hour_usd: float = HOUR_USD
    catalog: Path | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One option, written out. mark: chosen, now, or empty; the numbers are s an epoch and USD a month."""

    mark: str
    name: str
    cells: tuple[str, ...]
    usd: float
    epoch_s: float
    on_frontier: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommendation in words and rows. what_if: the assumption, and what would be chosen under it."""

    summary: str
    reason: str
    criterion: str
    rows: tuple[Row, ...]
    what_if: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


#: Headings of Row.cells and of Advice.what_if.
COLUMNS = (
    "first epoch",
    "later epochs",
    "samples/s",
    "bottleneck",
    "cache hits",
    "speed-up",
    "USD/month",
    "pays back after",
)
WHAT_IF = ("assumption", "what would be chosen", "later epochs", "USD/month")


def advise(dataset: DatasetProfile, verdict: Verdict | None, given: Assumptions) -> Advice:
    """Recommend, and recommend again with more RAM, more epochs, slower tiers and lower prices.

    Raises what recommend raises for the assumptions given; one that cannot be met is said in its row.
    """
    tiers = tuple(load_catalog(given.catalog))
    found = _run(dataset, verdict, tiers, given)
    options = [("chosen", found.choice), *(("", each) for each in found.alternatives), ("now", found.baseline)]
    half = tuple(tier.model_copy(update={"price": tier.price / 2}) for tier in tiers)
    names = {tier.name for tier in tiers}
    cases = [
        ("as given", tiers, given),
        (f"double the RAM: {format_bytes(2 * given.ram)}", tiers, replace(given, ram=2 * given.ram)),
        (f"twice the epochs: {format_count(2 * given.epochs)}", tiers, replace(given, epochs=2 * given.epochs)),
        *(
            (f"the dataset lies on {name}", tiers, replace(given, tier=name))
            for name in ("nfs", "object")
            if name in names
        ),
        ("storage at half the price", half, given),
    ]
    return Advice(
        summary=f"{_name(found.choice)}: {format_seconds(found.choice.steady_epoch_s)} an epoch, "
        f"{_times(found.choice.speedup)} over the plain files as they lie now, "
        f"for {found.choice.monthly_usd:,.2f} USD a month.",
        reason=f"{found.choice.reason} {found.conversion} {found.doing_nothing}",
        criterion=found.criterion,
        rows=tuple(_row(mark, option) for mark, option in options),
        what_if=tuple(_case(title, dataset, verdict, catalog, each) for title, catalog, each in cases),
        notes=(*(f"Left out: {line}" for line in found.dropped), *found.notes),
    )


def _run(
    dataset: DatasetProfile, verdict: Verdict | None, tiers: tuple[Tier, ...], given: Assumptions
) -> Recommendation:
    return recommend(
        dataset,
        verdict=verdict,
        tiers=tiers,
        ram=given.ram,
        job=Job(epochs=given.epochs),
        current=given.tier,
        hour_usd=given.hour_usd,
    )


def _case(
    title: str, dataset: DatasetProfile, verdict: Verdict | None, tiers: tuple[Tier, ...], given: Assumptions
) -> tuple[str, ...]:
    try:
        choice = _run(dataset, verdict, tiers, given).choice
    except UsageError as error:
        return (title, f"not possible: {error}", "", "")
    return (title, _name(choice), format_seconds(choice.steady_epoch_s), f"{choice.monthly_usd:,.2f}")


def _row(mark: str, option: Option) -> Row:
    cells = (
        format_seconds(option.first_epoch_s),
        format_seconds(option.steady_epoch_s),
        f"{option.samples_per_s:,.3g}" if option.samples_per_s < 100 else format_count(option.samples_per_s),
        option.bottleneck,
        f"{100 * option.hit_ratio:.0f} %",
        _times(option.speedup),
        f"{option.monthly_usd:,.2f}",
        "-" if option.pays_back_epochs is None or not option.move_s else f"{option.pays_back_epochs:,.1f} epochs",
    )
    return Row(mark, _name(option), cells, option.monthly_usd, option.steady_epoch_s, option.on_frontier, option.reason)


def _name(option: Option) -> str:
    codec = "" if option.codec == "none" else f" + {option.codec}"
    cache = "" if option.cache == "none" else f", cache: {option.cache}"
    return f"{option.tier}, {option.format}{codec}{cache}"


def _times(speedup: float) -> str:
    return f"{speedup:,.3g} x" if speedup < 100 else f"{format_count(speedup)} x"
