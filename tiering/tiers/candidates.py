"""The ways to keep a dataset that are possible at all, each with its prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tiering.tiers.catalog import Tier
from tiering.tiers.options import Option, describe
from tiering.tiers.predict import CachePlan, Codec, Data, Format, stored_bytes

#: Share of a dataset that a write-back device holds, and B that it holds at least: the most recent data.
_WRITE_BACK_SHARE: Final = 0.1
_WRITE_BACK_LEAST: Final = 10**10


def for_training(catalog: Sequence[Tier], data: Data, ram: int, codec: Codec, epochs: int) -> Iterator[Option]:
    """Yield every tier, format and cache for data that is read again every epoch.

    ram: B of the host's memory; codec: of Zarr. A local cache is the fastest local tier, in front of slower ones.
    """
    fastest = min(_local(catalog), key=lambda tier: tier.read_seconds(data.mean), default=None)
    for tier, store_format, used in _homes(catalog, data, codec):
        kept = min(ram, data.bytes)
        # The kernel caches files and maps by itself; what comes over a socket it does not.
        plans = [CachePlan(ram=ram if tier.access != "object" else 0)]
        if ram:
            plans.append(CachePlan(ram=kept, fill_once=True))
        if fastest is not None and tier.read_seconds(data.mean) > fastest.read_seconds(data.mean):
            room = min(fastest.capacity or data.bytes, data.bytes - kept)
            if room:
                plans.append(CachePlan(ram=kept, fill_once=ram > 0, local=room, local_tier=fastest))
        for plan in plans:
            yield describe(data, tier, store_format, used, plan, epochs)


def for_one_pass(catalog: Sequence[Tier], data: Data) -> Iterator[Option]:
    """Yield plain folders without a cache: what is read once would be read once more to be packed."""
    for tier, store_format, _ in _homes(catalog, data, "none"):
        if store_format == "folder":
            yield describe(data, tier, "folder", "none", CachePlan(), 1)


def for_writes(catalog: Sequence[Tier], data: Data) -> Iterator[Option]:
    """Yield plain folders on file systems, the slow ones behind a local device that takes the writes first."""
    quickest = max(_local(catalog), key=lambda tier: tier.iops, default=None)
    for tier, store_format, _ in _homes(catalog, data, "none"):
        if store_format != "folder" or tier.access != "file":
            continue
        plan = CachePlan()
        if quickest is not None and tier.iops < quickest.iops:
            wanted = max(_WRITE_BACK_LEAST, int(data.bytes * _WRITE_BACK_SHARE))
            plan = CachePlan(local=min(wanted, data.bytes, quickest.capacity or wanted), local_tier=quickest)
        yield describe(data, tier, "folder", "none", plan, 1, writes=True)


def _local(catalog: Sequence[Tier]) -> list[Tier]:
    return [tier for tier in catalog if tier.access == "file" and not tier.network]


def _homes(catalog: Sequence[Tier], data: Data, codec: Codec) -> Iterator[tuple[Tier, Format, Codec]]:
    """Yield where the dataset can live: on what outlives the machine, where it fits, LMDB only where maps are safe.

    Zarr without codec reads like LMDB: where LMDB is possible it would only say everything twice.
    """
    formats: tuple[tuple[Format, Codec], ...] = (("folder", "none"), ("lmdb", "none"), ("zarr", codec))
    for tier in catalog:
        if tier.access == "memory":
            continue
        maps = tier.mmap_ok and not tier.network and tier.access == "file"
        for store_format, used in formats:
            wanted = maps if store_format == "lmdb" else store_format == "folder" or used != "none" or not maps
            if wanted and tier.holds(stored_bytes(data, store_format, used, pages=tier.access != "object")):
                yield tier, store_format, used
