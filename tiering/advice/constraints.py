"""The limits that a recommendation must keep, and the options that break them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tiering.advice.catalog import Tier, tier_named
from tiering.advice.option import Option
from tiering.errors import UsageError
from tiering.units import format_bytes, format_percent, format_seconds, format_usd


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the chosen option must keep.

    Attributes:
        budget_usd: USD a month, at most.
        max_epoch_s: Seconds of a steady epoch, at most.
        capacity: Bytes of tiers by name, in place of the catalog's.
        keep_originals: Whether the original files must stay, to the last byte.
        read_p99_s: Seconds in which 99 of 100 single reads must be answered, for serving that waits for each.
        single_files: Whether the files must stay single files or objects, and nothing is packed.
        gpu_utilisation: Share of a steady epoch in which the training job works, at least. Needs the job's rate.

    Raises:
        UsageError: For an impossible limit.

    Example:
        >>> Limits(budget_usd=500.0, max_epoch_s=1800.0).keep_originals
        False
    """

    budget_usd: float | None = None
    max_epoch_s: float | None = None
    capacity: Mapping[str, int] = field(default_factory=dict)
    keep_originals: bool = False
    gpu_utilisation: float | None = None
    read_p99_s: float | None = None
    single_files: bool = False

    def __post_init__(self) -> None:
        for name, value in (
            ("budget_usd", self.budget_usd),
            ("max_epoch_s", self.max_epoch_s),
            ("read_p99_s", self.read_p99_s),
        ):
            if value is not None and not 0 <= value < float("inf"):
                raise UsageError(name, rule="must be at least 0", found=str(value))
        if self.gpu_utilisation is not None and not 0 < self.gpu_utilisation <= 1:
            raise UsageError(
                "gpu_utilisation", rule="must be a share above 0, 1 at most", found=f"{self.gpu_utilisation}"
            )
        for name, size in self.capacity.items():
            if size < 1:
                raise UsageError(f"capacity {name}", rule="must be at least 1 byte", found=format_bytes(size))


NO_LIMITS: Final = Limits()


def resized(catalog: Sequence[Tier], limits: Limits) -> tuple[Tier, ...]:
    """Return the catalog with the capacities of the limits. Raises UsageError for an unknown tier."""
    for name in limits.capacity:
        tier_named(catalog, name, f"capacity {name}")
    return tuple(
        tier.model_copy(update={"capacity": limits.capacity[tier.name]}) if tier.name in limits.capacity else tier
        for tier in catalog
    )


def within(options: Sequence[Option], limits: Limits) -> tuple[list[Option], list[str]]:
    """Return the options that break no limit, and a sentence for each limit that dropped some.

    Raises:
        UsageError: Where no option is left. The message names the limit that dropped the last options, and how near
            the best of them came to it.
    """
    kept, dropped = list(options), []
    for parameter, rule, broken, nearest in _rules(limits):
        left = [option for option in kept if not broken(option)]
        if len(left) < len(kept):
            dropped.append(f"{rule} drops {len(kept) - len(left)} of {len(kept)} options.")
        if kept and not left:
            raise UsageError(
                parameter,
                found=f"no option keeps this limit: {nearest(kept)}",
                action="Loosen it, or give `tiers` with one that keeps it.",
            )
        kept = left
    return kept, dropped


#: The parameter, the limit in words, whether an option breaks it, and how near the best option comes to it.
_Rule = tuple[str, str, Callable[[Option], bool], Callable[[Sequence[Option]], str]]


def _rules(limits: Limits) -> Iterator[_Rule]:
    if limits.keep_originals:
        yield (
            "keep_originals",
            "Keeping the originals",
            lambda option: not option.has_originals,
            lambda _: "only stores that do not hold the original files",
        )
    if limits.single_files:
        yield (
            "single_files",
            "Keeping single files",
            lambda option: option.format != "folder",
            lambda _: "only packed stores",
        )
    if (longest := limits.max_epoch_s) is not None:
        yield _at_most(
            "max_epoch_s",
            f"An epoch of at most {format_seconds(longest)}",
            longest,
            lambda option: option.steady_epoch_s,
            lambda best: f"{format_seconds(best)} at best",
        )
    if (share := limits.gpu_utilisation) is not None:
        yield (
            "gpu_utilisation",
            f"A GPU utilisation of at least {format_percent(share)}",
            # Rounding, or the start of an epoch, must not break a share that is otherwise kept.
            lambda option: (option.stall_fraction or 0.0) > 1 - share + 1e-3,
            lambda kept: f"{format_percent(1 - min(option.stall_fraction or 0.0 for option in kept))} at best",
        )
    if (latest := limits.read_p99_s) is not None:
        yield _at_most(
            "read_p99_s",
            f"Reads within {format_seconds(latest)}, 99 of 100",
            latest,
            lambda option: option.read_p99_s,
            lambda best: f"{format_seconds(best)} at best",
        )
    if (most := limits.budget_usd) is not None:
        yield _at_most(
            "budget_usd",
            f"A budget of {format_usd(most)} USD a month",
            most,
            lambda option: option.monthly_usd,
            lambda best: f"{format_usd(best)} USD for the cheapest one left",
        )


def _at_most(
    parameter: str, rule: str, limit: float, figure: Callable[[Option], float], in_words: Callable[[float], str]
) -> _Rule:
    """Return the rule that a figure of an option is at most the limit. in_words: writes the best figure."""
    return (
        parameter,
        rule,
        lambda option: figure(option) > limit,
        lambda kept: in_words(min(figure(option) for option in kept)),
    )
