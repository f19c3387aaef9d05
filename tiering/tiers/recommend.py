"""What to do about a dataset: enumerate tiers, formats and caches, predict each, rank them, and say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from tiering.errors import UsageError
from tiering.tiers.candidates import for_one_pass, for_training, for_writes
from tiering.tiers.catalog import Tier, load_catalog
from tiering.tiers.options import Option, Recommendation, describe
from tiering.tiers.predict import CachePlan, Codec, Data, stored_bytes
from tiering.tiers.wording import reason_for_one_pass, reason_for_training, reason_for_writes
from tiering.units import format_bytes, format_count

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.workload.model import Verdict

#: USD that an hour of waiting costs unless told: about one rented training GPU.
HOUR_USD: Final = 2.0
#: Differences in total cost below 1 USD or 5 % are not worth waiting for: then the faster option is taken.
SLACK_USD: Final = 1.0
SLACK_SHARE: Final = 0.05
#: Options beside the chosen one that are worth a reader's time.
SHOWN: Final = 8
#: Formats that hold pixels as they are, and therefore compress; JPEG, PNG, WebP and the like do not.
_RAW: Final = frozenset({"BMP", "TIFF", "PPM", "PGM", "PNM", "TGA"})


def recommend(
    profile: DatasetProfile,
    *,
    verdict: Verdict | None = None,
    tiers: Sequence[Tier] | None = None,
    ram: int | None = None,
    epochs: int = 100,
    current: str | None = None,
    hour_usd: float = HOUR_USD,
) -> Recommendation:
    """Recommend where and how to keep a dataset.

    verdict: the workload that a trace showed; without one, training is assumed. tiers: the catalog, by default the
    shipped one. ram: B of memory that the training host has for caching and has paid for; none by default.
    epochs: passes of one run, at least 1, one run a month. current: name of the tier where the dataset lies now, by
    default the first local one that holds it. hour_usd: USD that an hour of waiting for data costs, at least 0.
    Raises UsageError for a tier that the catalog lacks, for anything below those limits, for an empty dataset and
    where no tier can hold the dataset.
    """
    catalog = tuple(load_catalog() if tiers is None else tiers)
    memory = _checked(profile, ram, epochs, hour_usd)
    data = Data(profile.files, profile.bytes)
    workload = "re-read-heavy" if verdict is None else verdict.workload
    home = _current(catalog, data, current)
    codec: Codec = "zstd" if _mostly_raw(profile) else "none"
    notes = [*_notes(verdict, home, memory, codec, named=current is not None)]
    passes = 1 if workload in {"write-heavy", "read-once"} else epochs
    if workload == "write-heavy":
        options = [*for_writes(catalog, data)]
    elif workload == "read-once":
        options = [*for_one_pass(catalog, data)]
    else:
        options = [*for_training(catalog, data, memory, codec, epochs)]
    if not options:
        raise UsageError(
            profile.root,
            expected="a tier that holds it",
            found=f"{format_bytes(profile.bytes)}, more than any",
            action="Give one with enough capacity: --catalog FILE",
        )
    at_home = CachePlan(ram=memory if passes > 1 and home.access != "object" else 0)
    baseline = describe(data, home, "folder", "none", at_home, passes)
    compared = [option.compared_with(baseline, passes) for option in options]
    front = pareto(compared, passes)
    compared = [option.on_front(option in front) for option in compared]
    choice, criterion = _choose(compared, workload, home, passes, hour_usd)
    explain = partial(_reason, workload=workload, catalog=catalog)
    return Recommendation(
        choice=choice.because(explain(choice)),
        alternatives=tuple(option.because(explain(option)) for option in _others(compared, choice, passes, hour_usd)),
        baseline=baseline.because(f"As it is now: plain files on {home.title}."),
        workload=workload,
        epochs=passes,
        criterion=criterion,
        notes=tuple(notes),
    )


def pareto(options: Sequence[Option], epochs: int) -> list[Option]:
    """Return the options that no other beats in both the month's bill and the time of a run, cheapest first."""
    front: list[Option] = []
    for option in sorted(options, key=lambda option: (option.monthly_usd, option.run_s(epochs))):
        if not front or option.run_s(epochs) < front[-1].run_s(epochs):
            front.append(option)
    return front


def total_usd(option: Option, epochs: int, hour_usd: float) -> float:
    """Return USD of a month with one run of so many epochs: the bill, and the hours of waiting for data.

    The waiting counts the time to get there, packing or copying, as well.
    """
    return option.monthly_usd + (option.move_s + option.run_s(epochs)) / 3600 * hour_usd


def _checked(profile: DatasetProfile, ram: int | None, epochs: int, hour_usd: float) -> int:
    if profile.files < 1 or profile.bytes < 1:
        found = f"{format_count(profile.files)} images of {format_bytes(profile.bytes)} in all"
        raise UsageError(profile.root, expected="a dataset with images", found=found)
    limits = (("ram", ram or 0, 0), ("epochs", epochs, 1), ("hour price", hour_usd, 0))
    for name, value, least in limits:
        if not least <= value < float("inf"):
            raise UsageError(name, expected=f"at least {least}", found=str(value))
    return ram or 0


