"""The feasible ways to keep a dataset, each with its prediction."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Final, get_args

from tiering.advice.bill import early_deletion_in_month, room_usd
from tiering.advice.catalog import Tier, tier_named
from tiering.advice.checkpoints import write_seconds
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.option import Option
from tiering.advice.prediction import CachePlan, Setting, predict
from tiering.advice.purchases import as_small_as_the_data, by_rule, distances, ways_to_buy
from tiering.advice.stored_size import served_bytes, stored_on
from tiering.literals import Format, ReadOrder
from tiering.units import format_bytes, format_seconds

#: Share of a dataset that a write-back device holds, the most recent data, and the bytes that it holds at least.
_WRITE_BACK_SHARE: Final = 0.1
_WRITE_BACK_LEAST: Final = 10**10
#: Share of the reads that a cache must answer so that 99 of 100 never wait for the tier behind it.
_NEARLY_ALL: Final = 0.99
#: Seconds of one read from which storage is slow for a sample at a time: a seek.
SLOW_READ: Final = 1e-3


def for_training(
    catalog: Sequence[Tier],
    data: DatasetSizes,
    home: Tier,
    ram: int,
    setting: Setting,
    formats: Collection[Format] = get_args(Format),
) -> Iterator[Option]:
    """Yield every tier, format, order and cache for data that is read again every epoch.

    A local cache is the fastest local tier, in front of slower ones. Storage that is sold with its speed is considered
    as small as the data, and as fast as the job needs it.

    Args:
        catalog: The tiers.
        data: The dataset.
        home: Where it is now.
        ram: Bytes of each host's memory for caching.
        setting: What all predictions share.
        formats: Those that come into question.
    """
    local_tiers = (tier for tier in catalog if tier.is_local)
    fastest = min(local_tiers, key=lambda tier: tier.read_seconds(data.mean), default=None)
    for tier, store_format, codec in _homes(catalog, data, setting):
        if store_format not in formats:
            continue
        # Blocks of neighbours are a lesser shuffle: they are for storage where each single read waits long.
        slow = tier.access == "object" or tier.read_latency_p50 >= SLOW_READ
        orders: tuple[ReadOrder, ...] = ("global", "block") if slow and store_format != "folder" else ("global",)
        for bought, remote in product(
            ways_to_buy(tier, data, store_format, codec, setting), distances(tier, home, setting)
        ):
            plans = _plans(bought, data, store_format, ram, fastest, setting.loading.nodes)
            for plan, order in product(plans, orders):
                option = option_of(
                    data, bought, store_format, codec, plan, setting,
                    order=order, remote=remote, by_rule=store_format == "folder" and by_rule(home, tier),
                )  # fmt: skip
                share = -(-served_bytes(data, store_format) // setting.loading.nodes)
                yield replace(
                    option,
                    warnings=(*_warnings(option, tier, plan, share),),
                    provisioned=bought != as_small_as_the_data(tier, data, store_format, codec, setting),
                )


def _plans(
    tier: Tier, data: DatasetSizes, store_format: Format, ram: int, fastest: Tier | None, nodes: int
) -> Iterator[CachePlan]:
    """Yield the caches that make sense in front of a tier."""
    share = -(-served_bytes(data, store_format) // nodes)
    kept = min(ram, share)
    # The kernel caches files and maps by itself, but not what comes over a socket.
    yield CachePlan(ram=ram if tier.access != "object" else 0)
    if ram:
        yield CachePlan(ram=kept, fill_once=True)
    # A shared tier may be fast for one node, and slow or dear for all of them together.
    if fastest is not None and (tier.network or tier.read_seconds(data.mean) > fastest.read_seconds(data.mean)):
        local = min(fastest.capacity or share, share - kept)
        if local:
            yield CachePlan(ram=kept, fill_once=ram > 0, local=local, local_tier=fastest)


def plan_of(option: Option, catalog: Sequence[Tier], ram: int) -> CachePlan:
    """Return the caches of an option. ram: bytes of each host's memory for caching."""
    if option.kind == "cached":
        local = None if option.cache_tier is None else tier_named(catalog, option.cache_tier, "cache_tier")
        return CachePlan(option.cache_ram, option.cache_ram > 0, option.cache_local, local)
    return CachePlan(ram=ram if tier_named(catalog, option.tier, "tier").access != "object" else 0)


