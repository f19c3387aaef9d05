"""Where to write checkpoints: how long the job waits for each, what they cost, and how long the drives last.

A checkpoint is written by all nodes at once. It goes straight to one tier, or to each node's own disk first and from
there to a shared tier while the job goes on ("drained"). Local disks alone lose a checkpoint with any node.

    seconds, straight to a shared tier = bytes / min(nodes x write_bandwidth, total_write_bandwidth)
    seconds, on local disks            = bytes / nodes / write_bandwidth
    waiting                            = seconds / seconds from one checkpoint to the next
    drained                            = the shared tier is busy bytes / its rate of that time, 80 % at most

Example: 5.29 TB every half hour from 512 nodes. Each writes 10.3 GB to its NVMe in 3.4 s, 0.2 % of the time.
Straight to a parallel file system that takes 60 GB/s it is 88 s, 4.9 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from tiering.advice.bill import room_usd
from tiering.advice.catalog import Tier, tier_named
from tiering.advice.hour_price import HOUR_USD
from tiering.advice.job import Job
from tiering.advice.option import Option
from tiering.advice.ranking import MOST_BUSY
from tiering.advice.wear import life_years
from tiering.errors import UsageError
from tiering.units import MONTH_SECONDS, format_number

#: Checkpoints that are kept at the same time, unless told otherwise.
KEPT: Final = 3
_DAY: Final = 86_400

#: Share of the time that is left to a job whose checkpoints take longer than the time between two.
_LEAST: Final = 1e-3

#: How a checkpoint gets to where it is kept.
CheckpointPath = Literal["direct", "local", "local first, then drained"]


@dataclass(frozen=True, slots=True)
class CheckpointPlan:
    """One way to write checkpoints.

    Attributes:
        tier: Name of the tier that the job writes to and waits for.
        path: "direct" to a tier that keeps it, "local" on the nodes' disks alone, or "local first, then drained".
        drained_to: Name of the shared tier that the local disks are drained to.
        write_s: Seconds that the job waits for one checkpoint.
        stall_fraction: Share of the time that it waits; 1 where a checkpoint takes longer than the time between two.
        busy: Share of the time that the tier which keeps them is busy with them.
        monthly_usd: A month of the checkpoints that are kept, and of one on the local disks.
        life_years: Years until the writes wear out the disks that are written first; None where nothing wears.
        safe: Whether a checkpoint survives the loss of a node.
    """

    tier: str
    path: CheckpointPath
    drained_to: str | None
    write_s: float
    stall_fraction: float
    busy: float
    monthly_usd: float
    life_years: float | None
    safe: bool


def checkpoint_plans(
    catalog: Sequence[Tier],
    size: int,
    every_s: float,
    *,
    nodes: int = 1,
    kept: int = KEPT,
    hour_usd: float | None = None,
) -> list[CheckpointPlan]:
    """Return the ways to write checkpoints, the best first.

    The best is the one whose bill and whose waiting cost least together, among those that survive the loss of a node
    and whose tiers are at most 80 % busy with them. The others follow, cheapest first.

    Args:
        catalog: The tiers.
        size: Bytes of a checkpoint, of all nodes together.
        every_s: Seconds from one checkpoint to the next.
        nodes: Nodes that write it.
        kept: Checkpoints that are kept at the same time.
        hour_usd: Cost of an hour of waiting of one node, USD; 2 by default.

    Raises:
        UsageError: For sizes, times and counts of 0 and below.

    Example:
        >>> from tiering.advice.catalog import load_catalog
        >>> best = checkpoint_plans(load_catalog(), 5_290_000_000_000, 1800, nodes=512)[0]
        >>> best.tier, best.path, best.drained_to
        ('nvme', 'local first, then drained', 'object')
    """
    for name, value in (("checkpoint_bytes", size), ("checkpoint_every", every_s), ("nodes", nodes), ("kept", kept)):
        if not 0 < value < math.inf:
            raise UsageError(name, rule="must be above 0", found=format_number(value, 6))
    price = HOUR_USD if hour_usd is None else hour_usd
    hours = MONTH_SECONDS / 3600

    def rank(plan: CheckpointPlan) -> tuple[bool, float]:
        poor = not plan.safe or plan.busy > MOST_BUSY
        return poor, plan.monthly_usd + plan.stall_fraction * hours * price * nodes

    return sorted(_plans(catalog, size, every_s, nodes, kept), key=rank)


def while_writing(option: Option, catalog: Sequence[Tier], job: Job) -> Option:
    """Return the option with the time that its job waits for checkpoints.

    They are written to the option's own tier. Where that is an object store they go to a disk of each node first.
    """
    if not job.checkpoint_bytes:
        return option
    nodes = option.nodes
    own = tier_named(catalog, option.tier, "tier")
    disks = [tier for tier in catalog if tier.is_local and tier.holds(-(-job.checkpoint_bytes // nodes))]
    target = own if own.access == "file" else max(disks, key=lambda tier: tier.write_bandwidth, default=own)
    takes = write_seconds(target, job.checkpoint_bytes, nodes)

    def stretched(epoch_s: float) -> float:
        if job.checkpoint_every_s is None:
            return epoch_s + (takes / job.checkpoint_every if job.checkpoint_every <= job.epochs else 0.0)
        return epoch_s / max(_LEAST, 1 - takes / job.checkpoint_every_s)

    steady = stretched(option.steady_epoch_s)
    share = option.steady_epoch_s / steady
    return replace(
        option,
        steady_epoch_s=steady,
        first_epoch_s=stretched(option.first_epoch_s),
        samples_per_s=option.samples_per_s * share,
        stall_fraction=None if option.stall_fraction is None else 1 - (1 - option.stall_fraction) * share,
        checkpoint_fraction=1 - share,
    )


def write_seconds(tier: Tier, size: float, nodes: int) -> float:
    """Return the seconds in which all nodes together write this many bytes to a tier."""
    return size / write_rate(tier, nodes)


def write_rate(tier: Tier, nodes: int) -> float:
    """Return the B/s at which all nodes together write to a tier.

    Where a shared tier's total for writes is not known, its total for reads stands for it.
    """
    together = tier.total_write_bandwidth or tier.total_bandwidth or math.inf
    return min(nodes * tier.write_bandwidth, max(together, tier.write_bandwidth) if tier.network else math.inf)


def _plans(catalog: Sequence[Tier], size: int, every_s: float, nodes: int, kept: int) -> Iterator[CheckpointPlan]:
    shared = [tier for tier in catalog if tier.network and tier.holds(kept * size)]
    each = -(-size // nodes)
    a_day = size * _DAY / every_s
    # Storage that is billed for some days at least bills checkpoints that are long deleted.
    usd = {tier.name: room_usd(max(kept, tier.minimum_days * _DAY / every_s) * size, tier) for tier in shared}
    for tier in shared:
        takes = write_seconds(tier, size, nodes)
        share = min(1.0, takes / every_s)
        yield CheckpointPlan(
            tier.name, "direct", drained_to=None, write_s=takes, stall_fraction=share, busy=share,
            monthly_usd=usd[tier.name], life_years=None, safe=True,
        )  # fmt: skip
    for local in catalog:
        if not local.is_local or not local.holds(each):
            continue
        takes = write_seconds(local, size, nodes)
        share = min(1.0, takes / every_s)
        life = life_years(local, nodes * local.capacity, a_day) if local.capacity else None
        room = room_usd(size, local)
        if local.holds(kept * each):
            yield CheckpointPlan(
                local.name, "local", drained_to=None, write_s=takes, stall_fraction=share, busy=share,
                monthly_usd=kept * room, life_years=life, safe=nodes == 1,
            )  # fmt: skip
        for tier in shared:
            busy = min(1.0, write_seconds(tier, size, nodes) / every_s)
            yield CheckpointPlan(
                local.name, "local first, then drained", drained_to=tier.name, write_s=takes, stall_fraction=share,
                busy=busy, monthly_usd=usd[tier.name] + room, life_years=life, safe=True,
            )  # fmt: skip
