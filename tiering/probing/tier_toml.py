"""Tiers as TOML, and what is implausible in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Final

from tiering.advice.catalog import RANDOM_READ, Tier
from tiering.probing.probe import Probe
from tiering.units import format_bytes, format_rate, format_seconds

_POINT: Final = ("pattern", "block", "depth", "bandwidth", "p50", "p99")

_SMALL: Final = 4096
#: Figures of different sources may contradict each other by so much.
_SLACK: Final = 1.05

#: How a probe came to each figure.
_HOW: Final = {
    "capacity": "bytes of the file system",
    "read_bandwidth": "the best of the sequential reads",
    "random_bandwidth": "the best of the random reads of 128 KiB",
    "iops": "the best of the random reads of 4 KiB",
    "write_bandwidth": "writes in sequence",
    "read_latency_p50": "random reads of 4 KiB, one at a time",
    "read_latency_p99": "the same",
    "queue_depth": "the least that reaches 95 % of the best, of reads of 4 and of 128 KiB",
    "open_cost": "see docs/tiers.md",
    "metadata_rate": "look-ups, one at a time",
    "sync_rate": "writes of 4 KiB made durable, one at a time",
}
_FROM_MODEL: Final = ("price", "request_price", "retrieval_price", "minimum_days", "endurance")


def to_toml(found: Probe) -> str:
    """Write what was probed as a catalog file of one tier, with a comment on where each figure comes from."""
    tier, today = found.tier, f"{date.today():%Y-%m-%d}"  # noqa: DTZ011 - the day where the machine stands
    lines = [
        f"# Measured by tiering probe on {today}, at {found.place!r}, in {found.seconds:.0f} s.",
        f"[tier.{tier.name}]",
    ]
    values = tier.model_dump(exclude={"name", "read_points"}, exclude_none=True)
    for key, value in values.items():
        source = f"that of {found.like}, not measured" if key in _FROM_MODEL else _HOW.get(key)
        lines.append(f"{key} = {_value(value)}" + (f"  # {source}" if source else ""))
    lines.append("read_points = [")
    lines += [
        "  { " + ", ".join(f"{name} = {_value(getattr(point, name))}" for name in _POINT) + " },"
        for point in tier.read_points
    ]
    return "\n".join([*lines, "]", ""])


def _value(value: str | bool | float) -> str:
    """Write one value; titles are the catalog's own words, so JSON's strings are TOML's."""
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def implausible(tier: Tier) -> Iterator[str]:
    """Yield what can hardly be true of a tier, in words: figures that contradict each other, or units mistaken.

    None of it makes a catalog unusable; predictions made from it are what suffers.
    """
    small = tier.iops * _SMALL
    most = tier.queue_depth / tier.read_latency_p50
    read, random = format_rate(tier.read_bandwidth), format_rate(tier.random_bandwidth)
    p50, p99 = format_seconds(tier.read_latency_p50), format_seconds(tier.read_latency_p99)
    doubts = (
        (tier.random_bandwidth > tier.read_bandwidth, f"random_bandwidth {random} is above read_bandwidth {read}"),
        (tier.read_latency_p99 < tier.read_latency_p50, f"read_latency_p99 {p99} is below read_latency_p50 {p50}"),
        (
            small > _SLACK * max(tier.read_bandwidth, tier.random_bandwidth),
            f"iops {tier.iops:,.0f} of 4 KiB are {format_rate(small)}, above read_bandwidth {read}",
        ),
        (
            # Object stores limit the requests of each prefix, and a dataset may have several.
            tier.access != "object" and tier.iops * _SLACK < tier.random_bandwidth / RANDOM_READ,
            f"iops {tier.iops:,.0f} are fewer than the reads of 128 KiB in random_bandwidth {random}",
        ),
        (
            tier.iops > 2 * most,
            f"iops {tier.iops:,.0f} need more than queue_depth / read_latency_p50 = {most:,.0f} (Little's law)",
        ),
        (
            tier.mmap_ok and (tier.network or tier.access == "object"),
            "mmap_ok behind a network: maps fault page by page there, and LMDB must not be used",
        ),
        (tier.access == "object" and not tier.network, "an object store that is not behind a network"),
        (tier.price > 100, f"price {tier.price:,.2f} USD per GB and month: is it per TB?"),
        (
            tier.capacity is not None and tier.capacity < 10**9,
            f"capacity {format_bytes(tier.capacity or 0)}: is it in bytes?",
        ),
    )
    yield from (said for doubt, said in doubts if doubt)
    for point in tier.read_points:
        if point.p99 < point.p50:
            yield f"read_points, {point.pattern} {point.block} B at depth {point.depth}: p99 is below p50"
