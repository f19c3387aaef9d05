"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from tiering.literals import Cloud

Catalog = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", envvar="TIERING_CATALOG", help="TOML file that overrides or adds tiers."),
]
OfCloud = Annotated[
    Cloud | None,
    typer.Option(
        "--cloud",
        help="Take the tiers and prices of this cloud in place of the shipped ones.",
        show_default=False,
    ),
]
HourPrice = Annotated[
    float,
    typer.Option("--hour-price", min=0, metavar="USD", help="What an hour of waiting for data costs, for each node."),
]

#: The largest seed that both NumPy and scikit-learn accept.
MOST_SEED: Final = (1 << 32) - 1

#: More processes, threads or nodes than anyone has; more is a typing error.
MOST_WORKERS: Final = 1 << 16

Ram = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory for caching on each training host. By default half of what this process may use.",
        show_default=False,
    ),
]
Epochs = Annotated[str, typer.Option(metavar="COUNT", help="Epochs of a training run.")]
TraceColumns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="For a trace that is a table: columns for time, size, op, offset, file and pid, such as time=ts,size=len.",
    ),
]
Lenient = Annotated[bool, typer.Option("--lenient", help="Skip and count damaged lines of a trace.")]

SharedGroup = Annotated[
    bool,
    typer.Option("--shared-group", help="Let the group of the directory use the cache too. By default only you can."),
]
