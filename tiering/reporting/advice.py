"""The recommendation of a report, in words and rows. Only this module knows the types of advice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tiering.advice.form_rows import form_rows
from tiering.advice.option import Option
from tiering.advice.plan import plan_in_words
from tiering.advice.saved_advice import SavedAdvice, WhatIf
from tiering.units import format_estimate, format_number, format_percent, format_seconds, format_usd


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

    plan: the places of the originals and of the store made from them; empty where one place has all. commands: those
    that make it. forms, columns of forms: the originals beside stores made for training, a quantity in each row; empty
    where none comes into question.
    """

    summary: str
    reason: str
    criterion: str
    rows: tuple[Row, ...]
    what_if: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    plan: tuple[str, ...]
    commands: tuple[str, ...]
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


def in_words(saved: SavedAdvice, wording: Callable[[str], str] | None = None) -> Advice:
    """Return a recommendation as a report shows it. wording: rewrites each sentence."""
    found = saved.recommendation
    say = wording or str
    options = [("chosen", found.choice), *(("", each) for each in found.alternatives), ("now", found.baseline)]
    columns, forms = form_rows(found.forms) if len(found.forms) > 1 else ((), [])
    return Advice(
        summary=say(found.answer),
        reason=say(f"{found.choice.reason} {found.conversion} {found.doing_nothing}"),
        criterion=found.criterion,
        rows=tuple(_row(mark, option) for mark, option in options),
        what_if=tuple(_case(each) for each in saved.what_if),
        notes=tuple(
            map(
                say,
                (
                    *(f"Left out: {line}" for line in found.dropped),
                    *found.notes,
                    *(each.text for each in found.assumptions),
                ),
            )
        ),
        plan=tuple(plan_in_words(found.plan)) if len(found.plan) > 1 else (),
        commands=tuple(place.command for place in found.plan if place.command is not None),
        form_columns=columns,
        forms=tuple(forms),
    )


def _case(case: WhatIf) -> tuple[str, ...]:
    if case.choice is None:
        return (case.assumption, f"not possible: {case.reason}", "", "")
    choice = case.choice
    return (case.assumption, _name(choice), format_seconds(choice.steady_epoch_s), format_usd(choice.monthly_usd))


def _row(mark: str, option: Option) -> Row:
    cells = (
        format_seconds(option.first_epoch_s),
        format_seconds(option.steady_epoch_s),
        format_estimate(option.samples_per_s),
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
    return f"{format_number(speedup)} x"
