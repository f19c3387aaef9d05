"""The monthly cost of files on a tier, and the share of its time that they take.

For each file and tier, with the file's counts scaled from the trace to a month:

    storage     size / GB x price; on a file system in whole pages, and at least minimum_object for each object
    access      reads / 1,000 x request_price + bytes read / GB x retrieval_price
    waiting     hours x hour_usd, with opens x open_cost + reads x (latency + bytes / read_bandwidth) over the
                requests in flight, never faster than the device (Tier.read_seconds), + bytes written / write_bandwidth
    moving      once, in this month: files / 1,000 x (write_request_price, and the request_price of where they are now)
                + GB x (write_gb_price, and the retrieval_price of where they are now); files / 1,000 x transition_price
                between object stores that have rules for it; 0 where they are already
    busy        (reads x read_seconds(bytes / reads) + bytes written / write_bandwidth) / s of the trace, times the
                runs that overlap where a month has no time for one after the other (Terms.overlap)

A read's size is the file's mean. Writes are assumed to be buffered: they wait for bandwidth, not for latency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from tiering.advice.bill import MONTH_DAYS, room_usd
from tiering.advice.catalog import RANDOM_READ, Tier
from tiering.io_sizes import PAGE_BYTES
from tiering.placement.month import Terms
from tiering.placement.problem import Floats
from tiering.units import format_number, format_usd

#: How the names of the columns of `at_least` begin.
AT_LEAST: Final = "at_least_"


@dataclass(frozen=True, slots=True)
class Charges:
    """Costs of files on one tier, one value for each file.

    Attributes:
        storage: USD a month.
        access: USD a month of requests and retrieval.
        moving: USD in this month, for bringing files there.
        waiting_s: Seconds of waiting a month.
        busy: Share of the tier's time.
    """

    storage: Floats
    access: Floats
    moving: Floats
    waiting_s: Floats
    busy: Floats

    def total(self, hour_usd: float) -> Floats:
        """Return USD a month, waiting included."""
        return self.storage + self.access + self.moving + self.waiting_s * (hour_usd / 3600)


def charges(units: pl.DataFrame, tier: Tier, terms: Terms, current: Tier | None = None) -> Charges:
    """Return the costs on a tier of units (bundles.bundle).

    Args:
        units: Columns size, paged, files, opens, reads, bytes_read and bytes_written.
        tier: Where they would be.
        terms: The month.
        current: The tier that holds them now. By default it is another one whose reads cost nothing.
    """
    _, reads, read, _ = _counts(units)
    waiting, busy = waiting_and_device(units, tier, terms)
    return Charges(
        storage=_billed(units, tier) / tier.gb * tier.price,
        access=terms.runs * (reads / 1000 * tier.request_price + read / tier.gb * tier.retrieval_price),
        moving=_moving(units, tier, current),
        waiting_s=terms.runs * waiting,
        busy=busy / terms.duration * terms.overlap,
    )


def waiting_and_device(units: pl.DataFrame, tier: Tier, terms: Terms) -> tuple[Floats, Floats]:
    """Return the seconds that a job waits for each unit in one run, and those that the device works for it."""
    opens, reads, read, written = _counts(units)
    mean = np.divide(read, reads, out=np.zeros_like(read), where=reads > 0)
    device = read_seconds(tier, mean)
    alone = tier.read_latency_p50 + mean / tier.read_bandwidth
    wait = np.maximum(device, alone / min(terms.in_flight, tier.queue_depth))
    writing = written / tier.write_bandwidth
    return opens * (tier.open_cost / terms.in_flight) + reads * wait + writing, reads * device + writing


def _counts(units: pl.DataFrame) -> tuple[Floats, Floats, Floats, Floats]:
    opens, reads, read, written = (
        units[name].to_numpy().astype(np.float64) for name in ("opens", "reads", "bytes_read", "bytes_written")
    )
    return opens, reads, read, written


def occupied(units: pl.DataFrame, tier: Tier) -> Floats:
    """Return the bytes that units occupy: whole pages on a file system, plain bytes in an object store."""
    return units["paged" if tier.access == "file" else "size"].to_numpy().astype(np.float64)


def at_least(minimum: int) -> str:
    """Return the name of the column of bytes that units are billed for where each file counts at least `minimum`."""
    return f"{AT_LEAST}{minimum}"


def _billed(units: pl.DataFrame, tier: Tier) -> Floats:
    """Return the bytes that units are billed for: those that they occupy, with the minimum of each object."""
    if not tier.minimum_object:
        return occupied(units, tier)
    return units[at_least(tier.minimum_object)].to_numpy().astype(np.float64)


def _moving(units: pl.DataFrame, tier: Tier, current: Tier | None) -> Floats:
    """Return USD for bringing units to a tier, once."""
    files, size = (units[name].to_numpy().astype(np.float64) for name in ("files", "size"))
    if current is not None and current.name == tier.name:
        return np.zeros_like(size)
    by_rule = current is not None and current.access == "object" and current.cloud == tier.cloud
    if by_rule and tier.transition_price is not None:
        return files / 1000 * tier.transition_price
    moved = files / 1000 * tier.write_request_price + size / tier.gb * tier.write_gb_price
    if current is not None:
        moved += files / 1000 * current.request_price + size / current.gb * current.retrieval_price
    return moved


def price_notes(tiers: Sequence[Tier], current: Tier | None) -> Iterator[str]:
    """Yield what the costs on these tiers do not count, one sentence each. current: the tier that holds the files."""
    if current is None and any(tier.write_request_price or tier.write_gb_price for tier in tiers):
        yield "Every file counts as moved in this month, since `current` does not say where they are now."
    for tier in tiers:
        least = room_usd(1, tier)
        if least >= 1:
            yield (
                f"{tier.name} costs at least {format_usd(least)} USD a month, however little is on it; the plan counts "
                "only the bytes."
            )
        if tier.minimum_days > MONTH_DAYS:
            days = format_number(tier.minimum_days)
            yield f"{tier.name} bills each object for {days} days at least; the plan counts one month."
        if tier.price_steps:
            yield f"{tier.name} is counted at its first price; it has lower ones for large amounts."


def paged(size: pl.Expr) -> pl.Expr:
    """Return the bytes that a file occupies in whole pages."""
    return (size + (PAGE_BYTES - 1)) // PAGE_BYTES * PAGE_BYTES


def read_seconds(tier: Tier, size: Floats) -> Floats:
    """Return Tier.read_seconds for many sizes (bytes) at once."""
    head = np.minimum(size, RANDOM_READ) / tier.random_bandwidth
    tail = np.maximum(0.0, size - RANDOM_READ) / max(tier.read_bandwidth, tier.random_bandwidth)
    return np.maximum(max(1 / tier.iops, tier.read_latency_p50 / tier.queue_depth), head + tail)
