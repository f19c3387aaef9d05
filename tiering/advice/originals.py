"""The original files beside a packed store or copies of it: where they are kept, and what that costs.

A packed store or a copy on the nodes' disks is made from files that stay, unless they are deleted. Their bill is a
part of every option that does not serve these files itself. They are kept where they are, or where keeping them unread
is cheapest: a year there, or the time that the data is kept, with the move that leads there, must cost less than where
they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tiering.advice.assumptions import Assumption
from tiering.advice.bill import (
    Terms,
    billed_bytes,
    early_deletion_in_month,
    monthly_bill,
    storage_usd,
    stored_objects,
)
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.option import Option
from tiering.advice.ranking import MONTHS
from tiering.advice.tier import Tier
from tiering.literals import Format, OriginalFiles
from tiering.units import format_usd


@dataclass(frozen=True, slots=True)
class Originals:
    """The place that keeps the dataset as it is now.

    Attributes:
        tier: Where it is kept.
        store_format: How it is kept.
        bytes: Bytes that are billed for it there, without what is bought at least.
        monthly_usd: A month of storage, unread.
        once_usd: Cost of moving it there; 0 where it stays.
        rule: What the job does with the originals.
        month: Share of a month that they are kept.
    """

    tier: Tier
    store_format: Format
    bytes: float
    monthly_usd: float
    once_usd: float
    rule: OriginalFiles
    month: float = 1.0

    def beside(self, option: Option) -> float:
        """Return USD a month for them beside an option. On one system both share what is bought at least."""
        if option.tier != self.tier.name:
            return self.monthly_usd
        # Of several copies, one has the originals beside it. Where nodes have shares, each has its part of both.
        copies, parts = (option.copies, 1) if option.shared or option.copies == option.nodes else (1, option.nodes)
        both = DatasetSizes(1, math.ceil((self.bytes + option.stored) / parts))
        usd = parts * storage_usd(billed_bytes(both, self.tier), self.tier) * self.month
        return max(0.0, usd - option.bill.storage / copies)

    def leave_room_for(self, option: Option) -> bool:
        """Return whether their tier holds the option beside them, where both are on the same one."""
        if option.originals_tier != option.tier:
            return True
        parts = 1 if option.shared or option.copies == option.nodes else option.nodes
        whole = option.shared or self.tier.holds(math.ceil(self.bytes))
        mine = self.bytes if whole else self.bytes / option.nodes
        return self.tier.holds(math.ceil(mine + option.stored / parts))


def place_of_originals(
    data: DatasetSizes,
    home: Tier,
    store_format: Format,
    catalog: Sequence[Tier],
    rule: OriginalFiles,
    reading_usd: float,
    *,
    months: float = MONTHS,
    kept_days: float | None = None,
) -> Originals:
    """Return the cheapest place for data that is kept and not read.

    Args:
        data: The dataset.
        home: Where it is now.
        store_format: How it is kept now.
        catalog: The tiers. Disks of nodes keep originals only where these are there already.
        rule: What the job does with the originals.
        reading_usd: Cost of reading all of it from where it is.
        months: Months over which a move must pay.
        kept_days: Days that the data is kept; None for good.
    """
    terms = Terms(runs_per_month=0, kept_days=kept_days)
    objects = {tier.name: stored_objects(data, tier, store_format) for tier in (home, *catalog)}

    def kept_on(tier: Tier) -> Originals:
        bill = monthly_bill(objects[tier.name], tier, terms=terms)
        soon = early_deletion_in_month(bill, terms)
        once = 0.0 if tier == home else bill.writes + bill.upload + (bill.early_deletion - soon) + reading_usd
        monthly = bill.total + soon
        loose = tier.model_copy(update={"minimum_capacity": 0, "capacity_step": 0})
        size = billed_bytes(objects[tier.name], loose)
        return Originals(tier, store_format, size, monthly, once, rule, terms.month)

    elsewhere = [tier for tier in catalog if tier.network and tier.is_lasting and tier != home]
    fitting = [tier for tier in elsewhere if tier.holds(objects[tier.name].bytes)]
    places = [kept_on(tier) for tier in (home, *(fitting if rule == "cheapest" else ()))]
    return min(places, key=lambda each: months * each.monthly_usd + each.once_usd)


def with_originals(option: Option, originals: Originals, baseline: Option) -> Option:
    """Return the option with the bill of the originals, where it does not serve them itself."""
    moved = option.format == originals.store_format and option.shared and originals.rule == "cheapest"
    if originals.rule == "drop" or option.stays(baseline) or moved:
        return option
    usd = originals.beside(option)
    monthly = option.monthly_usd + usd
    return replace(
        option,
        originals_tier=originals.tier.name,
        originals_usd=usd,
        monthly_usd=monthly,
        monthly_usd_per_node=monthly / option.nodes,
        move_usd=option.move_usd + originals.once_usd,
    )


def without_room(options: Sequence[Option], originals: Originals) -> tuple[list[Option], list[str]]:
    """Return the options that fit beside the originals, and a sentence for those that do not."""
    kept = [option for option in options if originals.leave_room_for(option)]
    if not kept or len(kept) == len(options):
        return list(options), []
    count = len(options) - len(kept)
    less = f"{count} options" if count > 1 else "1 option"
    return kept, [f"{less} on {originals.tier.name}: there is no room beside the original files."]


def originals_kept(choice: Option, originals: Originals, home: Tier) -> Iterator[Assumption]:
    """Say where the originals of the chosen option are kept, at which cost, and how safe they are there."""
    if choice.originals_tier is None:
        return
    usd = f"{format_usd(choice.originals_usd)} USD a month"
    if originals.tier == home:
        yield Assumption(
            f"the originals stay on {home.title} (`originals`)",
            f"The original files stay on {home.title}: {usd} of the bill. `originals` changes that.",
        )
    else:
        yield Assumption(
            f"the originals go to {originals.tier.title} (`originals`)",
            f"The original files are cheapest to keep on {originals.tier.title}: {usd} of the bill, and "
            f"{format_usd(originals.once_usd)} USD once to move them there. `originals` changes that.",
        )


def safety(tier: Tier) -> Iterator[str]:
    """Say how safe data is on a tier, as far as the catalog knows."""
    if tier.zones == 1:
        yield f"{tier.title} keeps data in one zone only."
    if tier.durability is not None:
        share = f"{100 * tier.durability:.12g}"
        yield f"By its maker, {share} % of the objects or volumes on {tier.title} survive a year."
