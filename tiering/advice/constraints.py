"""Limits: what a recommendation may not break, and what was dropped because of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tiering.advice.catalog import Tier
from tiering.advice.recommendation import Option
from tiering.errors import UsageError
from tiering.units import format_bytes, format_seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What the chosen option keeps.

    budget_usd: USD a month, at most; max_epoch_s: s of a steady epoch, at most; capacity: B of tiers by name, instead
    of the catalog's; keep_originals: the original files stay, to the last byte; gpu_utilisation: share of a steady
    epoch in which the training job works, at least, for which its rate must be known. Raises UsageError for impossible
    ones.
    """

    budget_usd: float | None = None
    max_epoch_s: float | None = None
    capacity: Mapping[str, int] = field(default_factory=dict)
    keep_originals: bool = False
    gpu_utilisation: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("--budget", self.budget_usd), ("--max-epoch-time", self.max_epoch_s)):
            if value is not None and not 0 <= value < float("inf"):
                raise UsageError(name, expected="at least 0", found=str(value))
        if self.gpu_utilisation is not None and not 0 < self.gpu_utilisation <= 1:
            raise UsageError(
                "--gpu-utilisation", expected="a share above 0, 1 at most", found=f"{self.gpu_utilisation}"
            )
        for name, size in self.capacity.items():
            if size < 1:
                raise UsageError(f"--capacity {name}", expected="at least 1 byte", found=format_bytes(size))


NO_LIMITS: Final = Limits()


def resized(catalog: Sequence[Tier], limits: Limits) -> tuple[Tier, ...]:
    """Return the catalog with the capacities of the limits. Raises UsageError for a tier that it lacks."""
    names = [tier.name for tier in catalog]
    for name in limits.capacity:
        if name not in names:
            raise UsageError(f"--capacity {name}", expected=f"one of {', '.join(names)}", found=repr(name))
    return tuple(
        tier.model_copy(update={"capacity": limits.capacity[tier.name]}) if tier.name in limits.capacity else tier
        for tier in catalog
    )


def within(options: Sequence[Option], limits: Limits) -> tuple[list[Option], list[str]]:
    """Return the options that break no limit, and a sentence for each limit that dropped some.

    Raises UsageError where none is left, with the option that comes nearest to the limit that dropped the last.
    """
    kept, said = list(options), []
    for name, broken, nearest in _rules(limits):
        left = [option for option in kept if not broken(option)]
        if len(left) < len(kept):
            said.append(f"{name} drops {len(kept) - len(left)} of {len(kept)} ways.")
        if kept and not left:
            raise UsageError(
                name,
                expected="a limit that some way can keep",
                found=nearest(kept),
                action="Loosen it, or give the catalog a tier that keeps it: --catalog FILE",
            )
        kept = left
    return kept, said


_Rule = tuple[str, Callable[[Option], bool], Callable[[Sequence[Option]], str]]


def _rules(limits: Limits) -> list[_Rule]:
    rules: list[_Rule] = []
    if limits.keep_originals:
        rules.append(
            (
                "--must-keep-originals",
                lambda option: option.format == "pixels",
                lambda _: "only pixels, which are not the original files",
            )
        )
    if limits.max_epoch_s is not None:
        longest = limits.max_epoch_s
        rules.append(
            (
                f"--max-epoch-time {format_seconds(longest)}",
                lambda option: option.steady_epoch_s > longest,
                lambda kept: f"{format_seconds(min(option.steady_epoch_s for option in kept))} at best",
            )
        )
    if limits.gpu_utilisation is not None:
        stall = 1 - limits.gpu_utilisation
        rules.append(
            (
                f"--gpu-utilisation {limits.gpu_utilisation:.0%}",
                # A share that is met but for rounding, or for the start of an epoch, is met.
                lambda option: (option.stall_fraction or 0.0) > stall + 1e-3,
                lambda kept: f"{1 - min(option.stall_fraction or 0.0 for option in kept):.0%} at best",
            )
        )
    if limits.budget_usd is not None:
        most = limits.budget_usd
        rules.append(
            (
                f"--budget {most:,.2f} USD a month",
                lambda option: option.monthly_usd > most,
                lambda kept: f"{min(option.monthly_usd for option in kept):,.2f} USD for the cheapest that is left",
            )
        )
    return rules
