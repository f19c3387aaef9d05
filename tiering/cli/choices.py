"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer

from tiering.cli.panels import CACHE, HOSTS, INPUT, JOB, STORAGE
from tiering.literals import Cloud


def either(choices: Any) -> str:
    """Return the words of a literal type as help shows them: lmdb|zarr."""
    return "|".join(get_args(choices))


Catalog = Annotated[
    Path | None,
    typer.Option(
        "--catalog",
        metavar="FILE",
        envvar="TIERING_CATALOG",
        rich_help_panel=STORAGE,
        help="Catalog of tiers, as TOML: overrides the shipped one, or adds to it.",
    ),
]
OfCloud = Annotated[
    Cloud | None,
    typer.Option(
        "--cloud",
        show_default=False,
        rich_help_panel=STORAGE,
        metavar=either(Cloud),
        help="Take this cloud's tiers and prices in place of the shipped ones.",
    ),
]
HourPrice = Annotated[
    float,
    typer.Option(
        "--hour-price", min=0, metavar="USD", rich_help_panel=JOB, help="Price of an hour that a node waits for data."
    ),
]

#: The largest seed that both NumPy and scikit-learn accept.
MOST_SEED: Final = (1 << 32) - 1

#: More processes, threads or nodes than anyone has; more is a typing error.
MOST_WORKERS: Final = 1 << 16

Ram = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        show_default=False,
        rich_help_panel=HOSTS,
        help="Memory for caching on each host. By default half of what is usable here.",
    ),
]
Epochs = Annotated[str, typer.Option(metavar="COUNT", rich_help_panel=JOB, help="Epochs of a training run.")]
TraceColumns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN,...",
        rich_help_panel=INPUT,
        help="Columns of a trace that is a table, such as time=ts,size=len.",
    ),
]
Lenient = Annotated[
    bool, typer.Option("--lenient", rich_help_panel=INPUT, help="Skip and count damaged lines of a trace.")
]

SharedGroup = Annotated[
    bool,
    typer.Option(
        "--shared-group",
        rich_help_panel=CACHE,
        help="Let the directory's group use the cache too. By default only you can.",
    ),
]
