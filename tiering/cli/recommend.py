"""`tiering recommend`: where and how to keep a dataset, and what that gains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.choices import MOST_WORKERS, Catalog, Epochs, Ram
from tiering.cli.output import JsonFlag, emit_json, note, status
from tiering.errors import InputError, UsageError
from tiering.system.machine import half_of_memory
from tiering.units import parse_capacity, parse_count, parse_number, parse_seconds

if TYPE_CHECKING:
    from tiering.advice.cpu_costs import Costs
    from tiering.dataset.profile import DatasetProfile
    from tiering.workload.profile import Profile


def recommend(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET|PROFILE", help="Directory of images, or its profile.json.")
    ],
    ram: Ram = None,
    epochs: Epochs = "100",
    tier: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Tier that holds the dataset now, such as nvme, hdd, nfs or object."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", help="Limit: monthly cost of storage and requests.")
    ] = None,
    max_epoch_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Limit: time of an epoch, such as 30min or 2h.")
    ] = None,
    capacity: Annotated[
        list[str] | None,
        typer.Option(metavar="TIER=SIZE", help="Limit: capacity of a tier. Replaces the catalog's. May be repeated."),
    ] = None,
    must_keep_originals: Annotated[
        bool,
        typer.Option("--must-keep-originals", help="Limit: only formats that keep the original files byte for byte."),
    ] = False,
    samples_per_second: Annotated[
        str | None,
        typer.Option(metavar="COUNT", help="Samples per second the training job can consume, such as 3000 or 1M."),
    ] = None,
    gpu_utilisation: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Limit: share of the time that the GPU must be busy, such as 0.9."),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Shape that training resizes images to. Also considers storing pixels."),
    ] = None,
    encoded: Annotated[
        bool,
        typer.Option("--encoded", help="Training takes encoded images and decodes them itself, such as on a GPU."),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_WORKERS,
            metavar="COUNT",
            help="Threads of the loader. By default the cores of this machine.",
        ),
    ] = None,
    nodes: Annotated[
        int, typer.Option(min=1, max=MOST_WORKERS, metavar="COUNT", help="Nodes that share each epoch.")
    ] = 1,
    checkpoint_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Size of one checkpoint.")] = None,
    checkpoint_every: Annotated[
        str, typer.Option(metavar="COUNT", help="Epochs from one checkpoint to the next.")
    ] = "1",
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="First measure this processor with some of the images. Takes about 10 s."),
    ] = False,
    hour_price: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="USD",
            help="What an hour of waiting for data costs, for each node. By default 2; with --samples-per-second, the "
            "job must not wait, whatever that costs.",
            show_default=False,
        ),
    ] = None,
    catalog: Catalog = None,
    json: JsonFlag = False,
) -> None:
    """Recommend the storage tier, the packed format, the codec and the cache for a dataset.

    Predicts the time and cost of every feasible combination, drops those that break a limit, and ranks the rest. If the
    profile contains a trace, the advice is for the workload of that trace. Nothing is changed.

    Example: `tiering recommend profile.json --tier nfs --ram 64GiB --epochs 90 --max-epoch-time 30min`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.advice.catalog import load_catalog
    from tiering.advice.constraints import Limits
    from tiering.advice.recommend import Job
    from tiering.advice.recommend import recommend as run
    from tiering.cli.advised import show
    from tiering.images.pixels import parse_size
    from tiering.workload.profile import profile_at

    tiers = load_catalog(catalog)
    limits = Limits(
        budget_usd=budget,
        max_epoch_s=None if max_epoch_time is None else parse_seconds(max_epoch_time),
        capacity=dict(_capacity(text) for text in capacity or []),
        keep_originals=must_keep_originals,
        gpu_utilisation=gpu_utilisation,
    )
    shape = None if resize is None else parse_size(resize)
    with status(f"Reading {dataset}"):
        profile = profile_at(dataset)
    if profile.dataset is None:
        raise InputError(
            str(dataset),
            expected="the profile of a dataset",
            found="traces alone",
            action="Make it with the dataset: tiering profile DATASET --trace FILE -o profile.json",
        )
    job = Job(
        epochs=parse_count(epochs),
        decode=not encoded,
        resize=shape,
        nodes=nodes,
        ram=parse_capacity(ram) if ram is not None else half_of_memory(),
        hour_usd=hour_price,
        samples_per_s=None if samples_per_second is None else parse_number(samples_per_second),
        checkpoint_bytes=None if checkpoint_size is None else parse_capacity(checkpoint_size),
        checkpoint_every=parse_count(checkpoint_every),
        written_per_day=_written_per_day(profile),
        **({} if threads is None else {"threads": threads}),
    )
    verdict = None
    if profile.traces:
        from tiering.workload.verdict import classify

        verdict = classify(profile.traces[0])
    found = run(
        profile.dataset,
        verdict=verdict,
        tiers=tiers,
        job=job,
        limits=limits,
        current=tier,
        costs=_costs(profile.dataset, shape) if calibrate else None,
    )
    if len(profile.traces) > 1:
        note(f"Note: The profile has {len(profile.traces)} traces; only the first counts, {profile.traces[0].source}.")
    if json:
        emit_json(found, "recommendation")
        return
    show(found, profile.dataset.root, shape)


def _capacity(text: str) -> tuple[str, int]:
    name, equals, size = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--capacity {text}", expected="TIER=SIZE such as nvme=2TB", found=repr(text))
    return name, parse_capacity(size)


def _written_per_day(profile: Profile) -> float | None:
    first = profile.traces[0] if profile.traces else None
    if first is None or not first.duration or first.duration < 0:
        return None
    return first.bytes_written / first.duration * 86400


def _costs(dataset: DatasetProfile, shape: tuple[int, int] | None) -> Costs:
    from tiering.measure.calibration import calibrate
    from tiering.store.open import open_store

    with status("Measuring this processor"):
        return calibrate(open_store(dataset.root).files(), shape)
