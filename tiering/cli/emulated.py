"""How `tiering bench` shows the utilisation of an emulated training job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tiering.cli.output import note, out, table
from tiering.units import (
    counted,
    format_bytes,
    format_count,
    format_number,
    format_percent,
    format_rate,
    format_seconds,
)

if TYPE_CHECKING:
    from tiering.measure.emulated_job import EmulatedJob
    from tiering.measure.measurement import Measurement, Utilisation

#: Samples whose mean size differs by this factor from the emulated model's put another load on storage.
_ALIKE: Final = 1.25
#: With fewer steps, a single late one changes the result much.
_FEW_STEPS: Final = 10


#: The measurement of a store, and the utilisation in it.
_Busy = tuple["Measurement", "Utilisation"]


def show_emulated(found: list[Measurement], job: EmulatedJob, tier: str | None) -> None:
    """Print the utilisation of each store, cold and warm, beside the predicted one, and what it rests on."""
    stores = [(each, each.utilisation) for each in found if each.utilisation is not None]
    shown = table("store", "kind", "epoch", "samples/s", "throughput", "utilisation", "predicted")
    for each, busy in stores:
        rows = (
            ("first, cold" if each.cold else "first, cached", each.first_samples_per_s, each.first_bytes_per_s,
             busy.first, busy.predicted_first),
            ("later", each.later_samples_per_s, each.later_bytes_per_s, busy.later, busy.predicted_later),
        )  # fmt: skip
        for number, (epoch, samples, size, measured, predicted) in enumerate(rows):
            head = ("", "") if number else (each.store, each.kind)
            shown.add_row(*head, epoch, format_count(samples), format_rate(size), _share(measured), _share(predicted))
    out().show(shown, drop=("throughput", "kind"))
    asked = "" if job.required is None else f" MLPerf Storage asks for {format_percent(job.required)}."
    note(
        f"Emulated: {job.name}: {counted(job.batch_size, 'sample')} in {format_seconds(job.step_s)}, "
        f"{format_count(job.samples_per_s)} samples/s. Utilisation: its share of the time after the first step.{asked}"
    )
    _note_sizes(stores)
    _note_steps(stores)
    _note_prediction(stores, tier)


def _share(value: float | None) -> str:
    return "-" if value is None else format_percent(value, digits=3)


def _note_sizes(stores: list[_Busy]) -> None:
    for each, busy in stores:
        if busy.emulated_sample_bytes is None:
            continue
        ratio = busy.sample_bytes / busy.emulated_sample_bytes
        if not 1 / _ALIKE < ratio < _ALIKE:
            note(
                f"{each.store}: samples have {format_bytes(busy.sample_bytes)} on average, those of the emulated model "
                f"{format_bytes(busy.emulated_sample_bytes)}: this job reads {format_number(ratio)} x as many bytes."
            )


def _note_steps(stores: list[_Busy]) -> None:
    steps = min(busy.steps for _, busy in stores)
    if steps < _FEW_STEPS:
        note(
            f"An epoch has only {steps} step{'s' if steps > 1 else ''}, and the first does not count: a smaller "
            "--batch-size makes utilisation steadier."
        )


def _note_prediction(stores: list[_Busy], tier: str | None) -> None:
    rates = {format_rate(each.device_bytes_per_s) for each, _ in stores if each.device_bytes_per_s}
    if any(busy.predicted_later is not None for _, busy in stores):
        device = f"the measured {' and '.join(sorted(rates))} of the device, with the latency of NVMe" if rates else ""
        where = f"the figures of {tier}" if tier is not None else device
        note(f"Predicted from {where}{', and ' if where else ''}this processor, measured with some of the samples.")
    for each, busy in stores:
        if busy.predicted_later is None:
            note(f"{each.store}: not predicted, because it is behind a cache.")
        elif busy.predicted_first is None:
            note(
                f"{each.store}: its cold epoch is not predicted, because its device could not be measured: give --tier."
            )