def _reason(option: Option, workload: str, catalog: Sequence[Tier]) -> str:
    if workload == "write-heavy":
        return reason_for_writes(option, catalog)
    return reason_for_one_pass(option) if workload == "read-once" else reason_for_training(option)


def _choose(options: Sequence[Option], workload: str, home: Tier, epochs: int, hour_usd: float) -> tuple[Option, str]:
    """Return the choice, and its criterion in words."""
    if workload == "write-heavy":
        cheapest = min(options, key=lambda option: (option.monthly_usd, option.steady_epoch_s))
        return cheapest, "the cheapest month among file systems, with a write-back device where the tier is slow"
    stay = next((option for option in options if option.tier == home.name), None)
    if workload == "read-once" and stay is not None:
        return stay, "where it lies: to move it would read it as often as the one pass does"
    return _lowest_total(options, epochs, hour_usd), (
        f"lowest total of a month with one run of {format_count(epochs)} epoch{'s' if epochs > 1 else ''}: storage, "
        f"requests, and waiting for data, packing included, at {hour_usd:.2f} USD an hour; "
        f"where totals differ by less than {SLACK_USD:.0f} USD or {100 * SLACK_SHARE:.0f} %, the fastest"
    )


def _lowest_total(options: Sequence[Option], epochs: int, hour_usd: float) -> Option:
    lowest = min(total_usd(option, epochs, hour_usd) for option in options)
    limit = lowest + max(SLACK_USD, SLACK_SHARE * lowest)
    near = [option for option in options if total_usd(option, epochs, hour_usd) <= limit]
    fastest = min(option.run_s(epochs) for option in near)
    # Within a hundredth of the fastest nobody feels it: then the simplest, and of equals the cheapest.
    ties = [option for option in near if option.run_s(epochs) <= fastest * 1.01]
    order = ("folder", "lmdb", "zarr")
    return min(
        ties,
        key=lambda option: (
            option.cache_ram + option.cache_local > 0,
            order.index(option.format),
            round(option.monthly_usd, 2),
            option.run_s(epochs),
        ),
    )


def _others(options: Sequence[Option], choice: Option, epochs: int, hour_usd: float) -> list[Option]:
    """Return the rest of the front and each other tier's best, by total cost: at most SHOWN."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda option: total_usd(option, epochs, hour_usd)):
        same_tier = [other for other in (choice, *kept) if other.tier == option.tier]
        # What costs the same as a better option of its tier is on the front by a cent, and says nothing new.
        new = all(abs(other.monthly_usd - option.monthly_usd) > 0.02 * other.monthly_usd for other in same_tier)
        if option != choice and (not same_tier or (option.on_frontier and new)):
            kept.append(option)
    return kept[:SHOWN]


def _current(catalog: Sequence[Tier], data: Data, name: str | None) -> Tier:
    names = ", ".join(tier.name for tier in catalog)
    if name is not None:
        for tier in catalog:
            if tier.name == name:
                return tier
        raise UsageError("tier", expected=f"one of {names}", found=repr(name))
    lasting = [tier for tier in catalog if tier.access != "memory"]
    fitting = [tier for tier in lasting if tier.holds(stored_bytes(data, "folder"))] or lasting
    if not fitting:
        raise UsageError("catalog", expected="a tier that outlives the machine", found=names or "no tier")
    return min(fitting, key=lambda tier: (tier.access == "object", tier.network))


def _mostly_raw(profile: DatasetProfile) -> bool:
    raw = sum(count for name, count in profile.formats.items() if name.upper() in _RAW)
    return 2 * raw > sum(profile.formats.values())


def _notes(verdict: Verdict | None, home: Tier, ram: int, codec: Codec, *, named: bool) -> Iterator[str]:
    if verdict is None:
        yield "No trace was given: this is advice for training, which reads everything again every epoch."
    elif verdict.workload in {"inconclusive", "mixed"}:
        yield (
            f"The trace is {verdict.workload}: this is advice for training, and holds only if the data is read again. "
            "A longer trace would tell."
        )
    if not named:
        yield f"The dataset is taken to lie on {home.title} now: --tier NAME says otherwise."
    if verdict is None or verdict.workload not in {"write-heavy", "read-once"}:
        yield (
            f"{format_bytes(ram)} of the host's memory cache data and are taken as paid for: --ram SIZE changes it."
            if ram
            else "No memory is counted as a cache: --ram SIZE adds some."
        )
        yield "Zarr without codec is predicted like LMDB, and listed only where LMDB cannot be."
        if codec == "zstd":
            yield "Most images are uncompressed: Zarr with zstd is taken to save 40 %; tiering convert measures it."
    yield "Times are predictions for one consumer of encoded bytes, prices the catalog's: measure with tiering bench."
