"""A storage tier: its speed, its prices, and the smallest amounts in which it is bought."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tiering.literals import Cloud

#: Bytes of the reads by which random_bandwidth is defined.
RANDOM_READ: Final = 128 * 1024
#: Bytes of the reads by which iops is defined.
SMALL_READ: Final = 4096
#: GB of a bill from which a price counts, and USD/(GB month).
PriceStep = tuple[float, float]


class ReadPoint(BaseModel):
    """A measurement of reads of one size at one queue depth."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pattern: Literal["random", "sequential"]
    block: int = Field(gt=0, description="B of one read")
    depth: int = Field(gt=0, description="reads in flight")
    bandwidth: float = Field(gt=0, description="B/s")
    p50: float = Field(gt=0, description="s, median of one read from its submission to its end")
    p99: float = Field(gt=0, description="s")


class Tier(BaseModel):
    """One storage tier as one training host sees it. GB = `gb` bytes in prices, 1e9 elsewhere.

    A tier behind a network is shared: all nodes read one system, which may limit them together (`total_bandwidth`,
    `total_iops`). Every other tier is local: each node has one of its own, and a dataset on it is copied to each node.
    The sources of the shipped figures stand beside them in catalog.toml.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, description="its name on the command line")
    title: str = Field(min_length=1, description="its name in a sentence")
    access: Literal["memory", "file", "object"] = Field(description="memory is lost with the machine")
    network: bool = Field(description="behind a network, and so one system that all nodes share")
    mmap_ok: bool = Field(description="safe for memory maps, and so for LMDB")
    capacity: int | None = Field(default=None, gt=0, description="B on one host or share; None: no practical limit")
    read_bandwidth: float = Field(gt=0, description="B/s, sequential")
    random_bandwidth: float = Field(gt=0, description="B/s of random 128 KiB reads, queue_depth in flight")
    iops: float = Field(gt=0, description="random small reads/s, queue_depth in flight")
    total_bandwidth: float | None = Field(
        default=None, gt=0, description="B/s that all nodes together read from a shared tier; None: grows with them"
    )
    total_iops: float | None = Field(
        default=None, gt=0, description="requests/s of all nodes together to a shared tier; None: grows with them"
    )
    write_bandwidth: float = Field(gt=0, description="B/s, sequential")
    total_write_bandwidth: float | None = Field(
        default=None, gt=0, description="B/s that all nodes together write to a shared tier; None: as total_bandwidth"
    )
    read_latency_p50: float = Field(gt=0, description="s, median of one small read")
    read_latency_p99: float = Field(gt=0, description="s")
    queue_depth: int = Field(gt=0, description="requests in flight up to which throughput grows")
    open_cost: float = Field(ge=0, description="s to open and close one uncached file in one thread, without its data")
    price: float = Field(ge=0, description="USD / (GB month)")
    request_price: float = Field(default=0.0, ge=0, description="USD / 1,000 reads")
    retrieval_price: float = Field(default=0.0, ge=0, description="USD / GB read")
    minimum_days: float = Field(default=0.0, ge=0, description="days that each stored object is billed for at least")
    write_request_price: float = Field(default=0.0, ge=0, description="USD / 1,000 writes (PUT)")
    transition_price: float | None = Field(
        default=None, ge=0, description="USD / 1,000 objects that a lifecycle rule moves here; None: no such rule"
    )
    write_gb_price: float = Field(default=0.0, ge=0, description="USD / GB written")
    egress_zone_price: float | None = Field(
        default=None, ge=0, description="USD / GB read from another zone; None: not known, counts as 0"
    )
    egress_region_price: float | None = Field(
        default=None, ge=0, description="USD / GB read from another region; None: not known, counts as 0"
    )
    egress_internet_price: float | None = Field(
        default=None, ge=0, description="USD / GB read over the internet; None: not known, counts as 0"
    )
    cloud: Cloud | None = Field(default=None, description="where it is for hire; None: not named")
    gb: int = Field(default=10**9, gt=0, description="B that its bill counts as a GB")
    price_steps: tuple[PriceStep, ...] = Field(
        default=(), description="pairs (GB above which it counts, USD / (GB month)) after the first price"
    )
    minimum_object: int = Field(default=0, ge=0, description="B that are billed at least for each object")
    minimum_capacity: int = Field(default=0, ge=0, description="B that are bought at least")
    capacity_step: int = Field(default=0, ge=0, description="B of one step in which capacity is bought; 0: any amount")
    included_bandwidth: float = Field(default=0.0, ge=0, description="B/s in the price of the capacity")
    bandwidth_price: float = Field(default=0.0, ge=0, description="USD / (MB/s month) above included_bandwidth")
    provisioned_bandwidth: float = Field(default=0.0, ge=0, description="B/s bought, with those included")
    max_bandwidth: float | None = Field(default=None, gt=0, description="B/s that can be bought at most")
    included_iops: float = Field(default=0.0, ge=0, description="IOPS in the price of the capacity")
    iops_price: float = Field(default=0.0, ge=0, description="USD / (IOPS month) above included_iops")
    provisioned_iops: float = Field(default=0.0, ge=0, description="IOPS bought, with those included")
    max_iops: float | None = Field(default=None, gt=0, description="IOPS that can be bought at most")
    bandwidth_per_tib: float | None = Field(
        default=None, gt=0, description="B/s that come with each TiB bought; None: not tied to capacity"
    )
    durability: float | None = Field(
        default=None, gt=0, le=1, description="share of the objects or volumes that survive a year; None: not known"
    )
    zones: int | None = Field(default=None, gt=0, description="zones that hold the data; None: not known")
    connection_bandwidth: float | None = Field(default=None, gt=0, description="B/s of one connection; None: no limit")
    prefix_iops: float | None = Field(default=None, gt=0, description="GETs/s of one prefix; None: no limit")
    endurance: float | None = Field(default=None, gt=0, description="drive writes per day; None: no wear")
    metadata_rate: float | None = Field(default=None, gt=0, description="look-ups (stat)/s, one at a time")
    sync_rate: float | None = Field(
        default=None, gt=0, description="writes of 4 KiB made durable (fsync)/s, one at a time"
    )
    measured_at: str | None = Field(
        default=None, description="mount point, or URL of the bucket, that tiering probe measured; None: class figures"
    )
    read_points: tuple[ReadPoint, ...] = Field(default=(), description="the measured curves behind the figures")

    @field_validator("price_steps")
    @classmethod
    def _rising(cls, steps: tuple[PriceStep, ...]) -> tuple[PriceStep, ...]:
        begins = [0.0, *(begin for begin, _ in steps)]
        if any(not low < high for low, high in pairwise(begins)) or any(price < 0 for _, price in steps):
            message = "expected rising numbers of GB above 0, and prices of at least 0"
            raise ValueError(message)
        return steps

    @property
    def is_lasting(self) -> bool:
        """Whether it keeps its data when the machine stops."""
        return self.access != "memory"

    @property
    def is_local(self) -> bool:
        """Whether it is a file system on a disk of the host itself."""
        return self.access == "file" and not self.network

    def holds(self, size: int) -> bool:
        """Return whether a dataset of this many bytes fits."""
        return self.capacity is None or size <= self.capacity

    @property
    def together(self) -> Tier | None:
        """The limits of a shared tier for all nodes together, as a tier of its own; None without any.

        A system that gives one host more than its stated total gives that to all of them.
        """
        if not self.network or not (self.total_bandwidth or self.total_iops):
            return None
        rate = max(self.total_bandwidth or math.inf, self.read_bandwidth, self.random_bandwidth)
        requests = max(self.total_iops or math.inf, self.iops)
        only = {"read_bandwidth": rate, "random_bandwidth": rate, "iops": requests}
        return self.model_copy(update={**only, "read_latency_p50": 0.0})

    def read_seconds(self, size: float) -> float:
        """Return the seconds of the device that one random read of `size` bytes takes, with queue_depth in flight.

        The slowest of three limits counts: requests (iops), latency over requests in flight (Little's law), and bytes.
        Bytes move at random_bandwidth up to 128 KiB, for which it is defined; the rest moves at read_bandwidth.
        """
        head = min(size, RANDOM_READ) / self.random_bandwidth
        tail = max(0.0, size - RANDOM_READ) / max(self.read_bandwidth, self.random_bandwidth)
        return max(1 / self.iops, self.read_latency_p50 / self.queue_depth, head + tail)
