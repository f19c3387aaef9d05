"""Doubts about a tier's figures: figures that contradict each other, and mistaken units."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from tiering.advice.tier import RANDOM_READ, SMALL_READ, Tier
from tiering.units import format_bytes, format_rate, format_seconds, format_usd

#: Figures from different sources may contradict each other by this factor.
_SLACK: Final = 1.05


def implausible(tier: Tier) -> Iterator[str]:
    """Yield implausible figures of a tier, in words: figures that contradict each other, or mistaken units.

    They do not make a catalog unusable, but they spoil predictions.
    """
    small = tier.iops * SMALL_READ
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
            # Object stores limit the requests for each prefix, and a dataset may have several prefixes.
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
        (
            not tier.network and bool(tier.total_bandwidth or tier.total_iops),
            "total_bandwidth and total_iops are for a tier behind a network, which all nodes share",
        ),
        (
            (tier.total_iops or math.inf) * _SLACK < tier.iops,
            f"total_iops {tier.total_iops or 0:,.0f} are fewer than iops {tier.iops:,.0f} of one host",
        ),
        (
            (tier.total_bandwidth or math.inf) * _SLACK < tier.random_bandwidth,
            f"total_bandwidth {format_rate(tier.total_bandwidth or 0)} is below random_bandwidth {random} of one host",
        ),
        (
            max(tier.provisioned_bandwidth, tier.included_bandwidth) > _SLACK * (tier.max_bandwidth or math.inf),
            f"max_bandwidth {format_rate(tier.max_bandwidth or 0)} is below what is included or provisioned",
        ),
        (
            max(tier.provisioned_iops, tier.included_iops) > (tier.max_iops or math.inf),
            f"max_iops {tier.max_iops or 0:,.0f} is below what is included or provisioned",
        ),
        (
            not tier.network and any((tier.egress_zone_price, tier.egress_region_price, tier.egress_internet_price)),
            "prices of egress are for a tier behind a network",
        ),
        (
            tier.bandwidth_per_tib is not None and tier.bandwidth_per_tib < 10**6,
            f"bandwidth_per_tib {format_rate(tier.bandwidth_per_tib or 0)}: is it in B/s?",
        ),
        (tier.gb not in (10**9, 1 << 30), f"gb {tier.gb:,} is neither 10^9 nor 2^30 bytes"),
        (tier.minimum_object >= 10**9, f"minimum_object {format_bytes(tier.minimum_object)}: is it in bytes?"),
        (
            max(tier.request_price, tier.write_request_price, tier.transition_price or 0.0) >= 1,
            "a price of requests of 1 USD or more for 1,000: is it for a million?",
        ),
        (
            max(tier.retrieval_price, tier.write_gb_price) >= 10,
            "a price of reading or writing of 10 USD or more for a GB: is it for a TB?",
        ),
        (tier.bandwidth_price >= 100, f"bandwidth_price {format_usd(tier.bandwidth_price)} USD for a MB/s: of a GB/s?"),
        (tier.price > 100, f"price {format_usd(tier.price)} USD per GB and month: is it per TB?"),
        (
            tier.capacity is not None and tier.capacity < 10**9,
            f"capacity {format_bytes(tier.capacity or 0)}: is it in bytes?",
        ),
    )
    yield from (text for doubt, text in doubts if doubt)
    for point in tier.read_points:
        if point.p99 < point.p50:
            yield f"read_points, {point.pattern} {point.block} B at depth {point.depth}: p99 is below p50"
