"""What `tiering bench` prints: how fast each store served its epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiering.cli.emulated import show_emulated
from tiering.cli.output import note, out, table
from tiering.units import counted, format_count, format_percent, format_rate, format_seconds

if TYPE_CHECKING:
    from tiering.images.crops import RandomResizedCrop
    from tiering.measure.emulated_job import EmulatedJob
    from tiering.measure.measurement import Measurement


def show(found: list[Measurement], crop: RandomResizedCrop | None, job: EmulatedJob | None, tier: str | None) -> None:
    """Print the measurements. crop: what images were made into; job, tier: what was emulated, and predicted for."""
    if crop is None:
        _say_what_was_served(found[0].store)
    else:
        _say_what_was_made(crop)
    if job is None:
        (_show_ready if crop else _show)(found)
    else:
        show_emulated(found, job, tier)
    _show_hits(found)
    if not all(each.cold for each in found):
        note("Some files stayed in the page cache, so their first epoch was not cold.")


def _say_what_was_served(store: str) -> None:
    from tiering.measure.decoding import decode_seconds
    from tiering.system.machine import usable_cores

    seconds = decode_seconds(store)
    if seconds is None:
        note("Nothing was decoded: the store holds pixels, or images that this machine cannot decode.")
        return
    cores = usable_cores()
    note(
        f"Encoded images were served, and not decoded. Decoding one takes {format_seconds(seconds)} in one thread, so "
        f"{cores} core{'s' if cores > 1 else ''} decode at most {format_count(cores / seconds)}/s. `tiering recommend` "
        "counts decoding; with --encoded it does not."
    )


def _show(found: list[Measurement]) -> None:
    shown = table("store", "kind", "epoch", "samples/s", "throughput", "of device", "vs folder")
    for each in found:
        share = "-" if each.first_vs_device is None else format_percent(each.first_vs_device)
        first = format_count(each.first_samples_per_s), format_rate(each.first_bytes_per_s), share
        later = format_count(each.later_samples_per_s), format_rate(each.later_bytes_per_s), "-"
        shown.add_row(each.store, each.kind, _first_epoch(each), *first, _times(each.first_vs_folder))
        shown.add_row("", "", "later", *later, _times(each.later_vs_folder))
    out().show(shown, drop=("of device", "kind", "throughput"))
    if limits := {format_rate(each.device_bytes_per_s) for each in found if each.device_bytes_per_s}:
        note(f"The device: {' and '.join(sorted(limits))} by random direct reads of 128 KiB, 32 at a time.")


def _say_what_was_made(crop: RandomResizedCrop) -> None:
    from tiering.images.picture import NATIVE
    from tiering.system.machine import usable_cores

    cores, (height, width) = usable_cores(), crop.sides
    how = "by the C extension" if NATIVE else "without the C extension, which is about twice as fast"
    note(
        f"Batches of random crops, 3 x {height} x {width} uint8: decoded, resized (antialiased) and flipped {how}, "
        f"on {counted(cores, 'thread')}."
    )


def _show_ready(found: list[Measurement]) -> None:
    shown = table("store", "kind", "epoch", "images/s", "per CPU-second", "vs folder")
    for each in found:
        per_cpu = format_count(each.samples / each.later_cpu_seconds) if each.later_cpu_seconds else "-"
        first, later = format_count(each.first_samples_per_s), format_count(each.later_samples_per_s)
        shown.add_row(each.store, each.kind, _first_epoch(each), first, "", _times(each.first_vs_folder))
        shown.add_row("", "", "later", later, per_cpu, _times(each.later_vs_folder))
    out().show(shown, drop=("kind", "vs folder"))


def _first_epoch(measured: Measurement) -> str:
    return "first, cold" if measured.cold else "first, cached"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f} x"


def _show_hits(found: list[Measurement]) -> None:
    """Print the measured hit ratio of caches beside the predicted one."""
    for each in found:
        if each.hit_ratio is not None:
            note(
                f"{each.store}: {format_percent(each.hit_ratio, digits=3)} of later epochs' samples "
                f"came from the cache; predicted {format_percent(each.predicted_hit_ratio or 0.0, digits=3)}."
            )
