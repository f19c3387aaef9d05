"""Rank options by the total cost of a month with one run, and find the Pareto front behind the choice."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, get_args

from tiering.advice.hour_price import HOUR_USD
from tiering.advice.option import Option
from tiering.literals import AnyFormat
from tiering.units import MONTH_SECONDS, format_count, format_number, format_percent, format_usd

#: Differences in total cost below 1 USD or 5 % are not worth waiting for; then the faster option wins.
SLACK_USD: Final = 1.0
SLACK_SHARE: Final = 0.05
#: Share of a run that a job may wait and still count as never waiting.
MOST_STALL: Final = 0.05
#: A move and its run may take this many times as long as the quickest run without a move.
_LATE: Final = 1.1
#: Where every option lets the job wait, those that take up to this many times as long as the quickest count as equals.
_AS_SOON: Final = 1.01
#: Seconds saved in all runs together that are too few to move a dataset to another tier.
_MOMENT: Final = 10.0
#: Share of its time that a tier may be busy in a plan: more leaves nothing for other work.
MOST_BUSY: Final = 0.8
#: Options whose bills and times differ by no more than this share are shown once.
_SAME: Final = 0.02
#: Months over which what is paid once is spread, where data is kept for good.
MONTHS: Final = 12.0
#: Options beside the chosen one and the front that are worth a reader's time.
SHOWN: Final = 8


def pareto(options: Sequence[Option], epochs: int) -> list[Option]:
    """Return the options that no other beats in both the month's bill and the time of a run, cheapest first."""
    front: list[Option] = []
    for option in sorted(options, key=lambda option: (option.monthly_usd, option.run_s(epochs))):
        if not front or option.run_s(epochs) < front[-1].run_s(epochs):
            front.append(option)
    return front


def warned_of_crowding(options: Sequence[Option]) -> list[Option]:
    """Return the options, with a warning where one keeps up only because its tier has nothing else to do.

    They are warned of only where another option keeps up as well and leaves its tier more time.
    """
    quick = [option for option in options if option.stall_fraction is not None and option.stall_fraction <= MOST_STALL]
    # Speed that is bought for the job is there for it alone.
    quick = [option for option in quick if not option.provisioned]
    if all(option.busy > MOST_BUSY for option in quick):
        return list(options)
    crowded = [option for option in quick if option.busy > MOST_BUSY]
    return [
        replace(option, warnings=(*option.warnings, _crowded(option))) if option in crowded else option
        for option in options
    ]


def _crowded(option: Option) -> str:
    return (
        f"{option.tier_title} would be busy {format_percent(option.busy)} of the time: above "
        f"{format_percent(MOST_BUSY)} nothing is left for other work, and for a slow day."
    )


def total_usd(option: Option, epochs: int, hour_usd: float, runs: float = 1.0, months: float = MONTHS) -> float:
    """Return the cost of a month: the bill, a part of what is paid once, and the hours of waiting for data.

    Runs that take longer than a month have that many months' bills. The waiting includes the time to pack or copy the
    dataset. Where the rate of the job is not known, all of a run counts as waiting. All nodes wait at the same time,
    and each costs hour_usd.

    Args:
        option: The option.
        epochs: Epochs of a run.
        hour_usd: Cost of an hour of waiting of one node, USD.
        runs: Runs in the month.
        months: Months over which what is paid once is spread.
    """
    bill = option.monthly_usd * max(1.0, runs * option.run_s(epochs) / MONTH_SECONDS)
    waiting_s = runs * (option.run_s(epochs) - _working(option, epochs))
    return bill + option.move_usd / months + (option.move_s + waiting_s) / 3600 * hour_usd * option.nodes


