"""The originals beside stores made for training: each in its best way, with what it saves and what it loses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tiering.advice.case import Case
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.feasible_options import for_training
from tiering.advice.option import Option
from tiering.advice.prediction import Setting
from tiering.advice.recommendation import Form
from tiering.advice.training_stores import TrainingStore
from tiering.dataset.reencoded_sample import LOW
from tiering.dataset.training_copy import VIEW
from tiering.errors import UsageError
from tiering.units import format_count, format_percent


def options_of(store: TrainingStore, case: Case) -> list[Option]:
    """Return every way to keep a store made for training."""
    ways = for_training(case.catalog, store.data, case.home, case.job.ram, store.setting, store.formats)
    return [replace(option, format=store.name) for option in ways]


def forms_of(
    stores: Sequence[tuple[TrainingStore, Sequence[Option]]],
    originals: Sequence[Option],
    choice: Option,
    data: DatasetSizes,
    setting: Setting,
    case: Case,
) -> tuple[list[Form], list[str]]:
    """Return the originals and each store made for training in its best way, and why others are missing.

    Args:
        stores: The stores, each with all ways to keep it, before they were judged.
        originals: All ways to keep the originals, and pixels of one shape, before they were judged.
        choice: The choice.
        data: The originals.
        setting: What the predictions of originals share.
        case: What all options share.
    """
    forms, missing = [], []
    decode, decodes = setting.costs.decode.seconds, setting.loading.decode
    try:
        plain = [option for option in originals if option.has_originals]
        best = choice if choice.has_originals else case.best(case.judged(plain)[0])[0]
    except UsageError as error:
        missing.append(f"Originals: {error.found}.")
    else:
        rate = 1 / decode if decodes and decode else None
        size = data.bytes
        forms.append(Form("originals", best, True, size, size, size, 1.0, rate, setting.costs.measured))
    for store, options in stores:
        try:
            best = choice if choice.format == store.name else case.best(case.judged(options)[0])[0]
        except UsageError as error:
            missing.append(f"{store.name}: {error.found}.")
            continue
        seconds = store.decoding.seconds
        forms.append(
            Form(
                store.name, best, case.job.reencode, store.data.bytes, store.low, store.high,
                store.data.bytes / data.bytes, 1 / seconds if decodes and seconds else None, store.measured,
                store.figures,
            )
        )  # fmt: skip
    return forms, missing


def in_words(forms: Sequence[Form], case: Case) -> Iterator[str]:
    """Say what the figures of stores made for training rest on, and what the choice does not consider."""
    stores = [form for form in forms if form.name != "originals"]
    if not stores:
        return
    figures = stores[0].figures
    if figures is None:
        yield (
            "The sizes and rates of re-encoded stores are those of typical photographs, and what they lose is not "
            "known: a profile with `reencoded` measures it on some of the images."
        )
    else:
        yield (
            f"The sizes of re-encoded stores, SSIM and PSNR are measured on {figures.images} of the images. SSIM and "
            "PSNR compare what training sees: the middle of each picture, a square of half its area, as "
            f"{VIEW} x {VIEW} pixels. {format_percent(LOW)} of the images do not reach the SSIM in brackets."
        )
    areas = [form.figures.area for form in stores if form.figures is not None and form.figures.cuts_edges]
    if areas:
        kept = format_percent(min(areas))
        yield f"Pixels of one shape keep the middle of each picture: {kept} of its area on average."
    if case.job.reencode:
        yield "Stores made for training were allowed (`reencode`). The originals stay; such a store can be made again."
        return
    quicker = [form for form in stores if form.option.run_s(case.passes) < 0.95 * _originals_s(forms, case.passes)]
    if quicker:
        names = ", ".join(f"{form.name} {format_count(form.option.samples_per_s)} samples/s" for form in quicker)
        yield (
            f"Only originals were chosen from. Stores made for training would be quicker: {names}. `reencode` allows "
            "them."
        )


def _originals_s(forms: Sequence[Form], passes: int) -> float:
    return next((form.option.run_s(passes) for form in forms if form.name == "originals"), float("inf"))
