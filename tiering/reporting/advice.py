"""The recommendation of a report, and what it would be under other assumptions. Only this module knows its types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tiering.advice.catalog import Tier, load_catalog
from tiering.advice.current_tier import current_tier
from tiering.advice.form_rows import form_rows
from tiering.advice.job import Job
from tiering.advice.option import Option
from tiering.advice.plan import plan_in_words
from tiering.advice.recommend import recommend
from tiering.advice.recommendation import Recommendation
from tiering.dataset.profile import DatasetProfile
from tiering.errors import UsageError
from tiering.units import format_bytes, format_count, format_percent, format_seconds, format_usd
from tiering.workload.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Assumptions:
    """The basis of a report's advice. Each field is the parameter of `recommend` with its name.

    Attributes:
        job: The training.
        current: Name of the tier where the dataset is now; by default the one that the mount table shows.
        tiers: The catalog; by default the shipped one.

    Example:
        >>> given = Assumptions(job=Job(epochs=90), current="nfs")
        >>> tiering.write_report("photos", "report.html", assumptions=given)  # doctest: +SKIP
    """

    job: Job = field(default_factory=Job)
    current: str | None = None
    tiers: Sequence[Tier] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One option in words. mark: chosen, now, or empty. The numbers are s per epoch and USD a month."""

    mark: str
    name: str
    cells: tuple[str, ...]
    usd: float
    epoch_s: float
    on_frontier: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommendation in words and rows. what_if: assumptions, and the choice under each.

    plan: the places of the originals and of the store made from them; empty where one place has all. forms, columns of
    forms: the originals beside stores made for training, a quantity in each row; empty where none comes into question.
    """

    summary: str
    reason: str
    criterion: str
    rows: tuple[Row, ...]
    what_if: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    plan: tuple[str, ...]
    form_columns: tuple[str, ...]
    forms: tuple[tuple[str, ...], ...]


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


def advise(dataset: DatasetProfile, verdict: Verdict | None, assumptions: Assumptions) -> Advice:
    """Recommend, and recommend again with more RAM, more epochs, slower tiers and lower prices.

    Raises as recommend does for the given assumptions. A what-if assumption that cannot be met says so in its row.
    """
    tiers = load_catalog() if assumptions.tiers is None else assumptions.tiers
    found = _recommended(dataset, verdict, assumptions)
    options = [("chosen", found.choice), *(("", each) for each in found.alternatives), ("now", found.baseline)]
    half = tuple(tier.model_copy(update={"price": tier.price / 2}) for tier in tiers)
    names = {tier.name for tier in tiers}
    job = assumptions.job
    more_ram, longer = replace(job, ram=2 * job.ram), replace(job, epochs=2 * job.epochs)
    cases = [
        ("as given", assumptions),
        (f"double the RAM: {format_bytes(more_ram.ram)}", replace(assumptions, job=more_ram)),
        (f"twice the epochs: {format_count(longer.epochs)}", replace(assumptions, job=longer)),
        *(
            (f"the dataset is on {name}", replace(assumptions, current=name))
            for name in ("nfs", "object")
            if name in names
        ),
        ("storage at half the price", replace(assumptions, tiers=half)),
    ]
    if found.forms and not job.reencode:
        cases.append(("training may read re-encoded images", replace(assumptions, job=replace(job, reencode=True))))
    columns, forms = form_rows(found.forms) if len(found.forms) > 1 else ((), [])
    return Advice(
        summary=found.answer,
        reason=f"{found.choice.reason} {found.conversion} {found.doing_nothing}",
        criterion=found.criterion,
        rows=tuple(_row(mark, option) for mark, option in options),
        what_if=tuple(_case(title, dataset, verdict, each) for title, each in cases),
        notes=(*(f"Left out: {line}" for line in found.dropped), *found.notes),
        plan=tuple(plan_in_words(found.plan)) if len(found.plan) > 1 else (),
        form_columns=columns,
        forms=tuple(forms),
    )


def _recommended(dataset: DatasetProfile, verdict: Verdict | None, given: Assumptions) -> Recommendation:
    tiers = load_catalog() if given.tiers is None else given.tiers
    current = given.current or current_tier(dataset.root, tiers)
    return recommend(dataset, verdict=verdict, tiers=tiers, job=given.job, current=current)


def _case(title: str, dataset: DatasetProfile, verdict: Verdict | None, given: Assumptions) -> tuple[str, ...]:
    try:
        choice = _recommended(dataset, verdict, given).choice
    except UsageError as error:
        return (title, f"not possible: {error}", "", "")
    return (title, _name(choice), format_seconds(choice.steady_epoch_s), format_usd(choice.monthly_usd))


def _row(mark: str, option: Option) -> Row:
    cells = (
        format_seconds(option.first_epoch_s),
        format_seconds(option.steady_epoch_s),
        f"{option.samples_per_s:,.3g}" if option.samples_per_s < 100 else format_count(option.samples_per_s),
        option.bottleneck,
        format_percent(option.hit_ratio),
        _times(option.speedup),
        format_usd(option.monthly_usd),
        "-" if option.pays_back_epochs is None or not option.move_s else f"{option.pays_back_epochs:,.1f} epochs",
    )
    return Row(mark, _name(option), cells, option.monthly_usd, option.steady_epoch_s, option.on_frontier, option.reason)


def _name(option: Option) -> str:
    codec = "" if option.codec == "none" else f" + {option.codec}"
    cache = "" if option.cache == "none" else f", cache: {option.cache}"
    blocks = " in blocks" if option.order == "block" else ""
    return f"{option.tier}, {option.format}{codec}{blocks}{cache}"


def _times(speedup: float) -> str:
    return f"{speedup:,.3g} x" if speedup < 100 else f"{format_count(speedup)} x"
