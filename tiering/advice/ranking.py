"""Rank options by the total cost of a month with one run, and find the Pareto front behind the choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tiering.advice.recommendation import Option
from tiering.units import MONTH_SECONDS, format_count, format_percent, format_usd

#: Default cost of an hour of waiting of one node, USD: about one rented training GPU.
HOUR_USD: Final = 2.0
#: Differences in total cost below 1 USD or 5 % are not worth waiting for; then the faster option wins.
SLACK_USD: Final = 1.0
SLACK_SHARE: Final = 0.05
#: Share of a run that a job may wait and still count as never waiting.
MOST_STALL: Final = 0.05
#: Where every option lets the job wait: how many times as long as the quickest still counts as as quick.
_AS_SOON: Final = 1.01
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
    dataset, and the bill includes the reads for that. All nodes wait at the same time, and each costs hour_usd.
    """
    run_s = option.run_s(epochs)
    bill = option.monthly_usd * max(1.0, run_s / MONTH_SECONDS)
    return bill + option.move_usd + (option.move_s + run_s) / 3600 * hour_usd * option.nodes


def choose(
    options: Sequence[Option], workload: str, home: str, epochs: int, hour_usd: float | None
) -> tuple[Option, str]:
    """Return the choice, and its criterion in words.

    home: name of the tier where the dataset is now. hour_usd: cost of an hour of waiting of one node; None for time
    first where the training job's rate is known, and HOUR_USD otherwise.
    """
    if workload == "write-heavy":
        cheapest = min(options, key=lambda option: (option.monthly_usd, option.steady_epoch_s))
        return cheapest, "the cheapest month among file systems, with a write-back device where the tier is slow"
    stay = next((option for option in options if option.tier == home), None)
    if workload == "read-once" and stay is not None:
        return stay, "stay in place: a move would read everything as often as the one pass does"
    if hour_usd is None and options[0].stall_fraction is not None:
        return _in_time(options, epochs)
    hour_usd = HOUR_USD if hour_usd is None else hour_usd
    return _lowest_total(options, epochs, hour_usd), (
        f"lowest total of a month with one run of {format_count(epochs)} epoch{'s' if epochs > 1 else ''}: storage, "
        f"requests, and waiting for data, packing included, at {format_usd(hour_usd)} USD an hour"
        f"{' of each node' if options[0].nodes > 1 else ''}; "
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


def _undominated(options: Sequence[Option], epochs: int) -> list[Option]:
    """Return the options that no other beats: none is as cheap, as fast and as soon there, and better in one of these.

    Options that carry a warning count only where there are no others.
    """
    sound = [option for option in options if not option.warnings] or list(options)
    kept: list[tuple[float, float, float]] = []
    for figures in sorted({_figures(option, epochs) for option in sound}):
        # Sorted by the first figure, so only an earlier one can beat this.
        if not any(other[1] <= figures[1] and other[2] <= figures[2] for other in kept):
            kept.append(figures)
    return [option for option in sound if _figures(option, epochs) in kept]


def _figures(option: Option, epochs: int) -> tuple[float, float, float]:
    return option.monthly_usd, option.run_s(epochs), option.move_s


def _in_time(options: Sequence[Option], epochs: int) -> tuple[Option, str]:
    """Return the cheapest option that keeps the job from waiting, or lets it wait least, and its criterion."""
    options = _undominated(options, epochs)
    least = min(_waiting(option, epochs) for option in options)
    if least <= MOST_STALL:
        quick = [option for option in options if _waiting(option, epochs) <= MOST_STALL]
    else:
        # By time: for a job that is far too fast, the shares of all options round to the whole run.
        soonest = min(option.move_s + option.run_s(epochs) for option in options)
        quick = [option for option in options if option.move_s + option.run_s(epochs) <= soonest * _AS_SOON]
    lowest = min(option.monthly_usd + option.move_usd for option in quick)
    limit = lowest + max(SLACK_USD, SLACK_SHARE * lowest)
    cheap = [option for option in quick if option.monthly_usd + option.move_usd <= limit]
    words = (
        f"the cheapest month that lets the job wait at most {format_percent(MOST_STALL)} of a run"
        if least <= MOST_STALL
        else "the cheapest month of those that let the job wait least: none keeps it from waiting"
    )
    return min(cheap, key=lambda option: _simplicity(option, epochs)), (
        f"{words}; where bills differ by less than {SLACK_USD:.0f} USD or {format_percent(SLACK_SHARE)}, the simplest "
        "(`hour_usd` weighs waiting against the bill instead)"
    )


def _waiting(option: Option, epochs: int) -> float:
    """Return the share of a run, with the cold epoch and the move before it, in which the job waits."""
    works = epochs * option.steady_epoch_s * (1 - (option.stall_fraction or 0.0))
    return max(0.0, 1 - works / (option.move_s + option.run_s(epochs)))


def _lowest_total(options: Sequence[Option], epochs: int, hour_usd: float) -> Option:
    options = _undominated(options, epochs)
    lowest = min(total_usd(option, epochs, hour_usd) for option in options)
    limit = lowest + max(SLACK_USD, SLACK_SHARE * lowest)
    near = [option for option in options if total_usd(option, epochs, hour_usd) <= limit]
    fastest = min(option.run_s(epochs) for option in near)
    # A hundredth of the run makes no difference to anyone: then the simplest wins, and of equals the cheapest.
    ties = [option for option in near if option.run_s(epochs) <= fastest * 1.01]
    return min(ties, key=lambda option: _simplicity(option, epochs))


def _simplicity(option: Option, epochs: int) -> tuple[bool, bool, int, float, float]:
    """Return a key that sorts options without a cache, without a move, and in a simple format first."""
    return (
        option.cache_ram + option.cache_local > 0,
        option.move_s > 0,
        ("folder", "lmdb", "zarr", "pixels").index(option.format),
        round(option.monthly_usd, 2),
        option.run_s(epochs),
    )