def for_one_pass(catalog: Sequence[Tier], data: DatasetSizes, setting: Setting) -> Iterator[Option]:
    """Yield plain folders without a cache. Packing would read data a second time that is needed once."""
    for tier, store_format, _ in _homes(catalog, data, setting):
        if store_format == "folder":
            yield option_of(data, tier, "folder", "none", CachePlan(), setting)


def for_writes(
    catalog: Sequence[Tier], data: DatasetSizes, setting: Setting, written_per_day: float | None
) -> Iterator[Option]:
    """Yield plain folders on file systems, the slow ones behind a local device that takes the writes first.

    Args:
        catalog: The tiers.
        data: The dataset.
        setting: What all predictions share.
        written_per_day: Bytes, where known. The device is then large enough to endure them for its warranty.
    """
    quickest = max((tier for tier in catalog if tier.is_local), key=lambda tier: tier.iops, default=None)
    for tier, store_format, _ in _homes(catalog, data, setting):
        if store_format != "folder" or tier.access != "file":
            continue
        plan = CachePlan()
        if quickest is not None and tier.iops < quickest.iops:
            worn = (written_per_day or 0.0) / (quickest.endurance or math.inf)
            wanted = max(_WRITE_BACK_LEAST, int(data.bytes * _WRITE_BACK_SHARE), math.ceil(worn))
            plan = CachePlan(local=min(wanted, quickest.capacity or wanted), local_tier=quickest)
        yield option_of(data, tier, "folder", "none", plan, setting, writes=True)


