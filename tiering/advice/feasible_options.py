"""The ways to keep a dataset that are possible at all, each with its prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from tiering.advice.catalog import Tier
from tiering.advice.prediction import CachePlan, Codec, Data, Format, stored_bytes
from tiering.advice.recommendation import Option, Setting, describe
from tiering.units import format_bytes, format_seconds

#: Share of a dataset that a write-back device holds, and B that it holds at least: the most recent data.
_WRITE_BACK_SHARE: Final = 0.1
_WRITE_BACK_LEAST: Final = 10**10
#: A page fault that takes so many s makes a map of a cold disk slow: a seek.
_SLOW_FAULT: Final = 1e-3


def for_training(catalog: Sequence[Tier], data: Data, ram: int, setting: Setting) -> Iterator[Option]:
    """Yield every tier, format and cache for data that is read again every epoch.

    ram: B of each host's memory. A local cache is the fastest local tier, in front of slower ones.
    """
    fastest = min(_local(catalog), key=lambda tier: tier.read_seconds(data.mean), default=None)
    nodes = setting.loading.nodes
    for tier, store_format, codec in _homes(catalog, data, setting):
        served = data.samples * data.row_bytes if store_format == "pixels" else data.bytes
        share = -(-served // nodes)
        kept = min(ram, share)
        # The kernel caches files and maps by itself; what comes over a socket it does not.
        plans = [CachePlan(ram=ram if tier.access != "object" else 0)]
        if ram:
            plans.append(CachePlan(ram=kept, fill_once=True))
        if fastest is not None and tier.read_seconds(data.mean) > fastest.read_seconds(data.mean):
            room = min(fastest.capacity or share, share - kept)
            if room:
                plans.append(CachePlan(ram=kept, fill_once=ram > 0, local=room, local_tier=fastest))
        for plan in plans:
            found = describe(data, tier, store_format, codec, plan, setting)
            yield replace(found, warnings=(*_warnings(tier, store_format, plan, served),))


def for_one_pass(catalog: Sequence[Tier], data: Data, setting: Setting) -> Iterator[Option]:
    """Yield plain folders without a cache: what is read once would be read once more to be packed."""
    for tier, store_format, _ in _homes(catalog, data, setting):
        if store_format == "folder":
            yield describe(data, tier, "folder", "none", CachePlan(), setting)


def for_writes(
    catalog: Sequence[Tier], data: Data, setting: Setting, written_per_day: float | None
) -> Iterator[Option]:
    """Yield plain folders on file systems, the slow ones behind a local device that takes the writes first.

    written_per_day: B, where known: the device is so large that it endures them for as long as it is warranted.
    """
    quickest = max(_local(catalog), key=lambda tier: tier.iops, default=None)
    for tier, store_format, _ in _homes(catalog, data, setting):
        if store_format != "folder" or tier.access != "file":
            continue
        plan = CachePlan()
        if quickest is not None and tier.iops < quickest.iops:
            worn = (written_per_day or 0.0) / (quickest.endurance or math.inf)
            wanted = max(_WRITE_BACK_LEAST, int(data.bytes * _WRITE_BACK_SHARE), math.ceil(worn))
            plan = CachePlan(local=min(wanted, quickest.capacity or wanted), local_tier=quickest)
        yield describe(data, tier, "folder", "none", plan, setting, writes=True)


def left_out(catalog: Sequence[Tier], data: Data) -> Iterator[str]:
    """Say what is no option at all, and why: a sentence for each tier and format."""
    shared = [tier.name for tier in catalog if tier.access == "file" and (tier.network or not tier.mmap_ok)]
    if shared:
        yield f"LMDB on {', '.join(shared)}: its maps and locks are not safe on network file systems."
    for tier in catalog:
        if tier.access == "memory":
            continue
        plain = stored_bytes(data, "folder", pages=tier.access != "object")
        if not tier.holds(plain):
            yield f"{tier.name} holds {format_bytes(tier.capacity or 0)}: {format_bytes(plain)} of files do not fit."
        elif data.row_bytes and not tier.holds(data.samples * data.row_bytes):
            pixels = format_bytes(data.samples * data.row_bytes)
            yield f"{tier.name} holds {format_bytes(tier.capacity or 0)}: {pixels} of pixels do not fit."


def _warnings(tier: Tier, store_format: Format, plan: CachePlan, served: int) -> Iterator[str]:
    cached = plan.ram + plan.local >= served
    if store_format == "lmdb" and tier.read_latency_p50 >= _SLOW_FAULT and not cached:
        yield (
            f"LMDB is read through a map: on {tier.title} every page that was not announced in time is a fault of "
            f'{format_seconds(tier.read_latency_p50)}. Serve it with shuffle="block", which reads in sequence, or '
            "warm it first."
        )


def _local(catalog: Sequence[Tier]) -> list[Tier]:
    return [tier for tier in catalog if tier.access == "file" and not tier.network]


def _homes(catalog: Sequence[Tier], data: Data, setting: Setting) -> Iterator[tuple[Tier, Format, Codec]]:
    """Yield where the dataset can live: on what outlives the machine, where it fits, LMDB only where maps are safe.

    Zarr without codec reads like LMDB: where LMDB is possible it would only say everything twice. Pixels are for jobs
    that take pixels.
    """
    formats: list[tuple[Format, Codec]] = [("folder", "none"), ("lmdb", "none"), ("zarr", "none")]
    if data.raw:
        formats[2] = ("zarr", "zstd")
    if data.row_bytes and setting.loading.decode:
        formats += [("pixels", "none"), *(("pixels", codec) for codec in setting.costs.codings)]
    for tier in catalog:
        if tier.access == "memory":
            continue
        maps = tier.mmap_ok and not tier.network and tier.access == "file"
        for store_format, codec in formats:
            wanted = maps if store_format == "lmdb" else store_format != "zarr" or codec != "none" or not maps
            stored = stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=setting.costs)
            if wanted and tier.holds(stored):
                yield tier, store_format, codec