def choose(
    options: Sequence[Option],
    workload: str,
    home: str,
    epochs: int,
    *,
    hour_usd: float | None = None,
    months: float = MONTHS,
    runs: float = 1.0,
) -> tuple[Option, str]:
    """Return the choice, and its criterion in words.

    Args:
        options: At least one.
        workload: The workload that the advice is for.
        home: Name of the tier where the dataset is now.
        epochs: Epochs of a run.
        hour_usd: Cost of an hour of waiting of one node; None for time first where the training job's rate is known,
            and HOUR_USD otherwise.
        months: Months over which what is paid once is spread.
        runs: Runs in a month; 0 where nothing reads the dataset.
    """
    if workload == "write-heavy":
        cheapest = min(options, key=lambda option: (option.monthly_usd, option.steady_epoch_s))
        return cheapest, "the cheapest month among file systems, with a write-back device where the tier is slow"
    if not runs:
        cheap = _near_lowest(_sound(options), lambda option: _monthly(option, months))
        return min(cheap, key=lambda option: _simplicity(option, home, epochs)), (
            f"the lowest bill of data that is not read, with the move spread over {_months(months)}"
        )
    stay = next((option for option in options if option.tier == home), None)
    if workload == "read-once" and stay is not None:
        return stay, "stay in place: a move would read everything as often as the one pass does"
    if hour_usd is None and options[0].stall_fraction is not None:
        return _in_time(options, home, epochs, months, runs)
    hour_usd = HOUR_USD if hour_usd is None else hour_usd
    return _lowest_total(options, home, epochs, hour_usd, runs, months), (
        f"lowest total of a month with {_runs(runs)} of {format_count(epochs)} epoch{'s' if epochs > 1 else ''}: "
        f"storage, requests, and waiting for data, packing included, at {format_usd(hour_usd)} USD an hour"
        f"{' of each node' if options[0].nodes > 1 else ''}; "
        f"where totals differ by less than {SLACK_USD:.0f} USD or {format_percent(SLACK_SHARE)}, the fastest"
    )


def _runs(runs: float) -> str:
    return "one run" if runs == 1 else f"{format_number(runs)} runs"


def _months(months: float) -> str:
    return "a month" if months == 1 else f"{format_number(months, 2)} months"


def others(
    options: Sequence[Option],
    choice: Option,
    epochs: int,
    hour_usd: float,
    runs: float = 1.0,
    months: float = MONTHS,
) -> list[Option]:
    """Return the rest of the front, the best of each other tier, and other uses of these tiers, by total cost.

    A use is packed or as plain files, behind a cache or not, a copy on each node or a share. Beyond the front there are
    at most SHOWN.
    """

    def total(option: Option) -> float:
        return total_usd(option, epochs, hour_usd, runs, months)

    ranked = sorted(options, key=total)
    kept = [choice]
    _add(kept, (option for option in ranked if option.on_frontier), epochs)
    most = len(kept) + SHOWN
    for option in ranked:
        if len(kept) < most and all(other.tier != option.tier for other in kept):
            kept.append(option)
    further = (option for option in ranked if all(_use(other) != _use(option) for other in kept))
    _add(kept, further, epochs, most)
    return sorted(kept[1:], key=total)


def _add(kept: list[Option], options: Iterable[Option], epochs: int, most: float = math.inf) -> None:
    """Add options, without those that cost about the same and take about as long as one of their kind."""
    for option in options:
        alike = (other for other in kept if _place(other) == _place(option))
        if len(kept) < most and not any(_is_like(option, other, epochs) for other in alike):
            kept.append(option)


def _use(option: Option) -> tuple[str | bool, ...]:
    return *_place(option), option.kind


def _place(option: Option) -> tuple[str | bool, ...]:
    kind = option.format if option.format == "folder" or option.for_training else "packed"
    return option.tier, kind, option.remote, option.provisioned


def _is_like(option: Option, other: Option, epochs: int) -> bool:
    """Return whether two options cost about the same and take about as long: one of them is worth a line."""
    pairs = ((option.monthly_usd, other.monthly_usd), (option.run_s(epochs), other.run_s(epochs)))
    return all(abs(one - two) <= _SAME * two for one, two in pairs)


def _undominated(options: Sequence[Option], epochs: int) -> list[Option]:
    """Return the options that no other beats: none is as cheap, as fast and as soon there, and better in one of these.

    What is paid once counts apart from the month's bill: a cheaper month may cost more to get to than it saves. A
    shuffle of single samples is better than one of blocks, so only an option that shuffles as well beats another.
    Options that carry a warning count only where there are no others.
    """
    sound = _sound(options)
    kept: list[tuple[float, ...]] = []
    for figures in sorted({_figures(option, epochs) for option in sound}):
        # Sorted by the first figure, so only an earlier one can beat this.
        if not any(all(map(operator.le, other[1:], figures[1:])) for other in kept):
            kept.append(figures)
    return [option for option in sound if _figures(option, epochs) in kept]


def _sound(options: Sequence[Option]) -> list[Option]:
    return [option for option in options if not option.warnings] or list(options)


