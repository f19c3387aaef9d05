"""The monthly cost of files on a tier, and the share of its time that they take.

For each file and tier, with the file's counts scaled from the trace to a month:

    storage     size / GB x price; on a file system in whole pages
    access      reads / 1,000 x request_price + bytes read / GB x retrieval_price
    waiting     hours x hour_usd, with opens x open_cost + reads x (latency + bytes / read_bandwidth) over the
                requests in flight, never faster than the device (Tier.read_seconds), + bytes written / write_bandwidth
    busy        (reads x read_seconds(bytes / reads) + bytes written / write_bandwidth) / s of the trace

A read's size is the file's mean. Writes are assumed to be buffered: they wait for bandwidth, not for latency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tiering.advice.catalog import RANDOM_READ, Tier
from tiering.advice.ranking import HOUR_USD
from tiering.errors import UsageError
from tiering.io_sizes import PAGE_BYTES
from tiering.placement.problem import Floats
from tiering.units import MONTH_SECONDS


@dataclass(frozen=True, slots=True)
class Month:
    """The month that a plan is priced for.

    Attributes:
        runs: Runs like the trace in the month; by default one follows the other without a pause.
        duration: Seconds that the trace spans; by default those of its heat.
        hour_usd: Cost of an hour of waiting, USD.
        in_flight: Requests that wait at the same time.

    Raises:
        UsageError: For impossible numbers.

    Example:
        >>> Month(duration=3600.0).terms(0.0).runs
        730.5
    """

    runs: float | None = None
    duration: float | None = None
    hour_usd: float = HOUR_USD
    in_flight: int = 1

    def __post_init__(self) -> None:
        limits = (("runs", self.runs or 0.0, 0), ("hour_usd", self.hour_usd, 0), ("in_flight", self.in_flight, 1))
        for name, value, least in limits:
            if not least <= value < float("inf"):
                raise UsageError(name, expected=f"at least {least}", found=f"{value:g}")

    def terms(self, duration: float) -> Terms:
        """Return the terms for a trace that spans this many seconds. Raises UsageError if it spans none."""
        spans = duration if self.duration is None else self.duration
        if not 0 < spans < float("inf"):
            raise UsageError(
                "duration",
                expected="a trace that spans some time",
                found=f"{spans:g} s",
                action="Give the time that it spans in `duration`.",
            )
        return Terms(spans, MONTH_SECONDS / spans if self.runs is None else self.runs, self.hour_usd, self.in_flight)


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms that turn the counts of a trace into a month's bill.

    Attributes:
        duration: Seconds that the trace spans. Tiers must carry its mean rate.
        runs: Runs like the trace in a month.
        hour_usd: Cost of an hour of waiting, USD.
        in_flight: Requests that wait at the same time.
    """

    duration: float
    runs: float
    hour_usd: float
    in_flight: int = 1


@dataclass(frozen=True, slots=True)
class Charges:
    """Costs of files on one tier, one value for each file.

    Attributes:
        storage: USD a month.
        access: USD a month of requests and retrieval.
        waiting_s: Seconds of waiting a month.
        busy: Share of the tier's time.
    """

    storage: Floats
    access: Floats
    waiting_s: Floats
    busy: Floats

    def total(self, hour_usd: float) -> Floats:
        """Return USD a month, waiting included."""
        return self.storage + self.access + self.waiting_s * (hour_usd / 3600)


def charges(units: pl.DataFrame, tier: Tier, terms: Terms) -> Charges:
    """Return the costs on a tier of units with columns size, paged, opens, reads, bytes_read and bytes_written."""
    opens, reads, read, written = (
        units[name].to_numpy().astype(np.float64) for name in ("opens", "reads", "bytes_read", "bytes_written")
    )
    mean = np.divide(read, reads, out=np.zeros_like(read), where=reads > 0)
    device = read_seconds(tier, mean)
    alone = tier.read_latency_p50 + mean / tier.read_bandwidth
    wait = np.maximum(device, alone / min(terms.in_flight, tier.queue_depth))
    writing = written / tier.write_bandwidth
    return Charges(
        storage=occupied(units, tier) / 1e9 * tier.price,
        access=terms.runs * (reads / 1000 * tier.request_price + read / 1e9 * tier.retrieval_price),
        waiting_s=terms.runs * (opens * (tier.open_cost / terms.in_flight) + reads * wait + writing),
        busy=(reads * device + writing) / terms.duration,
    )


def occupied(units: pl.DataFrame, tier: Tier) -> Floats:
    """Return the bytes that units occupy: whole pages on a file system, plain bytes in an object store."""
    return units["paged" if tier.access == "file" else "size"].to_numpy().astype(np.float64)


def paged(size: pl.Expr) -> pl.Expr:
    """Return the bytes that a file occupies in whole pages."""
    return (size + (PAGE_BYTES - 1)) // PAGE_BYTES * PAGE_BYTES


def read_seconds(tier: Tier, size: Floats) -> Floats:
    """Return Tier.read_seconds for many sizes (bytes) at once."""
    head = np.minimum(size, RANDOM_READ) / tier.random_bandwidth
    tail = np.maximum(0.0, size - RANDOM_READ) / max(tier.read_bandwidth, tier.random_bandwidth)
    return np.maximum(max(1 / tier.iops, tier.read_latency_p50 / tier.queue_depth), head + tail)
