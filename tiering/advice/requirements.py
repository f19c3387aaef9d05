"""What a training run asks of storage: bytes, the bandwidth of a target, a month on each tier, and several nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from tiering.advice.catalog import Tier
from tiering.advice.prediction import CachePlan, Data, Format, predict, stored_bytes
from tiering.advice.recommendation import Asks, OnNodes, OnTier, Setting
from tiering.units import format_bytes, format_count, format_rate, format_seconds

#: Numbers of nodes that are shown, besides that at which the caches hold everything.
_NODES: Final = (1, 4, 16, 64, 256)


def asks_of(
    data: Data,
    catalog: Sequence[Tier],
    origin: Tier,
    store_format: Format,
    ram: int,
    setting: Setting,
    *,
    target_s: float | None = None,
    written: int = 0,
) -> Asks:
    """Work out what a run asks.

    origin, store_format: where and how the dataset lies, for the caches of several nodes in front of it; ram: B of each
    node's memory for caching; target_s: s that an epoch may take; written: B that the whole run writes.
    """
    tiers = tuple(_on_tier(data, tier, setting) for tier in catalog if tier.access != "memory")
    local = [tier for tier in catalog if tier.access == "file" and not tier.network and tier is not origin]
    fastest = min(local, key=lambda tier: tier.read_seconds(data.mean), default=None)
    run = data.bytes * setting.epochs
    return Asks(
        epoch_bytes=data.bytes,
        run_bytes=run,
        run_reads=data.samples * setting.epochs,
        target_s=target_s,
        bytes_per_s=data.bytes / target_s if target_s else None,
        read_write_ratio=run / written if written else None,
        tiers=tiers,
        nodes=tuple(_on_nodes(data, origin, store_format, fastest, ram, setting, target_s)),
    )


def in_words(asks: Asks, run_epochs: int) -> Iterator[str]:
    """Say it, a sentence each."""
    yield (
        f"An epoch reads {format_bytes(asks.epoch_bytes)}; {run_epochs:,} epochs read "
        f"{format_bytes(asks.run_bytes, 4)} in {in_count(asks.run_reads)} reads of samples."
    )
    if asks.read_write_ratio is not None:
        ratio = in_count(round(asks.read_write_ratio))
        yield f"Reads dominate: {ratio} bytes are read for each byte written."
    if asks.bytes_per_s is not None and asks.target_s is not None:
        yield f"An epoch in {format_seconds(asks.target_s)} takes {format_rate(asks.bytes_per_s)} of reading."
        enough = next((each for each in asks.nodes if each.epoch_s <= asks.target_s), None)
        if enough is not None and enough.nodes > 1:
            yield (
                f"{enough.nodes:,} nodes reach it, each with {format_bytes(enough.cache_bytes)} of cache in which its "
                f"samples stay: they answer {enough.hit_ratio:.0%} of the reads."
            )
    small = [tier.tier for tier in asks.tiers if not tier.fits]
    if small:
        yield f"{format_bytes(asks.epoch_bytes)} do not fit on {', '.join(small)}."


def in_count(count: int) -> str:
    """Write a count: in billions with three digits, and whole below."""
    if count < 10**9:
        return f"{count:,}"
    billions = count / 1e9
    return f"{format_count(billions) if billions >= 100 else f'{billions:.3g}'} billion"


def _on_tier(data: Data, tier: Tier, setting: Setting) -> OnTier:
    stored = stored_bytes(data, "folder", pages=tier.access != "object")
    cold = predict(data, tier, "folder", epochs=1, loading=setting.loading, costs=setting.costs)
    return OnTier(tier.name, stored / 1e9 * tier.price, tier.holds(stored), cold.first_epoch_s)


def _on_nodes(
    data: Data,
    origin: Tier,
    store_format: Format,
    cache: Tier | None,
    ram: int,
    setting: Setting,
    target_s: float | None,
) -> Iterator[OnNodes]:
    room = (cache.capacity or data.bytes) if cache is not None else 0
    if ram + room <= 0:
        return
    whole = -(-data.bytes // (ram + room))
    for nodes in sorted({*(count for count in _NODES if count < whole), whole}):
        share = -(-data.bytes // nodes)
        kept = min(ram, share)
        local = min(room, share - kept)
        plan = CachePlan(ram=kept, fill_once=True, local=local, local_tier=cache if local else None)
        how = replace(setting.loading, nodes=nodes)
        found = predict(data, origin, store_format, cache=plan, epochs=1, loading=how, costs=setting.costs)
        left = round(data.bytes * (1 - found.hit_ratio))
        price = cache.price if cache is not None else 0.0
        yield OnNodes(
            nodes=nodes,
            cache_bytes=kept + local,
            hit_ratio=found.hit_ratio,
            origin_bytes=left,
            origin_bytes_per_s=left / target_s if target_s else None,
            epoch_s=found.steady_epoch_s,
            cache_usd=nodes * local / 1e9 * price,
        )
