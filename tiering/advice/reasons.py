"""The reasons behind options, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tiering.advice.catalog import Tier, find_tier, tier_named
from tiering.advice.checkpoints import checkpoint_plans
from tiering.advice.job import Job
from tiering.advice.option import Option
from tiering.advice.wear import WARRANTY_YEARS, life_years
from tiering.units import (
    MONTH_SECONDS,
    counted,
    format_bytes,
    format_number,
    format_percent,
    format_seconds,
    format_usd,
)

if TYPE_CHECKING:
    from tiering.workload.verdict import Verdict

_PACE: Final = {
    "device": "The device's random reads set the pace.",
    "open latency": "Opening a file for every sample sets the pace.",
    "network": "The network of the nodes sets the pace: no faster storage behind it would help.",
    "CPU copy": "Copying the bytes sets the pace: no faster storage would help.",
    "decoding": "Decoding on the processor sets the pace: no faster storage would help.",
    "all cores": "The processor as a whole sets the pace: more threads would not help.",
    "training job": "The training job sets the pace: it never waits for data.",
}
_HOW: Final = {
    "folder": "Plain files: nothing to convert, but every sample opens a file.",
    "lmdb": "One packed store without a file to open for each sample, and the known order is announced ahead.",
    "zarr": "One packed store without a file to open for each sample, readable by any Zarr v3 reader.",
    "jpeg-400": "Re-encoded to a longest side of 400 pixels: fewer bytes to read, and less to decode. Detail is lost.",
    "jpeg-256": "Re-encoded to a longest side of 256 pixels: far fewer bytes, and little to decode. Detail is lost.",
    "pixels-256": "Decoded once to 256 x 256 pixels, from which training takes its crops. Edges and detail are lost.",
    "pixels": "Decoded once instead of every epoch, in one packed store. Keep the originals: it does not hold them.",
}
#: Share of the time between two checkpoints that writing one may take without a note.
_LONG_CHECKPOINT: Final = 0.01


def reason_for_training(option: Option) -> str:
    """Return why a workload that reads again would want this option, and its bottleneck."""
    parts = [_HOW[option.format], *_order(option), *_copies(option), *_bought(option)]
    hits = format_percent(option.hit_ratio)
    if option.cache_ram or option.cache_local:
        parts.append(f"The cache answers {hits} of the reads after the first epoch.")
    elif option.cache != "none":
        parts.append(f"The kernel's page cache answers {hits} of the reads after the first epoch.")
    parts.extend(_loading(option))
    parts.append(_PACE[option.bottleneck])
    if option.stall_fraction is not None and option.stall_fraction >= 0.005:
        parts.append(f"The training job waits {format_percent(option.stall_fraction)} of the time.")
    pace = (
        f"{format_number(option.speedup)} times as fast as the folder now"
        if option.speedup >= 1.005
        else f"{format_number(1 / option.speedup)} times as slow as the folder now"
        if option.speedup <= 0.995
        else "as fast as the folder now"
    )
    parts.append(f"A steady epoch takes {format_seconds(option.steady_epoch_s)}; a run is {pace}.")
    return " ".join((*parts, *option.warnings))


def _order(option: Option) -> Iterator[str]:
    if option.order == "block":
        yield (
            'It is served with shuffle="block": blocks of neighbouring samples, each read with one request. '
            "Converting puts samples in random order, so neighbours have nothing in common."
        )


def _bought(option: Option) -> Iterator[str]:
    if option.provisioned:
        yield "It is bought with the speed that the job needs, not only with room for the data."
    if option.remote and option.bill.egress >= 0.005:
        yield f"Reading it from where the nodes are costs {format_usd(option.bill.egress)} USD of egress a month."


def _copies(option: Option) -> Iterator[str]:
    """Say what lies on the disks of several nodes."""
    if option.copies > 1:
        each = format_usd(option.monthly_usd_per_node)
        yield f"Each of the {option.nodes} nodes holds a copy: {each} USD a month each."
    elif not option.shared and option.nodes > 1:
        yield (
            f"No node's disk holds it all: each of the {option.nodes} nodes holds its share, and serves that with "
            'shuffle="sticky".'
        )


def _loading(option: Option) -> Iterator[str]:
    """Say what it takes to fill the nodes' own disks, which new nodes have empty."""
    if option.loading_s:
        cost = f" and {format_usd(option.loading_usd)} USD of reads" if option.loading_usd >= 0.005 else ""
        yield f"New nodes load their disks first, which takes {format_seconds(option.loading_s)}{cost} each time."


