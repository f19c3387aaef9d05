"""The catalog of storage tiers: bandwidth, latency, IOPS, price and endurance of each."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tiering.errors import CatalogError, UsageError
from tiering.units import format_bytes, format_rate, format_seconds, format_usd

#: Bytes of the reads by which random_bandwidth is defined.
RANDOM_READ: Final = 128 * 1024
#: Bytes of the reads by which iops is defined.
SMALL_READ: Final = 4096
#: Figures from different sources may contradict each other by this factor.
_SLACK: Final = 1.05


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
    """One storage tier as one training host sees it. GB = 1e9 bytes.

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
    read_latency_p50: float = Field(gt=0, description="s, median of one small read")
    read_latency_p99: float = Field(gt=0, description="s")
    queue_depth: int = Field(gt=0, description="requests in flight up to which throughput grows")
    open_cost: float = Field(ge=0, description="s to open and close one uncached file in one thread, without its data")
    price: float = Field(ge=0, description="USD / (GB month)")
    request_price: float = Field(default=0.0, ge=0, description="USD / 1,000 reads")
    retrieval_price: float = Field(default=0.0, ge=0, description="USD / GB read")
    minimum_days: float = Field(default=0.0, ge=0, description="days that each stored object is billed for at least")
    endurance: float | None = Field(default=None, gt=0, description="drive writes per day; None: no wear")
    metadata_rate: float | None = Field(default=None, gt=0, description="look-ups (stat)/s, one at a time")
    sync_rate: float | None = Field(
        default=None, gt=0, description="writes of 4 KiB made durable (fsync)/s, one at a time"
    )
    read_points: tuple[ReadPoint, ...] = Field(default=(), description="the measured curves behind the figures")

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

    @property
    def open_requests(self) -> float:
        """Requests that a server answers for each file that is opened, besides the read: open_cost / latency."""
        return self.open_cost / self.read_latency_p50 if self.network and self.access == "file" else 0.0

    def read_seconds(self, size: float) -> float:
        """Return the seconds of the device that one random read of `size` bytes takes, with queue_depth in flight.

        The slowest of three limits counts: requests (iops), latency over requests in flight (Little's law), and bytes.
        Bytes move at random_bandwidth up to 128 KiB, for which it is defined; the rest moves at read_bandwidth.
        """
        head = min(size, RANDOM_READ) / self.random_bandwidth
        tail = max(0.0, size - RANDOM_READ) / max(self.read_bandwidth, self.random_bandwidth)
        return max(1 / self.iops, self.read_latency_p50 / self.queue_depth, head + tail)


def load_catalog(path: str | Path | None = None) -> tuple[Tier, ...]:
    """Read the shipped catalog, and optionally a file that overrides it.

    Args:
        path: A TOML file with tables [tier.NAME]. The keys of a known NAME replace the shipped ones. A new NAME adds a
            tier and needs all keys. With `replace = true` at the top, only the file's tiers count.

    Raises:
        CatalogError: For anything else in the file; the message names the key.
        OSError: Where the file cannot be read.

    Example:
        >>> [tier.name for tier in load_catalog()][:3]
        ['dram', 'nvme', 'sata-ssd']
    """
    tables = _read("catalog.toml", resources.files("tiering.advice").joinpath("catalog.toml").read_bytes())
    shipped: dict[str, Any] = dict(tables["tier"])
    if path is None:
        return _tiers("catalog.toml", shipped)
    where = str(path)
    given = _read(where, Path(path).read_bytes())
    for key in given.keys() - {"tier", "replace"}:
        raise CatalogError(f"{where}: {key}", expected="tables named [tier.NAME]", found=f"the key {key!r}")
    replace, own = given.get("replace", False), given.get("tier")
    if not isinstance(replace, bool):
        raise CatalogError(f"{where}: replace", expected="true or false", found=repr(replace))
    if not isinstance(own, dict) or not own:
        raise CatalogError(f"{where}: tier", expected="tables named [tier.NAME]", found="none")
    for name, table in own.items():
        if not isinstance(table, dict):
            raise CatalogError(f"{where}: tier.{name}", expected=f"a table [tier.{name}]", found=repr(table))
    base = {} if replace else shipped
    return _tiers(where, base | {name: base.get(name, {}) | table for name, table in own.items()})


def find_tier(tiers: Iterable[Tier], name: str) -> Tier | None:
    """Return the tier of this name, or None."""
    return next((tier for tier in tiers if tier.name == name), None)


def tier_named(tiers: Sequence[Tier], name: str, parameter: str) -> Tier:
    """Return the tier of this name. Raises UsageError for the parameter if there is none."""
    found = find_tier(tiers, name)
    if found is None:
        names = ", ".join(tier.name for tier in tiers) or "no tier"
        raise UsageError(parameter, expected=f"one of {names}", found=repr(name))
    return found


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


def _read(where: str, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(where, expected="a TOML file with tables [tier.NAME]", found=str(error)) from error


def _tiers(where: str, tables: Mapping[str, Mapping[str, Any]]) -> tuple[Tier, ...]:
    return tuple(_tier(where, name, table) for name, table in tables.items())


def _tier(where: str, name: str, table: Mapping[str, Any]) -> Tier:
    if "name" in table:
        raise CatalogError(f"{where}: tier.{name}.name", found="a second name", action="The table names the tier.")
    try:
        return Tier.model_validate({"name": name, **table}, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("tier", name, *map(str, first["loc"])))
        found = f"{first['msg'].lower()}" + ("" if first["type"] == "missing" else f" ({first['input']!r})")
        raise CatalogError(
            f"{where}: {key}",
            found=found,
            action="The top of advice/catalog.toml lists the keys and their units.",
        ) from error
