"""The options that select samples of a store: --split and --where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.panels import SAMPLES

if TYPE_CHECKING:
    from tiering.store.protocol import Store

Split = Annotated[
    list[str] | None,
    typer.Option(
        "--split",
        metavar="NAME",
        show_default=False,
        rich_help_panel=SAMPLES,
        help="Only samples of this split. May be repeated.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="SQL",
        rich_help_panel=SAMPLES,
        help="Only samples for which this holds: \"label = 'cat' and size < 100000\".",
    ),
]


def selected(store: Store, split: list[str] | None, where: str | None) -> Store:
    """Return the samples of a store that the options select: a selection, or the store itself without options."""
    return store.select(where, split=split) if split or where is not None else store
