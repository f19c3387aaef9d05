"""Options that several verbs have, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

Catalog = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", envvar="TIERING_CATALOG", help="TOML file that overrides or adds tiers."),
]
HourPrice = Annotated[
    float, typer.Option("--hour-price", min=0, metavar="USD", help="Cost of an hour of waiting for data.")
]

#: What NumPy and scikit-learn both take.
MOST_SEED: Final = (1 << 32) - 1

#: More processes, threads or nodes than anyone has: above it, a slip of the keyboard.
MOST_WORKERS: Final = 1 << 16

SharedGroup = Annotated[
    bool,
    typer.Option("--shared-group", help="Let the directory's group use the cache, too; by default only you can."),
]