def conversion(option: Option, epochs: int) -> str:
    """Return the cost of getting to an option, and when that pays. epochs: of a run; 0 where nothing reads it."""
    if not option.move_s and option.by_rule:
        usd = f", for {format_usd(option.move_usd)} USD once" if option.move_usd >= 0.005 else ""
        return f"A lifecycle rule of the bucket moves it{usd}; nothing has to be read."
    if not option.move_s:
        return "Nothing has to be converted or moved."
    doing = "Moving it" if option.format == "folder" else "Packing"
    cost, joint = f"{doing} takes {format_seconds(option.move_s)}", " and"
    if option.move_usd >= 0.005:
        cost, joint = f"{cost} and {format_usd(option.move_usd)} USD for reading and writing", ", and"
    if not epochs:
        return f"{cost}."
    pays = option.pays_back_epochs
    if pays is None:
        return f"{cost}; it makes no epoch faster, so only lower storage costs can pay for it."
    late = f", more than a run of {epochs:,} has" if pays > epochs else ""
    return f"{cost}{joint} pays back after {_epochs(pays)}{late}."


def _epochs(count: float) -> str:
    if count < 0.05:
        return "the first epoch"
    return f"{count:,.0f} epochs" if count >= 100 else f"{count:.1f} epochs"


def reason_for_one_pass(option: Option) -> str:
    """Return why data that is read once is streamed from where it is."""
    return (
        f"Read once: stream it from {option.tier_title}, file after file; do not cache it. Packing would read all of "
        "it a second time, and nothing would ever read the cache. The one pass takes "
        f"{format_seconds(option.first_epoch_s)}."
    )


def reason_for_writes(option: Option, catalog: Sequence[Tier], written_per_day: float | None) -> str:
    """Return why a write-heavy workload would want this option, and the wear. written_per_day: bytes, where known."""
    by_name = {tier.name: tier for tier in catalog}
    parts = ["Mostly written, seldom read again: do not pack it. Packed stores are written once and read often."]
    if option.cache_tier is not None:
        front = by_name[option.cache_tier]
        parts.append(
            f"Writes land on {format_bytes(option.cache_local)} of {front.title} first and move to "
            f"{option.tier_title} later, in order."
        )
        parts.extend(_endurance(front, option.cache_local, written_per_day))
    else:
        parts.extend(_endurance(by_name[option.tier], None, written_per_day))
    if option.speedup < 0.995:
        parts.append(
            f"Reading it once takes {format_seconds(option.first_epoch_s)}, {format_number(1 / option.speedup)} times "
            "as slow as the folder now."
        )
    parts.append("Old data may move on to an archive.")
    return " ".join(parts)


def _endurance(tier: Tier, size: int | None, written_per_day: float | None) -> Iterator[str]:
    if tier.endurance is None:
        return
    whole = size if size is not None else tier.capacity
    rating = f"{format_number(tier.endurance)} drive write{'s' if tier.endurance != 1 else ''} a day"
    yield f"{tier.title[:1].upper()}{tier.title[1:]} is rated for {rating}" + (
        f": {format_bytes(whole * tier.endurance)} a day on {format_bytes(whole)}." if whole else "."
    )
    years = life_years(tier, whole, written_per_day) if whole and written_per_day else None
    if years is not None and written_per_day is not None:
        advice = " Take a larger or a write-intensive device." if years < WARRANTY_YEARS else ""
        lasts = f"{years:,.1f} years" if years < 100 else "more than 100 years"
        if years < 1:
            lasts = format_seconds(years * 12 * MONTH_SECONDS)
        yield f"The trace writes {format_bytes(written_per_day)} a day: it lasts {lasts}.{advice}"
    else:
        yield "No trace shows how much is written a day, so its life is not known."


