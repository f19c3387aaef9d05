"""The plan: what is kept where, and the command that makes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, cast

from tiering.advice.option import Option
from tiering.advice.originals import Originals
from tiering.errors import command
from tiering.images.training_formats import flags_of
from tiering.literals import AnyFormat, TrainingFormat
from tiering.units import format_bytes, format_usd


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the plan, and what is kept there.

    Attributes:
        holds: "originals": the files as they are, which training does not read. "store": what training reads, which can
            be made from the originals again. "dataset": the files, which training reads.
        tier: Name of the tier.
        tier_title: The tier's name in a sentence.
        format: How it is kept there.
        bytes: Bytes of one copy.
        copies: How many copies there are.
        monthly_usd: A month of it there. That of a store includes its reads and caches.
        once_usd: Cost of getting it there, paid once.
        command: The command that makes it; None where nothing has to be packed.
    """

    holds: Literal["originals", "store", "dataset"]
    tier: str
    tier_title: str
    format: AnyFormat
    bytes: int
    copies: int
    monthly_usd: float
    once_usd: float
    command: str | None


def plan_for(choice: Option, originals: Originals, root: str, shape: tuple[int, int] | None) -> Iterator[Place]:
    """Yield the places of a choice: those of the originals and of the store made from them, or one for both.

    Args:
        choice: The chosen option.
        originals: Where the originals are kept, if the option does not serve them itself.
        root: The dataset as it is now, for the command.
        shape: (height, width) to which training brings images.
    """
    apart = choice.originals_tier is not None
    if apart:
        yield Place(
            "originals", originals.tier.name, originals.tier.title, originals.store_format, round(originals.bytes), 1,
            choice.originals_usd, originals.once_usd, None,
        )  # fmt: skip
    yield Place(
        "store" if choice.format != "folder" else "dataset",
        choice.tier,
        choice.tier_title,
        choice.format,
        choice.stored,
        choice.copies,
        choice.monthly_usd - choice.originals_usd,
        choice.move_usd - (originals.once_usd if apart else 0.0),
        making_of(choice, root, shape),
    )


def plan_in_words(plan: Sequence[Place]) -> Iterator[str]:
    """Yield a sentence for each place."""
    for place in plan:
        copies = f" a copy, {place.copies} copies" if place.copies > 1 else ""
        usd = f"{format_usd(place.monthly_usd / place.copies)} USD a month{copies}"
        once = f", and {format_usd(place.once_usd)} USD once" if place.once_usd >= 0.005 else ""
        size = format_bytes(place.bytes)
        if place.holds == "originals":
            yield f"Keep the originals on {place.tier_title}: {size}, {usd}{once}."
        elif place.command is None:
            yield f"Keep plain files on {place.tier_title}: {size}, {usd}{once}."
        else:
            yield (
                f"Make the store on {place.tier_title} from them, and again whenever it is lost: {size} as "
                f"{place.format}, {usd}{once}. {place.command}"
            )


def making_of(choice: Option, root: str, shape: tuple[int, int] | None) -> str | None:
    """Return the command that makes the store of an option; None for plain files."""
    if choice.format == "folder":
        return None
    name = PurePath(root).name or "dataset"
    if choice.for_training:
        target = f"{name}-{choice.format}.{choice.container}"
        how = flags_of(cast("TrainingFormat", choice.format))
    else:
        pixels = choice.format == "pixels"
        target = f"{name}.{choice.container}"
        how = ["--resize", f"{shape[0]}x{shape[1]}"] if pixels and shape else ["--pixels"] if pixels else []
        how += ["--codec", choice.codec] if choice.codec != "none" or pixels else []
    return command("tiering", "convert", root, target, "--to", choice.container, *how)
