"""The demands of a training run on its storage: bytes, bandwidth, a month on each tier, and several nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from tiering.advice.bill import bill_of_copies, room_usd, stored_objects
from tiering.advice.catalog import Tier
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.prediction import CachePlan, Setting, predict
from tiering.advice.recommendation import NodesRequirement, Requirements, TierRequirement
from tiering.advice.stored_size import stored_on
from tiering.literals import Format
from tiering.units import format_bytes, format_number, format_percent, format_rate, format_seconds

#: Numbers of nodes that are shown, besides the number whose caches hold everything.
_NODES: Final = (1, 4, 16, 64, 256)
#: Bytes in one direction for each byte in the other, from which that direction dominates.
_DOMINATES: Final = 2


def requirements_of(
    data: DatasetSizes,
    catalog: Sequence[Tier],
    origin: Tier,
    store_format: Format,
    ram: int,
    setting: Setting,
    *,
    target_s: float | None = None,
    written: int = 0,
) -> Requirements:
    """Work out the demands of a run.

    Args:
        data: The dataset.
        catalog: The tiers.
        origin: The tier behind the caches of several nodes.
        store_format: How the dataset is kept there.
        ram: Bytes of each node's memory for caching.
        setting: What all predictions share.
        target_s: Seconds that an epoch may take.
        written: Bytes that the whole run writes.
    """
    local = (tier for tier in catalog if tier.is_local and tier is not origin)
    fastest = min(local, key=lambda tier: tier.read_seconds(data.mean), default=None)
    run = data.bytes * setting.epochs
    return Requirements(
        epoch_bytes=data.bytes,
        run_bytes=run,
        run_reads=data.samples * setting.epochs,
        target_s=target_s,
        bytes_per_s=data.bytes / target_s if target_s else None,
        read_write_ratio=run / written if written else None,
        tiers=tuple(_on_tier(data, tier, setting) for tier in catalog if tier.is_lasting),
        nodes=tuple(_on_nodes(data, origin, store_format, fastest, ram, setting, target_s)),
    )


def volume_in_words(required: Requirements, run_epochs: int) -> Iterator[str]:
    """Yield how much a run reads and writes, as sentences."""
    epochs_read = "1 epoch reads" if run_epochs == 1 else f"{run_epochs:,} epochs read"
    yield (
        f"An epoch reads {format_bytes(required.epoch_bytes)}; {epochs_read} "
        f"{format_bytes(required.run_bytes, 4)} in {in_count(required.run_reads)} reads of samples."
    )
    if required.read_write_ratio is not None:
        yield _balance(required.read_write_ratio)


def in_words(required: Requirements) -> Iterator[str]:
    """Yield what it takes to read an epoch in the time that was asked for, and where the dataset does not fit."""
    if required.bytes_per_s is not None and required.target_s is not None:
        yield f"An epoch in {format_seconds(required.target_s)} takes {format_rate(required.bytes_per_s)} of reading."
        enough = next((each for each in required.nodes if each.epoch_s <= required.target_s), None)
        if enough is not None and enough.nodes > 1:
            yield (
                f"{enough.nodes:,} nodes reach it, each with {format_bytes(enough.cache_bytes)} of cache in which its "
                f"samples stay: they answer {format_percent(enough.hit_ratio)} of the reads."
            )
    small = [tier.tier for tier in required.tiers if not tier.fits]
    if small:
        yield f"{format_bytes(required.epoch_bytes)} do not fit on {', '.join(small)}."


def _balance(ratio: float) -> str:
    """Say how many bytes are read for each byte written, or the other way round. ratio: read / written, above 0."""
    more, done, other = (ratio, "read", "written") if ratio >= 1 else (1 / ratio, "written", "read")
    number = in_count(round(more)) if more >= 100 else format_number(more)
    counted = f"{number} bytes are {done} for each byte {other}."
    return f"{'Reads' if ratio >= 1 else 'Writes'} dominate: {counted}" if more >= _DOMINATES else counted


def in_count(count: int) -> str:
    """Write a count: billions with three digits, smaller numbers in full."""
    if count < 10**9:
        return f"{count:,}"
    billions = count / 1e9
    return f"{format_number(billions)} billion"


def _on_tier(data: DatasetSizes, tier: Tier, setting: Setting) -> TierRequirement:
    stored = stored_on(tier, data, "folder")
    cold = predict(data, tier, "folder", epochs=1, loading=setting.loading, costs=setting.costs)
    nodes = 1 if tier.network else setting.loading.nodes
    copies = nodes if tier.holds(stored) else 1
    fits = tier.holds(-(-stored // nodes))
    room = bill_of_copies(stored_objects(data, tier, "folder"), tier, copies, nodes).total
    return TierRequirement(tier.name, room, fits, cold.first_epoch_s)


def _on_nodes(
    data: DatasetSizes,
    origin: Tier,
    store_format: Format,
    cache: Tier | None,
    ram: int,
    setting: Setting,
    target_s: float | None,
) -> Iterator[NodesRequirement]:
    local_bytes = (cache.capacity or data.bytes) if cache is not None else 0
    if ram + local_bytes <= 0:
        return
    whole = -(-data.bytes // (ram + local_bytes))
    for nodes in sorted({*(count for count in _NODES if count < whole), whole}):
        share = -(-data.bytes // nodes)
        kept = min(ram, share)
        local = min(local_bytes, share - kept)
        plan = CachePlan(ram=kept, fill_once=True, local=local, local_tier=cache if local else None)
        how = replace(setting.loading, nodes=nodes)
        found = predict(data, origin, store_format, cache=plan, epochs=1, loading=how, costs=setting.costs)
        left = round(data.bytes * (1 - found.hit_ratio))
        yield NodesRequirement(
            nodes=nodes,
            cache_bytes=kept + local,
            hit_ratio=found.hit_ratio,
            origin_bytes=left,
            origin_bytes_per_s=left / target_s if target_s else None,
            epoch_s=found.steady_epoch_s,
            cache_usd=nodes * room_usd(local, cache) if cache is not None else 0.0,
        )
