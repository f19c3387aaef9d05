"""Options that several verbs have, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Catalog = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", envvar="TIERING_CATALOG", help="TOML file that overrides or adds tiers."),
]
HourPrice = Annotated[
    float, typer.Option("--hour-price", min=0, metavar="USD", help="What an hour of waiting for data costs.")
]

SharedGroup = Annotated[
    bool,
    typer.Option("--shared-group", help="Let the directory's group use the cache, too; by default only you can."),
]