def checkpoint_advice(option: Option, catalog: Sequence[Tier], job: Job) -> Iterator[str]:
    """Say how long checkpoints hold up the job, and where to write them instead."""
    tier, size = find_tier(catalog, option.tier), job.checkpoint_bytes
    if not size or tier is None or option.checkpoint_fraction <= _LONG_CHECKPOINT:
        return
    every_s = option.steady_epoch_s * job.checkpoint_every if job.checkpoint_every_s is None else job.checkpoint_every_s
    yield (
        f"A checkpoint of {format_bytes(size)} takes {format_seconds(option.checkpoint_fraction * every_s)} on "
        f"{tier.title}, of {format_seconds(every_s)} between two: the job waits "
        f"{format_percent(option.checkpoint_fraction)} of the time for it."
    )
    best = next(iter(checkpoint_plans(catalog, size, every_s, nodes=option.nodes, hour_usd=job.hour_usd)), None)
    if best is None:
        return
    if best.stall_fraction < option.checkpoint_fraction:
        first = "first" if best.drained_to is None else f"first, and let it drain to {best.drained_to}"
        title = tier_named(catalog, best.tier, "tier").title
        yield f"Write it to {title} {first}: {format_seconds(best.write_s)}."
    if best.life_years is not None and best.life_years < WARRANTY_YEARS:
        yield f"At that rate the drives of {best.tier} last {best.life_years:.1f} years."


def long_run(option: Option, epochs: int, nodes: int) -> Iterator[str]:
    """Say that a run takes longer than the month that the costs assume."""
    run_s = option.run_s(epochs)
    if run_s > MONTH_SECONDS:
        more = "several nodes can share it (`nodes`)" if nodes == 1 else "more nodes or fewer epochs shorten it"
        yield f"A run of {counted(epochs, 'epoch')} takes {format_seconds(run_s)} this way: {more}."


def certainty(verdict: Verdict | None) -> Iterator[str]:
    """Say what the advice rests on, and how certain that is."""
    if verdict is None:
        yield "Without a trace, this is advice for training, which reads everything again every epoch."
        return
    sure = format_percent(verdict.probability)
    if verdict.workload == "read-once" and not verdict.is_single_pass:
        yield (
            f"The trace looks like a single pass ({sure}), but it does not cover the whole run, and a first epoch "
            "looks the same: this is advice for training. A trace of the whole run would decide it."
        )
    elif verdict.workload in {"inconclusive", "mixed"}:
        yield (
            f"The trace is {verdict.workload}: this is advice for training, and holds only if the data is read again. "
            "A longer trace would decide it."
        )
    else:
        yield f"The trace is {verdict.workload} with a probability of {sure}, which bounds how sure this advice is."
    yield from verdict.notes


def where_it_is(home: Tier, stay: Option) -> Iterator[str]:
    """Say what is assumed of the dataset where it is now. home: its tier; stay: the dataset as it is."""
    if stay.copies > 1:
        disks = home.title.removeprefix("local ")
        yield f"The dataset is taken to be on the {disks} of all {stay.nodes:,} nodes now: {stay.copies:,} copies."
    if not home.holds(-(-stay.stored // (1 if stay.shared else stay.nodes))):
        yield (
            f"{home.title} holds {format_bytes(home.capacity or 0)}, less than the dataset: its figures are those of a "
            "larger one."
        )
