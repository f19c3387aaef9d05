"""Rank options by the total cost of a month with one run, and find the Pareto front behind the choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tiering.advice.recommendation import Option
from tiering.units import MONTH_SECONDS, format_count, format_percent, format_usd

#: Default cost of an hour of waiting, USD: about one rented training GPU.
HOUR_USD: Final = 2.0
#: Differences in total cost below 1 USD or 5 % are not worth waiting for; then the faster option wins.
SLACK_USD: Final = 1.0
SLACK_SHARE: Final = 0.05
#: Options beside the chosen one that are worth a reader's time.
SHOWN: Final = 8


def pareto(options: Sequence[Option], epochs: int) -> list[Option]:
    """Return the options that no other beats in both the month's bill and the time of a run, cheapest first."""
    front: list[Option] = []
    for option in sorted(options, key=lambda option: (option.monthly_usd, option.run_s(epochs))):
        if not front or option.run_s(epochs) < front[-1].run_s(epochs):
            front.append(option)
    return front


def total_usd(option: Option, epochs: int, hour_usd: float) -> float:
    """Return the cost of a month with one run: the bill, and the hours of waiting for data.

    A run that takes longer than a month has that many months' bills. The waiting includes the time to pack or copy the
    dataset, and the bill includes the reads for that.
    """
    run_s = option.run_s(epochs)
    bill = option.monthly_usd * max(1.0, run_s / MONTH_SECONDS)
    return bill + option.move_usd + (option.move_s + run_s) / 3600 * hour_usd


def choose(options: Sequence[Option], workload: str, home: str, epochs: int, hour_usd: float) -> tuple[Option, str]:
    """Return the choice, and its criterion in words. home: name of the tier where the dataset is now."""
    if workload == "write-heavy":
        cheapest = min(options, key=lambda option: (option.monthly_usd, option.steady_epoch_s))
        return cheapest, "the cheapest month among file systems, with a write-back device where the tier is slow"
    stay = next((option for option in options if option.tier == home), None)
    if workload == "read-once" and stay is not None:
        return stay, "stay in place: a move would read everything as often as the one pass does"
    return _lowest_total(options, epochs, hour_usd), (
        f"lowest total of a month with one run of {format_count(epochs)} epoch{'s' if epochs > 1 else ''}: storage, "
        f"requests, and waiting for data, packing included, at {format_usd(hour_usd)} USD an hour; "
        f"where totals differ by less than {SLACK_USD:.0f} USD or {format_percent(SLACK_SHARE)}, the fastest"
    )


def others(options: Sequence[Option], choice: Option, epochs: int, hour_usd: float) -> list[Option]:
    """Return the rest of the front and the best of each other tier, by total cost: at most SHOWN."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda option: total_usd(option, epochs, hour_usd)):
        same_tier = [other for other in (choice, *kept) if other.tier == option.tier]
        # An option that costs the same as a better one of its tier is on the front by a cent, and not worth a line.
        new = all(abs(other.monthly_usd - option.monthly_usd) > 0.02 * other.monthly_usd for other in same_tier)
        if (option.tier, option.format, option.codec, option.cache) != (
            choice.tier,
            choice.format,
            choice.codec,
            choice.cache,
        ) and (not same_tier or (option.on_frontier and new)):
            kept.append(option)
    return kept[:SHOWN]


def _lowest_total(options: Sequence[Option], epochs: int, hour_usd: float) -> Option:
    lowest = min(total_usd(option, epochs, hour_usd) for option in options)
    limit = lowest + max(SLACK_USD, SLACK_SHARE * lowest)
    near = [option for option in options if total_usd(option, epochs, hour_usd) <= limit]
    fastest = min(option.run_s(epochs) for option in near)
    # A hundredth of the run makes no difference to anyone: then the simplest wins, and of equals the cheapest.
    ties = [option for option in near if option.run_s(epochs) <= fastest * 1.01]
    order = ("folder", "lmdb", "zarr", "pixels")
    return min(
        ties,
        key=lambda option: (
            option.cache_ram + option.cache_local > 0,
            option.move_s > 0,
            order.index(option.format),
            round(option.monthly_usd, 2),
            option.run_s(epochs),
        ),
    )
