"""How `tiering recommend` shows a recommendation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tiering.advice.form_rows import form_rows
from tiering.advice.option import Option
from tiering.advice.plan import Place, plan_in_words
from tiering.advice.recommendation import Form, Recommendation, Requirements
from tiering.cli.flags import with_flags
from tiering.cli.output import note, out, table
from tiering.units import (
    format_bytes,
    format_count,
    format_estimate,
    format_number,
    format_percent,
    format_rate,
    format_seconds,
    format_usd,
)

#: Columns of the options that a narrow terminal leaves out, the first one first.
_NARROW: Final = ("speed-up", "limited by", "first epoch", "samples/s", "pays back", "cache")


def show(found: Recommendation, *, explain: bool) -> None:
    """Print the answer, then the options, the reasons, the costs and savings, and the requirements of the run.

    explain: print every assumption as a sentence, instead of all in a few words.
    """
    console = out()
    console.say(with_flags("recommend", found.answer))
    sure = "" if found.confidence is None else f", probability {format_percent(found.confidence)}"
    console.print(f"Workload: {found.workload}{sure}")
    console.print()
    stalls = found.choice.stall_fraction is not None
    shown = table(
        "",
        "tier",
        "format",
        "cache",
        "first epoch",
        "later",
        "samples/s",
        "limited by",
        *(["waiting"] if stalls else []),
        "speed-up",
        "USD/month",
        "pays back",
    )
    for column in shown.columns[1:4]:
        column.justify = "left"
    rows = [("->", found.choice), *(("*" if each.on_frontier else "", each) for each in found.alternatives)]
    for mark, option in (*rows, ("now", found.baseline)):
        shown.add_row(mark, *_cells(option, stalls=stalls))
    console.show(shown, drop=_NARROW)
    if any(option.on_frontier for option in found.alternatives):
        note("*: no other option is both cheaper and faster.")
    lines = (
        "",
        found.choice.reason,
        f"Chosen by: {found.criterion}.",
        found.conversion,
        found.doing_nothing,
    )
    for line in lines:
        console.say(with_flags("recommend", line))
    _show_plan(found.plan)
    _show_forms(found.forms)
    _show_requirements(found.asks)
    for line in found.dropped:
        note(f"Left out: {line}")
    for line in found.notes:
        note(f"Note: {line}")
    _say_assumptions(found, explain=explain)
    for place in found.plan:
        if place.command is not None:
            note(f"Next: {place.command}")


def _say_assumptions(found: Recommendation, *, explain: bool) -> None:
    if explain:
        for each in found.assumptions:
            note(f"Assumed: {each.text}")
    elif brief := [each.brief for each in found.assumptions if each.brief]:
        note(f"Assumed: {'; '.join(brief)}. --explain says more.")


def _cells(option: Option, *, stalls: bool) -> list[str]:
    codec = "" if option.codec == "none" else f" + {option.codec}"
    pays = option.pays_back_epochs
    return [
        option.tier,
        option.format + codec + (" in blocks" if option.order == "block" else ""),
        option.cache,
        format_seconds(option.first_epoch_s),
        format_seconds(option.steady_epoch_s),
        format_estimate(option.samples_per_s),
        option.bottleneck,
        *([format_percent(option.stall_fraction or 0.0)] if stalls else []),
        f"{format_number(option.speedup)} x",
        format_usd(option.monthly_usd),
        "-" if pays is None or not option.move_s else f"{pays:,.1f} epochs" if pays < 100 else f"{pays:,.0f} epochs",
    ]


def _show_plan(plan: Sequence[Place]) -> None:
    """Show the two places of a plan that keeps the originals apart; with one place the answer says all."""
    if len(plan) < 2:
        return
    console = out()
    console.print()
    console.print("Plan:")
    for number, line in enumerate(plan_in_words(plan), 1):
        console.say(f"  {number}. {line}", indent=5)


def _show_forms(forms: Sequence[Form]) -> None:
    if len(forms) < 2:
        return
    console = out()
    heading, rows = form_rows(forms)
    shown = table(*heading)
    for row in rows:
        shown.add_row(*row)
    console.print()
    console.show(shown)


def _show_requirements(required: Requirements) -> None:
    """Show tiers and nodes where one host cannot hold the dataset; elsewhere they add nothing."""
    if all(tier.fits for tier in required.tiers):
        return
    console = out()
    tiers = table("plain files on", "fits", "a cold epoch", "USD/month")
    for tier in required.tiers:
        tiers.add_row(tier.tier, "yes" if tier.fits else "no", format_seconds(tier.epoch_s), f"{tier.usd:,.0f}")
    console.print()
    console.show(tiers)
    if len(required.nodes) < 2:
        return
    aimed = required.bytes_per_s is not None
    nodes = table("nodes", "cache on each", "hits", "from origin", *(["at"] if aimed else []), "epoch", "USD/month")
    for each in required.nodes:
        nodes.add_row(
            format_count(each.nodes),
            format_bytes(each.cache_bytes),
            format_percent(each.hit_ratio, 3),
            format_bytes(each.origin_bytes),
            *([format_rate(each.origin_bytes_per_s or 0.0)] if aimed else []),
            format_seconds(each.epoch_s),
            f"{each.cache_usd:,.0f}",
        )
    console.print()
    console.show(nodes, drop=("hits", "from origin"))
