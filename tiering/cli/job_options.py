"""Options that say what a training job needs: its accelerators, hosts, checkpoints, limits and bill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from tiering.cli import completion
from tiering.cli.choices import MOST_WORKERS, Catalog, Epochs, OfCloud, Ram, either
from tiering.cli.panels import BILL, HOSTS, JOB, LIMITS, STORAGE
from tiering.literals import OriginalFiles, ReadsFrom


def _count(panel: str, text: str, *, most: int | None = MOST_WORKERS) -> Any:
    """Return an option that is a count of at least 1."""
    return typer.Option(rich_help_panel=panel, min=1, max=most, metavar="COUNT", help=text)


Threads = Annotated[int | None, _count(HOSTS, "Threads of a loader process. By default its part of --cpus.")]
Processes = Annotated[int, _count(HOSTS, "Loader processes of a node: ranks, or their workers.")]
Cpus = Annotated[int | None, _count(HOSTS, "Cores of each node that trains. By default this machine's.")]
Network = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=HOSTS,
        metavar="Gb/s|GB/s",
        help="Network of each node, such as 100Gb/s (bits) or 12.5GB/s (bytes).",
    ),
]
Prefixes = Annotated[
    int | None,
    _count(
        HOSTS,
        "Prefixes of the bucket that the objects are spread among. By default 1.",
        most=None,
    ),
]
Nodes = Annotated[int, _count(HOSTS, "Nodes that share each epoch.")]
Originals = Annotated[
    OriginalFiles,
    typer.Option(
        rich_help_panel=BILL,
        metavar=either(OriginalFiles),
        help="What becomes of the original files; their bill counts too.",
    ),
]
RunsPerMonth = Annotated[
    str,
    typer.Option(
        rich_help_panel=BILL, metavar="COUNT", help="Such runs in a month: requests, retrieval and egress cost money."
    ),
]
ReaderPlace = Annotated[
    ReadsFrom,
    typer.Option(
        rich_help_panel=BILL,
        metavar=either(ReadsFrom),
        help="Where the nodes are, seen from shared storage. A border may cost.",
    ),
]
KeptDays = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=BILL, min=0, metavar="DAYS", help="Days that the dataset is kept. By default for good."
    ),
]
CheckpointSize = Annotated[
    str | None, typer.Option(rich_help_panel=JOB, metavar="SIZE", help="Size of one checkpoint.")
]
CheckpointEvery = Annotated[
    str,
    typer.Option(
        rich_help_panel=JOB, metavar="COUNT|TIME", help="Epochs between two checkpoints, or a time such as 30min."
    ),
]
Accelerator = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=JOB,
        metavar="NAME",
        autocompletion=completion.accelerators,
        help="Accelerators, such as h100 or unet3d-a100: sets speed and price.",
    ),
]
AcceleratorsPerNode = Annotated[int | None, _count(JOB, "Accelerators of each node. By default 1.")]


def _text(panel: str, metavar: str, text: str, **more: Any) -> Any:
    """Return an option whose text a parser reads."""
    return typer.Option(rich_help_panel=panel, metavar=metavar, help=text, **more)


def _flag(name: str, panel: str, text: str) -> Any:
    return typer.Option(name, rich_help_panel=panel, help=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Every option of advice, as it was typed. `takes_job_options` gives them to a command."""

    ram: Ram = None
    epochs: Epochs = "100"
    tier: Annotated[
        str | None,
        typer.Option(
            metavar="TIER",
            show_default=False,
            rich_help_panel=STORAGE,
            autocompletion=completion.tiers,
            help="Tier that holds the dataset now. By default the one it lies on.",
        ),
    ] = None
    budget: Annotated[
        float | None,
        typer.Option(rich_help_panel=LIMITS, metavar="USD", help="Most that storage and requests may cost in a month."),
    ] = None
    max_epoch_time: Annotated[
        str | None, _text(LIMITS, "TIME", "Most that an epoch may take, such as 30min or 2h.")
    ] = None
    capacity: Annotated[
        list[str] | None,
        _text(LIMITS, "TIER=SIZE", "Capacity of a tier. May be repeated.", autocompletion=completion.tiers),
    ] = None
    no_packing: Annotated[bool, _flag("--no-packing", LIMITS, "The files must stay single files or objects.")] = False
    must_keep_originals: Annotated[
        bool, _flag("--must-keep-originals", LIMITS, "Only formats that keep the original files byte for byte.")
    ] = False
    samples_per_second: Annotated[
        str | None,
        _text(JOB, "COUNT", "Samples per second that training can take, such as 3000 or 1M."),
    ] = None
    accelerator: Accelerator = None
    accelerators_per_node: AcceleratorsPerNode = None
    gpu_utilisation: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=LIMITS, metavar="SHARE", help="Share of the time that the GPU must be busy, such as 0.9."
        ),
    ] = None
    resize: Annotated[
        str | None, _text(JOB, "HxW", "Shape that training resizes to. Also considers storing pixels.")
    ] = None
    reencode: Annotated[
        bool,
        _flag(
            "--reencode",
            JOB,
            "Also consider re-encoded images. Measures them, which takes about 5 s.",
        ),
    ] = False
    encoded: Annotated[
        bool,
        _flag("--encoded", JOB, "Training decodes the images itself, such as on a GPU."),
    ] = False
    threads: Threads = None
    processes: Processes = 1
    cpus: Cpus = None
    network: Network = None
    prefixes: Prefixes = None
    nodes: Nodes = 1
    checkpoint_size: CheckpointSize = None
    checkpoint_every: CheckpointEvery = "1"
    originals: Originals = "cheapest"
    read_p99: Annotated[
        str | None, _text(LIMITS, "TIME", "Time in which 99 of 100 single reads must be answered, such as 5ms.")
    ] = None
    calibrate: Annotated[
        bool,
        _flag(
            "--calibrate",
            HOSTS,
            "First measure this processor with some of the images. Takes 10 to 25 s.",
        ),
    ] = False
    hour_price: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=JOB,
            min=0,
            metavar="USD",
            show_default=False,
            help="Price of an hour that a node waits. By default 2, or its accelerators'.",
        ),
    ] = None
    runs_per_month: RunsPerMonth = "1"
    reads_from: ReaderPlace = "same-zone"
    kept_days: KeptDays = None
    catalog: Catalog = None
    cloud: OfCloud = None
