"""Who owns a limit: what one node gets from a tier, and what all nodes together get from a shared one.

    one node     its own bandwidth and IOPS, and for a bucket no more than connections x connection_bandwidth
    all nodes    total_bandwidth and total_iops, and for a bucket prefixes x prefix_iops requests a second

Example: S3 answers 5,500 GETs a second for each prefix. 64 nodes that read samples of 10 kB under one prefix get 5,500
samples a second in all, however many they are; under 8 prefixes they get 44,000. A packed store that is read in blocks
sends few requests, and buckets divide its keys among servers as the load grows: it has no limit unless one is given.
"""

from __future__ import annotations

import math

from tiering.advice.loading import Loading
from tiering.advice.tier import Tier
from tiering.literals import ReadOrder


def for_one_node(tier: Tier, loading: Loading, order: ReadOrder) -> Tier:
    """Return a tier as one node sees it, with as many requests in flight as the node has connections."""
    depth = min(tier.queue_depth, loading.connections or tier.queue_depth)
    changed: dict[str, float] = {} if depth == tier.queue_depth else {"queue_depth": depth}
    if tier.access == "object" and tier.connection_bandwidth:
        most = depth * tier.connection_bandwidth
        changed |= {name: min(most, getattr(tier, name)) for name in ("read_bandwidth", "random_bandwidth")}
    if tier.prefix_iops:
        changed["iops"] = _over_prefixes(tier.iops, tier.prefix_iops, _prefixes(loading, order))
    return tier.model_copy(update=changed) if changed else tier


def for_all_nodes(tier: Tier, loading: Loading, order: ReadOrder) -> Tier | None:
    """Return a shared tier as all nodes together see it; None for a local tier, and where no limit is known."""
    if not tier.network:
        return None
    together = tier.together
    if not tier.prefix_iops:
        return together
    whole = together or tier.model_copy(
        update={"read_bandwidth": math.inf, "random_bandwidth": math.inf, "iops": math.inf, "read_latency_p50": 0.0}
    )
    return whole.model_copy(update={"iops": _over_prefixes(whole.iops, tier.prefix_iops, _prefixes(loading, order))})


def _prefixes(loading: Loading, order: ReadOrder) -> float:
    if loading.prefixes is not None:
        return loading.prefixes
    return math.inf if order == "block" else 1


def _over_prefixes(iops: float, prefix_iops: float, prefixes: float) -> float:
    """Return the requests per second of all prefixes together. IOPS up to the limit of one prefix count for each."""
    return prefixes * iops if iops <= prefix_iops and prefixes < math.inf else min(iops, prefixes * prefix_iops)
