"""The option --field: fields of a folder that lie in trees of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from tiering.errors import UsageError

FieldTrees = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME=PATTERN",
        help="Files of a field in a folder of their own: mask=masks/{stem}.png. {stem} is the path of an image below "
        "the folder of images, without its ending; {name} is its last part. Repeat it for more fields.",
    ),
]


def patterns_of(given: list[str] | None) -> dict[str, str]:
    """Return the patterns of fields by name. given: values of --field. Raises UsageError."""
    found: dict[str, str] = {}
    for each in given or ():
        name, equals, pattern = each.partition("=")
        if not equals or name in found:
            raise UsageError(
                "--field", expected="NAME=PATTERN, one for each field", found=each,
                action="For example: --field mask=masks/{stem}.png",
            )  # fmt: skip
        found[name] = pattern
    return found
