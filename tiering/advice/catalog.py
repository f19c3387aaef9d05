"""The catalog of storage tiers: bandwidth, latency, IOPS, price and endurance of each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tiering.errors import CatalogError

#: The size at which random_bandwidth is given, bytes.
RANDOM_READ = 128 * 1024


class ReadPoint(BaseModel):
    """Reads of one size at one queue depth, as they were measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pattern: Literal["random", "sequential"]
    block: int = Field(gt=0, description="B of one read")
    depth: int = Field(gt=0, description="reads in flight")
    bandwidth: float = Field(gt=0, description="B/s")
    p50: float = Field(gt=0, description="s, median of one read from its submission to its end")
    p99: float = Field(gt=0, description="s")


class Tier(BaseModel):
    """One storage tier as one training host sees it. GB = 1e9 bytes.

    Where each shipped figure comes from stands beside it in catalog.toml.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, description="the word for it on the command line")
    title: str = Field(min_length=1, description="the words for it in a sentence")
    access: Literal["memory", "file", "object"] = Field(description="memory does not outlive the machine")
    network: bool = Field(description="behind a network")
    mmap_ok: bool = Field(description="safe for memory maps, and so for LMDB")
    capacity: int | None = Field(default=None, gt=0, description="B on one host or share; None: no practical end")
    read_bandwidth: float = Field(gt=0, description="B/s, sequential")
    random_bandwidth: float = Field(gt=0, description="B/s of random 128 KiB reads, queue_depth in flight")
    iops: float = Field(gt=0, description="random small reads/s, queue_depth in flight")
    write_bandwidth: float = Field(gt=0, description="B/s, sequential")
    read_latency_p50: float = Field(gt=0, description="s, median of one small read")
    read_latency_p99: float = Field(gt=0, description="s")
    queue_depth: int = Field(gt=0, description="requests in flight that still raise the throughput")
    open_cost: float = Field(ge=0, description="s to open and close one cold file in one thread, its data apart")
    price: float = Field(ge=0, description="USD / (GB month)")
    request_price: float = Field(default=0.0, ge=0, description="USD / 1,000 reads")
    retrieval_price: float = Field(default=0.0, ge=0, description="USD / GB read")
    minimum_days: float = Field(
        default=0.0, ge=0, description="days that are paid for at least, once something is kept"
    )
    endurance: float | None = Field(default=None, gt=0, description="drive writes per day, where writes wear")
    metadata_rate: float | None = Field(default=None, gt=0, description="look-ups (stat)/s, one at a time")
    sync_rate: float | None = Field(
        default=None, gt=0, description="writes of 4 KiB made durable (fsync)/s, one at a time"
    )
    read_points: tuple[ReadPoint, ...] = Field(default=(), description="the curves behind the figures, where measured")

    def holds(self, size: int) -> bool:
        """Say whether a dataset of this many bytes fits."""
        return self.capacity is None or size <= self.capacity

    def read_seconds(self, size: float) -> float:
        """Return s that one random read of `size` bytes takes of the device, with queue_depth in flight.

        The slowest of three limits: requests (iops), latency over requests in flight (Little's law), and bytes.
        Bytes move at random_bandwidth up to the 128 KiB at which it is given; what is beyond is sequential.
        """
        head = min(size, RANDOM_READ) / self.random_bandwidth
        tail = max(0.0, size - RANDOM_READ) / max(self.read_bandwidth, self.random_bandwidth)
        return max(1 / self.iops, self.read_latency_p50 / self.queue_depth, head + tail)


def load_catalog(path: str | Path | None = None) -> tuple[Tier, ...]:
    """Read the shipped catalog and, where given, a file that overrides it.

    path: a TOML file with tables [tier.NAME]. The keys of a known NAME replace the shipped ones, a new NAME is a
    tier of its own and needs all keys. With `replace = true` at the top only the file's tiers count.
    Raises CatalogError, naming the key, for anything else, and OSError where the file cannot be read.
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


def find_tier(tiers: tuple[Tier, ...], name: str) -> Tier | None:
    """Return the tier of this name, or None where the catalog has none."""
    return next((tier for tier in tiers if tier.name == name), None)


def _read(where: str, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(where, expected="a TOML file with tables [tier.NAME]", found=str(error)) from error


def _tiers(where: str, tables: Mapping[str, Mapping[str, Any]]) -> tuple[Tier, ...]:
    return tuple(_tier(where, name, table) for name, table in tables.items())


def _tier(where: str, name: str, table: Mapping[str, Any]) -> Tier:
    if "name" in table:
        raise CatalogError(f"{where}: tier.{name}.name", found="a name of its own", action="It is the table's name.")
    try:
        return Tier.model_validate({"name": name, **table}, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("tier", name, *map(str, first["loc"])))
        found = f"{first['msg'].lower()}" + ("" if first["type"] == "missing" else f" ({first['input']!r})")
        raise CatalogError(
            f"{where}: {key}",
            found=found,
            action="The keys and their units stand at the top of advice/catalog.toml.",
        ) from error