def _figures(option: Option, epochs: int) -> tuple[float, ...]:
    return option.monthly_usd, option.move_usd, option.run_s(epochs), option.move_s, option.order == "block"


def _in_time(options: Sequence[Option], home: str, epochs: int, months: float, runs: float) -> tuple[Option, str]:
    """Return the cheapest option that keeps the job from waiting, or lets it wait least, and its criterion."""
    options = _undominated(options, epochs)
    # A move should not take much longer than it saves.
    latest = min((option.run_s(epochs) for option in options if not option.move_s), default=math.inf) * _LATE
    # Storage that all nodes share is filled once for all runs of a month; the disks of new nodes are empty each time.
    ready = [
        option
        for option in options
        if option.move_s / (max(1.0, runs) if option.shared else 1.0) + option.run_s(epochs) <= latest
    ]
    quick = [option for option in ready if _waiting(option, epochs) <= MOST_STALL]
    words = (
        f"the cheapest month that lets the job wait at most {format_percent(MOST_STALL)} of a run and, with the move, "
        "ends it about as soon as without one"
    )
    if not quick:
        # By time: for a job that is far too fast, the shares of all options round to the whole run.
        soonest = min(option.move_s + option.run_s(epochs) for option in options)
        quick = [option for option in options if option.move_s + option.run_s(epochs) <= soonest * _AS_SOON]
        words = "the cheapest month of those that let the job wait least: none keeps it from waiting"
    cheap = _near_lowest(quick, lambda option: _monthly(option, months))
    chosen = _simplest(cheap, cheap, home, epochs, runs * months)
    return chosen, (
        f"{words}; where bills differ by less than {SLACK_USD:.0f} USD or {format_percent(SLACK_SHARE)}, the simplest "
        "(`hour_usd` weighs waiting against the bill instead)"
    )


def _near_lowest(options: Sequence[Option], usd: Callable[[Option], float]) -> list[Option]:
    """Return the options with the lowest figure, or one that differs from it by too little to matter."""
    lowest = min(map(usd, options))
    limit = lowest + max(SLACK_USD, SLACK_SHARE * lowest)
    return [option for option in options if usd(option) <= limit]


def _monthly(option: Option, months: float) -> float:
    return option.monthly_usd + option.move_usd / months


def _waiting(option: Option, epochs: int) -> float:
    """Return the share of a run, with the cold epoch, in which the job waits."""
    return max(0.0, 1 - _working(option, epochs) / option.run_s(epochs))


def _working(option: Option, epochs: int) -> float:
    """Return the seconds of a run in which the job works; 0 where its rate is not known."""
    return 0.0 if option.stall_fraction is None else epochs * option.steady_epoch_s * (1 - option.stall_fraction)


def _lowest_total(
    options: Sequence[Option], home: str, epochs: int, hour_usd: float, runs: float, months: float
) -> Option:
    options = _undominated(options, epochs)

    def total(option: Option) -> float:
        return total_usd(option, epochs, hour_usd, runs, months)

    near = _near_lowest(options, total)
    fastest = min(option.run_s(epochs) for option in near)
    # A hundredth of the run makes no difference: then the simplest wins, and of equals the cheapest.
    ties = [option for option in near if option.run_s(epochs) <= fastest * 1.01]
    return _simplest(ties, near, home, epochs, runs * months)


def _simplest(ties: Sequence[Option], near: Sequence[Option], home: str, epochs: int, runs: float) -> Option:
    """Return the simplest of options that are as good, or one near them that stays where a move wins no time.

    home: Name of the tier where the dataset is now.
    runs: Runs in all the months that count.
    """
    chosen = min(ties, key=lambda option: _simplicity(option, home, epochs))

    def won(option: Option) -> float:
        return runs * (option.run_s(epochs) - chosen.run_s(epochs)) - chosen.move_s

    staying = [option for option in near if not option.move_s and won(option) <= _MOMENT]
    if chosen.tier == home or not chosen.move_s or not staying:
        return chosen
    return min(staying, key=lambda option: _simplicity(option, home, epochs))


def _simplicity(option: Option, home: str, epochs: int) -> tuple[float, ...]:
    """Return a key that sorts options on the same tier, without a cache or a move, in a simple format first."""
    return (
        option.tier != home,
        option.cache_ram + option.cache_local > 0,
        option.move_s > 0,
        option.order == "block",
        get_args(AnyFormat).index(option.format),
        round(option.monthly_usd, 2),
        option.run_s(epochs),
    )
