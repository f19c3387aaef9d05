"""Options that say what a training job needs: its accelerators, hosts, checkpoints and bill."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from tiering.cli.choices import MOST_WORKERS
from tiering.literals import OriginalFiles, ReadsFrom

#: Headings of the help.
JOB: Final = "The training job"
HOSTS: Final = "The hosts"
LIMITS: Final = "Limits"
BILL: Final = "The bill"


def _count(panel: str, text: str, *, most: int | None = MOST_WORKERS) -> Any:
    """Return an option that is a count of at least 1."""
    return typer.Option(rich_help_panel=panel, min=1, max=most, metavar="COUNT", help=text)


Threads = Annotated[int | None, _count(HOSTS, "Threads of each loader process. By default its part of --cpus.")]
Processes = Annotated[int, _count(HOSTS, "Loader processes on each node: ranks, or their workers.")]
Cpus = Annotated[int | None, _count(HOSTS, "Cores of each node that trains. By default those of this machine.")]
Network = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=HOSTS,
        metavar="RATE",
        help="Network of each node, such as 100Gb/s (bits) or 12.5GB/s (bytes).",
    ),
]
Prefixes = Annotated[
    int | None,
    _count(
        HOSTS,
        "Prefixes of the bucket among which the objects are spread. By default one for single objects.",
        most=None,
    ),
]
Nodes = Annotated[int, _count(HOSTS, "Nodes that share each epoch.")]
Originals = Annotated[
    OriginalFiles,
    typer.Option(
        rich_help_panel=BILL,
        help="The original files beside a packed store or copies: kept where that costs least, kept where they "
        "are, or deleted. Their bill counts.",
    ),
]
RunsPerMonth = Annotated[
    str,
    typer.Option(
        rich_help_panel=BILL,
        metavar="COUNT",
        help="Such runs in a month, for the bill of requests, retrieval and egress.",
    ),
]
ReaderPlace = Annotated[
    ReadsFrom,
    typer.Option(
        rich_help_panel=BILL, help="Where the nodes are, as seen from shared storage. Crossing a border may cost."
    ),
]
KeptDays = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=BILL,
        min=0,
        metavar="DAYS",
        help="Days that the dataset is kept. By default for good.",
    ),
]
CheckpointSize = Annotated[
    str | None, typer.Option(rich_help_panel=JOB, metavar="SIZE", help="Size of one checkpoint.")
]
CheckpointEvery = Annotated[
    str,
    typer.Option(
        rich_help_panel=JOB,
        metavar="COUNT|TIME",
        help="Epochs from one checkpoint to the next, or a time such as 30min.",
    ),
]
Accelerator = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=JOB,
        metavar="NAME",
        help="Accelerators of the job, such as h100 or unet3d-a100: gives --samples-per-second and --hour-price.",
    ),
]
AcceleratorsPerNode = Annotated[int | None, _count(JOB, "Accelerators of each node. By default 1.")]
