"""`tiering recommend`: where and how to keep a dataset, and what that gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.choices import Catalog, Epochs, OfCloud, Ram
from tiering.cli.job_options import (
    HOSTS,
    JOB,
    LIMITS,
    Accelerator,
    AcceleratorsPerNode,
    CheckpointEvery,
    CheckpointSize,
    Cpus,
    KeptDays,
    Network,
    Nodes,
    Originals,
    Prefixes,
    Processes,
    ReaderPlace,
    RunsPerMonth,
    Threads,
)
from tiering.cli.output import JsonFlag, emit_json, note, status
from tiering.errors import InputError, UsageError
from tiering.system.machine import half_of_memory
from tiering.units import parse_capacity, parse_count, parse_network_rate, parse_number, parse_seconds

if TYPE_CHECKING:
    from tiering.advice.cpu_costs import Costs
    from tiering.dataset.profile import DatasetProfile
    from tiering.workload.profile import Profile


def recommend(
    dataset: Annotated[
        str,
        typer.Argument(metavar="DATASET|PROFILE", help="Directory of images, or its profile.json. Path or URL."),
    ],
    ram: Ram = None,
    epochs: Epochs = "100",
    tier: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Tier that holds the dataset now, such as nvme, hdd, nfs or object. By default the one that the "
            "mount table shows.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(rich_help_panel=LIMITS, metavar="USD", help="Monthly cost of storage and requests.")
    ] = None,
    max_epoch_time: Annotated[
        str | None, typer.Option(rich_help_panel=LIMITS, metavar="TIME", help="Time of an epoch, such as 30min or 2h.")
    ] = None,
    capacity: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=LIMITS,
            metavar="TIER=SIZE",
            help="Capacity of a tier. Replaces the catalog's. May be repeated.",
        ),
    ] = None,
    no_packing: Annotated[
        bool, typer.Option("--no-packing", rich_help_panel=LIMITS, help="The files stay single files or objects.")
    ] = False,
    must_keep_originals: Annotated[
        bool,
        typer.Option(
            "--must-keep-originals",
            rich_help_panel=LIMITS,
            help="Only formats that keep the original files byte for byte.",
        ),
    ] = False,
    samples_per_second: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=JOB,
            metavar="COUNT",
            help="Samples per second the training job can consume, such as 3000 or 1M.",
        ),
    ] = None,
    accelerator: Accelerator = None,
    accelerators_per_node: AcceleratorsPerNode = None,
    gpu_utilisation: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=LIMITS, metavar="SHARE", help="Share of the time that the GPU must be busy, such as 0.9."
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=JOB,
            metavar="HxW",
            help="Shape that training resizes images to. Also considers storing pixels.",
        ),
    ] = None,
    reencode: Annotated[
        bool,
        typer.Option(
            "--reencode",
            rich_help_panel=JOB,
            help="Training may read re-encoded images: also choose from stores made for training. The originals stay. "
            "A directory's images are measured for it, which takes about 5 s.",
        ),
    ] = False,
    encoded: Annotated[
        bool,
        typer.Option(
            "--encoded",
            rich_help_panel=JOB,
            help="Training takes encoded images and decodes them itself, such as on a GPU.",
        ),
    ] = False,
    threads: Threads = None,
    processes: Processes = 1,
    cpus: Cpus = None,
    network: Network = None,
    prefixes: Prefixes = None,
    nodes: Nodes = 1,
    checkpoint_size: CheckpointSize = None,
    checkpoint_every: CheckpointEvery = "1",
    originals: Originals = "cheapest",
    read_p99: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=LIMITS,
            metavar="TIME",
            help="Time in which 99 of 100 single reads are answered, such as 5ms.",
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            rich_help_panel=HOSTS,
            help="First measure this processor with some of the images. Takes about 10 s, with --reencode 25 s.",
        ),
    ] = False,
    hour_price: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=JOB,
            min=0,
            metavar="USD",
            help="What an hour of waiting for data costs, for each node. By default 2, or what its accelerators cost; "
            "with --samples-per-second alone, the job must not wait, whatever that costs.",
            show_default=False,
        ),
    ] = None,
    runs_per_month: RunsPerMonth = "1",
    reads_from: ReaderPlace = "same-zone",
    kept_days: KeptDays = None,
    catalog: Catalog = None,
    cloud: OfCloud = None,
    json: JsonFlag = False,
) -> None:
    """Recommend the storage tier, the packed format, the codec and the cache for a dataset.

    Predicts the time and cost of every feasible combination, drops those that break a limit, and ranks the rest. If the
    profile contains a trace, the advice is for the workload of that trace. Nothing is changed.

    Example: `tiering recommend profile.json --tier nfs --ram 64GiB --epochs 90 --max-epoch-time 30min`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.advice.accelerators import with_accelerators
    from tiering.advice.catalog import load_catalog
    from tiering.advice.constraints import Limits
    from tiering.advice.current_tier import current_tier
    from tiering.advice.job import Job
    from tiering.advice.recommend import recommend as run
    from tiering.cli.advised import show
    from tiering.images.shape import parse_size
    from tiering.workload.profile import profile_at

    tiers = load_catalog(catalog, cloud=cloud)
    limits = Limits(
        budget_usd=budget,
        max_epoch_s=None if max_epoch_time is None else parse_seconds(max_epoch_time),
        capacity=dict(_capacity(text) for text in capacity or []),
        keep_originals=must_keep_originals,
        single_files=no_packing,
        gpu_utilisation=gpu_utilisation,
        read_p99_s=None if read_p99 is None else parse_seconds(read_p99),
    )
    shape = None if resize is None else parse_size(resize)
    with status(f"Reading {dataset}"):
        profile = profile_at(dataset, reencoded=reencode)
    if profile.dataset is None:
        raise InputError(
            dataset,
            expected="the profile of a dataset",
            found="traces alone",
            action="Make it with the dataset: tiering profile DATASET --trace FILE -o profile.json",
        )
    every, every_s = _interval(checkpoint_every)
    job = Job(
        epochs=parse_count(epochs),
        decode=not encoded,
        resize=shape,
        nodes=nodes,
        ram=parse_capacity(ram) if ram is not None else half_of_memory(),
        hour_usd=hour_price,
        samples_per_s=None if samples_per_second is None else parse_number(samples_per_second),
        checkpoint_bytes=None if checkpoint_size is None else parse_capacity(checkpoint_size),
        originals=originals,
        written_per_day=_written_per_day(profile),
        runs_per_month=parse_number(runs_per_month),
        reads_from=reads_from,
        kept_days=kept_days,
        checkpoint_every=every,
        checkpoint_every_s=every_s,
        threads=threads,
        processes=processes,
        cpus=cpus,
        network=None if network is None else parse_network_rate(network),
        prefixes=prefixes,
        reencode=reencode,
    )
    if accelerator is not None:
        job = with_accelerators(job, accelerator, accelerators_per_node or 1, cloud)
    elif accelerators_per_node is not None:
        raise UsageError("--accelerators-per-node", expected="--accelerator beside it", found="none")
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
        current=tier or current_tier(profile.dataset.root, tiers),
        costs=_costs(profile.dataset, shape, reencoded=reencode) if calibrate else None,
    )
    if len(profile.traces) > 1:
        note(f"Note: The profile has {len(profile.traces)} traces; only the first counts, {profile.traces[0].source}.")
    if json:
        emit_json(found, "recommendation")
        return
    show(found)


def _interval(text: str) -> tuple[int, float | None]:
    """Return the epochs, or the seconds, of `--checkpoint-every`: a plain number counts epochs."""
    try:
        return parse_count(text), None
    except UsageError:
        pass
    try:
        return 1, parse_seconds(text)
    except UsageError as error:
        expected = "epochs such as 10, or a time such as 30min"
        raise UsageError(f"--checkpoint-every {text}", expected=expected, found=repr(text)) from error


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


def _costs(dataset: DatasetProfile, shape: tuple[int, int] | None, *, reencoded: bool) -> Costs:
    from tiering.measure.calibration import calibrate
    from tiering.store.open import open_store

    with status("Measuring this processor"), open_store(dataset.root) as store:
        return calibrate(store.files(), shape, reencoded=reencoded)
