"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

Catalog = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", envvar="TIERING_CATALOG", help="TOML file that overrides or adds tiers."),
]
HourPrice = Annotated[
    float,
    typer.Option("--hour-price", min=0, metavar="USD", help="What an hour of waiting for data costs, for each node."),
]

#: The largest seed that both NumPy and scikit-learn accept.
MOST_SEED: Final = (1 << 32) - 1

#: More processes, threads or nodes than anyone has; more is a typing error.
MOST_WORKERS: Final = 1 << 16

SharedGroup = Annotated[
    bool,
    typer.Option("--shared-group", help="Let the group of the directory use the cache too. By default only you can."),
]
