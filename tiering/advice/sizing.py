"""A tier as it would be bought for one dataset: steps of capacity, and the rates that come with them or are bought.

    capacity   at least minimum_capacity, in whole capacity_steps; more where bandwidth grows with it:
               wanted bandwidth / bandwidth_per_tib TiB
    bandwidth  bandwidth_per_tib x TiB bought; otherwise the wanted one, at least the included and at most the largest
    IOPS       the wanted ones, at least the included and at most the largest

Example: a file system with 125 MB/s for each TiB, of which at least 1.2 TiB are bought. 500 GB on it are read at
150 MB/s. To read them at 1 GB/s, 8 TiB must be bought.
"""

from __future__ import annotations

import math
from typing import Final

from tiering.advice.tier import RANDOM_READ, Tier
from tiering.errors import UsageError
from tiering.units import format_number

_TIB: Final = 1 << 40


def sized(tier: Tier, stored: float, wanted_bandwidth: float | None = None, wanted_iops: float | None = None) -> Tier:
    """Return a tier as it would be bought for a dataset.

    Where a wanted rate is above the largest one that can be bought, the result has that one: compare its figures. Rates
    that are not for sale stay as they are.

    Args:
        tier: As the catalog has it.
        stored: Bytes that are kept on one system: on the shared one, or on each node.
        wanted_bandwidth: B/s that the readers of one system need together; None for no more than comes with the room.
        wanted_iops: Requests/s that they need together; None for no more than comes with the room.

    Returns:
        The same tier with the figures that change: minimum_capacity is what is bought, provisioned_bandwidth and
        provisioned_iops what is paid for, and the rates are those that follow. Its bill counts all of them.

    Raises:
        UsageError: For a negative size, and wanted rates that are not above 0.

    Example:
        >>> from tiering.advice.catalog import find_tier, load_catalog
        >>> lustre = find_tier(load_catalog(), "parallel-fs").model_copy(update={"bandwidth_per_tib": 125e6})
        >>> bought = sized(lustre, 10**12, wanted_bandwidth=1e9)
        >>> bought.minimum_capacity >> 40, bought.total_bandwidth
        (8, 1000000000.0)
    """
    if not 0 <= stored < math.inf:
        raise UsageError("stored", rule="must be at least 0 bytes", found=format_number(stored, 6))
    for name, rate in (("wanted_bandwidth", wanted_bandwidth), ("wanted_iops", wanted_iops)):
        if rate is not None and not 0 < rate < math.inf:
            raise UsageError(name, rule="must be a rate above 0", found=format_number(rate, 6))
    capacity = _capacity(tier, stored, wanted_bandwidth)
    changed: dict[str, object] = {}
    if tier.minimum_capacity or tier.capacity_step or tier.bandwidth_per_tib:
        changed["minimum_capacity"] = capacity
    bandwidth = _bandwidth(tier, capacity, wanted_bandwidth)
    if bandwidth is not None:
        changed |= _rates(tier, bandwidth)
        if tier.bandwidth_per_tib is None:
            changed["provisioned_bandwidth"] = bandwidth
    iops = _iops(tier, wanted_iops)
    if iops is not None:
        changed |= {"provisioned_iops": iops, "iops": min(tier.iops, iops) if tier.network else iops}
        if tier.network:
            changed["total_iops"] = iops
        else:
            # Each random read of 128 KiB is a request.
            most = tier.read_bandwidth if bandwidth is None else bandwidth
            changed["random_bandwidth"] = min(most, iops * RANDOM_READ)
    return tier.model_copy(update=changed) if changed else tier


def _capacity(tier: Tier, stored: float, wanted_bandwidth: float | None) -> int:
    """Return the bytes that are bought: never more than there are, unless the data is larger."""
    wanted = max(stored, tier.minimum_capacity)
    if tier.bandwidth_per_tib is not None and wanted_bandwidth is not None:
        aim = min(wanted_bandwidth, tier.max_bandwidth or math.inf)
        wanted = max(wanted, aim / tier.bandwidth_per_tib * _TIB)
    step = tier.capacity_step or 1
    whole = math.ceil(wanted / step) * step
    return whole if tier.capacity is None else min(whole, max(tier.capacity, math.ceil(stored / step) * step))


def _bandwidth(tier: Tier, capacity: int, wanted: float | None) -> float | None:
    """Return the B/s of one system as it is bought; None where bandwidth is not for sale."""
    most = tier.max_bandwidth or math.inf
    if tier.bandwidth_per_tib is not None:
        return min(most, capacity / _TIB * tier.bandwidth_per_tib)
    if not (tier.included_bandwidth or tier.bandwidth_price):
        return None
    return min(most, max(tier.included_bandwidth, tier.provisioned_bandwidth if wanted is None else wanted)) or None


def _iops(tier: Tier, wanted: float | None) -> float | None:
    """Return the requests/s of one system as it is bought; None where they are not for sale."""
    if not (tier.included_iops or tier.iops_price):
        return None
    least = tier.provisioned_iops if wanted is None else wanted
    return min(tier.max_iops or math.inf, max(tier.included_iops, least)) or None


def _rates(tier: Tier, bandwidth: float) -> dict[str, object]:
    """Return the rates of a tier with this bandwidth on each system."""
    if tier.network:
        names = ("read_bandwidth", "random_bandwidth", "write_bandwidth")
        return {"total_bandwidth": bandwidth, **{name: min(getattr(tier, name), bandwidth) for name in names}}
    # A volume: the figures of the catalog are those of the smallest one.
    return dict.fromkeys(("read_bandwidth", "random_bandwidth", "write_bandwidth"), bandwidth)