def infeasible(catalog: Sequence[Tier], data: DatasetSizes, nodes: int) -> Iterator[str]:
    """Yield a sentence for each tier and format that is impossible, with the reason.

    nodes: how many share the dataset; each may hold its part on a local tier.
    """
    shared = [tier.name for tier in catalog if tier.access == "file" and (tier.network or not tier.mmap_ok)]
    if shared:
        yield f"LMDB on {', '.join(shared)}: its maps and locks are not safe on network file systems."
    for tier in catalog:
        if not tier.is_lasting:
            continue
        parts = 1 if tier.network else nodes
        holds = f"{tier.name} holds {format_bytes(tier.capacity or 0)}{' on each node' if parts > 1 else ''}"
        plain, pixels = stored_on(tier, data, "folder"), data.samples * data.row_bytes
        if not tier.holds(-(-plain // parts)):
            yield f"{holds}: {format_bytes(plain)} of files do not fit."
        elif not tier.holds(-(-pixels // parts)):
            yield f"{holds}: {format_bytes(pixels)} of pixels do not fit."


def option_of(
    data: DatasetSizes,
    tier: Tier,
    store_format: Format,
    codec: str,
    plan: CachePlan,
    setting: Setting,
    *,
    order: ReadOrder = "global",
    remote: bool = False,
    by_rule: bool = False,
    writes: bool = False,
) -> Option:
    """Return an option with its prediction. Its move_s and move_usd are those of making and writing it alone.

    Args:
        data: The dataset.
        tier: Where it would be stored.
        store_format: How it would be kept.
        codec: Of the format.
        plan: The caches.
        setting: What all predictions share.
        order: The order in which an epoch is served.
        remote: Whether the nodes read it across the border of `setting.terms.reads_from`.
        by_rule: Whether a lifecycle rule moves the objects there, so that nothing has to be read.
        writes: Whether the local device takes writes instead of keeping reads: it costs, but speeds up no epoch.
    """
    epochs, how, costs = setting.epochs, setting.loading, setting.costs
    served_from = None if writes else plan
    stored = stored_on(tier, data, store_format, codec, costs)
    copies = how.nodes if not tier.network and tier.holds(stored) else 1
    reads_from = setting.terms.reads_from if remote else "same-zone"
    terms = replace(setting.terms, reads_from=reads_from, by_rule=by_rule)
    found = predict(
        data, tier, store_format, codec, served_from,
        epochs=epochs, copies=copies, loading=how, costs=costs, order=order,
        terms=terms,
    )  # fmt: skip
    local = plan.local if plan.local_tier is not None else 0
    write_back = room_usd(local, plan.local_tier) * terms.month if writes and plan.local_tier is not None else 0.0
    # A cache that holds nearly everything answers these reads too.
    answering = plan.local_tier if plan.local_tier is not None and found.hit_ratio >= _NEARLY_ALL else tier
    parts = []
    if plan.fill_once and plan.ram:
        parts.append(f"{format_bytes(plan.ram)} of RAM")
    if plan.local_tier is not None and local:
        parts.append(f"{format_bytes(local)} on {plan.local_tier.name}" + (" (write-back)" if writes else ""))
    on_each = " a node" if parts and how.nodes > 1 else ""
    soon = early_deletion_in_month(found.bill, terms)
    monthly = found.monthly_usd + write_back + soon
    each = costs.decode.seconds if store_format == "pixels" else 0.0
    making = data.samples * (costs.make_s or each) / (how.threads * how.processes)
    return Option(
        tier=tier.name,
        tier_title=tier.title,
        format=store_format,
        container="zarr" if store_format == "pixels" else store_format,
        codec=codec,
        order=order,
        stored=stored,
        cache=" + ".join(parts) + on_each or ("page cache" if found.hit_ratio >= 0.005 else "none"),
        cache_ram=plan.ram if plan.fill_once else 0,
        cache_local=local,
        cache_tier=plan.local_tier.name if plan.local_tier is not None and local else None,
        first_epoch_s=found.first_epoch_s,
        steady_epoch_s=found.steady_epoch_s,
        samples_per_s=found.samples_per_s,
        bottleneck=found.bottleneck,
        busy=found.stages["device"] / found.steady_epoch_s,
        hit_ratio=found.hit_ratio,
        read_p99_s=answering.read_latency_p99,
        monthly_usd=monthly,
        copies=copies,
        nodes=how.nodes,
        shared=tier.network,
        remote=remote,
        by_rule=by_rule,
        bill=found.bill,
        monthly_usd_per_node=monthly / how.nodes,
        stall_fraction=found.stall_fraction,
        move_usd=found.bill.once - soon,
        # Nodes pack their shares at the same time, but each writes its own copy. No node waits for a lifecycle rule.
        move_s=0.0 if by_rule else making / how.nodes + write_seconds(tier, copies * stored, how.nodes),
    )


def _warnings(option: Option, tier: Tier, plan: CachePlan, served: int) -> Iterator[str]:
    cached = plan.ram + plan.local >= served
    if option.format == "lmdb" and option.order == "global" and tier.read_latency_p50 >= SLOW_READ and not cached:
        yield (
            f"LMDB is read through a map: on {tier.title} each page that was not announced in time is a page fault of "
            f'{format_seconds(tier.read_latency_p50)}. Serve it with shuffle="block", which reads in sequence, or '
            "warm it first."
        )


def _homes(catalog: Sequence[Tier], data: DatasetSizes, setting: Setting) -> Iterator[tuple[Tier, Format, str]]:
    """Yield each tier that outlives the machine with each format that fits; LMDB only where maps are safe.

    Zarr without a codec reads like LMDB, so it is listed only where LMDB is impossible. Pixels are for jobs that take
    pixels.
    """
    formats: list[tuple[Format, str]] = [("folder", "none"), ("lmdb", "none"), ("zarr", "none")]
    if data.raw:
        formats[2] = ("zarr", "zstd")
    if data.row_bytes and setting.loading.decode:
        formats += [("pixels", "none"), *(("pixels", codec) for codec in setting.costs.codings)]
    for tier in catalog:
        if not tier.is_lasting:
            continue
        maps = tier.mmap_ok and tier.is_local
        for store_format, codec in formats:
            wanted = maps if store_format == "lmdb" else store_format != "zarr" or codec != "none" or not maps
            stored = stored_on(tier, data, store_format, codec, setting.costs)
            # Each node's disk holds the whole dataset, or the share that the node serves.
            if wanted and tier.holds(stored if tier.network else -(-stored // setting.loading.nodes)):
                yield tier, store_format, codec
