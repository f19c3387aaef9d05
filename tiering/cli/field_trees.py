"""The option --field: fields of a folder that lie in trees of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from tiering.cli.panels import INPUT
from tiering.errors import UsageError

FieldTrees = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME=PATTERN",
        rich_help_panel=INPUT,
        help="Files of a field: mask=masks/{stem}.png. May be repeated.",
    ),
]


def patterns_of(given: list[str] | None) -> dict[str, str]:
    """Return the patterns of fields by name. given: values of --field. Raises UsageError."""
    found: dict[str, str] = {}
    for each in given or ():
        name, equals, pattern = each.partition("=")
        if not equals or name in found:
            raise UsageError(
                "--field", rule="must be NAME=PATTERN, one for each field", found=each,
                action="For example: --field mask=masks/{stem}.png",
            )  # fmt: skip
        found[name] = pattern
    return found
