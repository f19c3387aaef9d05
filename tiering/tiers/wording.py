"""The reasons behind options, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from tiering.tiers.catalog import Tier
from tiering.tiers.options import Option
from tiering.units import format_bytes, format_seconds

_LIMITS = {
    "device": "The device's random reads set the pace.",
    "open latency": "Opening a file for every sample sets the pace.",
    "CPU copy": "Copying the bytes sets the pace: no faster storage would help.",
}


def reason_for_training(option: Option) -> str:
    """Say why a re-read-heavy workload would want this, and what limits it."""
    how = {
        "folder": "Plain files, nothing to convert, but a file is opened for every sample.",
        "lmdb": "One packed store without a file to open for each sample, and the known order is announced ahead.",
        "zarr": "One packed store without a file to open for each sample, readable by any Zarr v3 reader.",
    }[option.format]
    parts = [how]
    if option.cache_ram or option.cache_local:
        parts.append(f"The cache answers {_percent(option.hit_ratio)} of the reads after the first epoch.")
    elif option.cache != "none":
        parts.append(
            f"The kernel's page cache answers {_percent(option.hit_ratio)} of the reads after the first epoch."
        )
    parts.append(_LIMITS[option.bottleneck])
    epoch = format_seconds(option.steady_epoch_s)
    pace = (
        f"{option.speedup:.3g} times as fast as the folder now"
        if option.speedup >= 1.005
        else f"{1 / option.speedup:.3g} times as slow as the folder now"
        if option.speedup <= 0.995
        else "as fast as the folder now"
    )
    parts.append(f"A steady epoch takes {epoch}; a run is {pace}.")
    return " ".join(parts)


def reason_for_one_pass(option: Option) -> str:
    """Say why data that is read once is streamed as it lies."""
    return (
        f"Read once: stream it from {option.tier_title}, file after file. Packing would read all of it an extra time, "
        f"and a cache would never be asked again. The one pass takes {format_seconds(option.first_epoch_s)}."
    )


def reason_for_writes(option: Option, catalog: Sequence[Tier]) -> str:
    """Say why a write-heavy workload would want this, and what its writes wear."""
    by_name = {tier.name: tier for tier in catalog}
    parts = ["Mostly written, seldom read again: do not pack it, for packed stores are written once and read often."]
    if option.cache_tier is not None:
        front = by_name[option.cache_tier]
        parts.append(
            f"Writes land on {format_bytes(option.cache_local)} of {front.title} first and move to "
            f"{option.tier_title} later, in order."
        )
        parts.extend(_endurance(front, option.cache_local))
    else:
        parts.extend(_endurance(by_name[option.tier], None))
    parts.append("What has grown cold may move on to an archive.")
    return " ".join(parts)


def _endurance(tier: Tier, size: int | None) -> list[str]:
    if tier.endurance is None:
        return []
    worn = "its own capacity" if size is None else format_bytes(size * tier.endurance)
    times = f"{tier.endurance:g} times " if size is None else ""
    return [f"It endures {times}{worn} of writes a day ({tier.endurance:g} drive writes a day)."]


def _percent(share: float) -> str:
    return ">99 %" if 0.99 < share < 1 else "<1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"
