"""Where words go: results on stdout, talk on stderr, one JSON document with --json."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tiering.cli.flags import verb_of, with_flags
from tiering.cli.panels import OUTPUT
from tiering.cli.prose import wrapped
from tiering.text import shown

if TYPE_CHECKING:
    # Imported on first use: `tiering trace` starts its command as soon as it can.
    from pydantic import TypeAdapter
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

    from tiering.cli.console import PlainConsole

_PIPE_WIDTH = 1000

#: The context of the command that runs, for `note`.
RUNNING: ContextVar[typer.Context | None] = ContextVar("RUNNING", default=None)

#: Raised when a key of a --json document changes its meaning or goes. A new key leaves it.
JSON_VERSION: Final = 1

JsonFlag = Annotated[
    bool,
    typer.Option("--json", rich_help_panel=OUTPUT, help="Print one JSON document on stdout, nothing else."),
]
ProgressFlag = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress", rich_help_panel=OUTPUT, help="Show progress on stderr. By default on a terminal."
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        rich_help_panel=OUTPUT,
        metavar="PORT",
        help="Serve Prometheus metrics on this port, at /metrics.",
    ),
]
MetricsHost = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        rich_help_panel=OUTPUT,
        help="Address for the metrics. 0.0.0.0 lets other machines read them.",
    ),
]


def out() -> PlainConsole:
    """Return the console for results. Rich honours NO_COLOR by itself; a pipe has no width to cut lines at."""
    from tiering.cli.console import PlainConsole

    return PlainConsole(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def talk(*, soft_wrap: bool = True) -> Console:
    """Return the console for progress, warnings and errors. soft_wrap: whether the terminal breaks long lines."""
    from tiering.cli.console import PlainConsole

    return PlainConsole(file=sys.stderr, highlight=False, soft_wrap=soft_wrap)


@contextmanager
def solver_aside() -> Iterator[None]:
    """Send what C code prints on stdout to nowhere, for the block.

    HiGHS prints lines of its own, which would stand in the middle of a JSON document. For the command line alone: the
    whole process is ours there. C's buffer is emptied before stdout is put back, for it may be written only then.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)


def status(doing: str) -> Status:
    """Show the current step on a terminal while a block runs."""
    from tiering.cli.console import line

    return talk().status(line(doing))


def note(message: str) -> None:
    """Print a sentence on stderr, with flags for parameters and invisible characters escaped.

    A terminal gets it wrapped at words.
    """
    flagged = shown(with_flags(verb_of(RUNNING.get()), message))
    lines = wrapped(flagged, shutil.get_terminal_size().columns) if sys.stderr.isatty() else [flagged]
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def prepare_streams() -> None:
    """Make every name printable, whatever the encoding of stdout, and print warnings as lines of talk."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning = lambda message, *_, **__: note(f"Warning: {message}")


def emit_json(document: object, name: str = "") -> None:
    """Print one JSON document on stdout. docs/reference/json.md describes them all.

    Args:
        document: A pydantic model, a dataclass or a dict.
        name: `tiering-NAME` becomes its `format`. A document that is also a file has a format of its own.
    """
    sys.stdout.write(json.dumps(_with_format(document, name), indent=2) + "\n")


def json_line(document: object, name: str) -> str:
    """Return a document as one line of JSON, for streams of them. name: as in emit_json.

    Dataclasses are written by pydantic: 1 ms for a look at 500 processes, where `plain` takes 13.
    """
    if not dataclasses.is_dataclass(document) or isinstance(document, type):
        return json.dumps(_with_format(document, name)) + "\n"
    head = json.dumps({"format": f"tiering-{name}", "format_version": JSON_VERSION})
    return f"{head[:-1]},{_adapter(type(document)).dump_json(document).decode()[1:]}\n"


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _with_format(document: object, name: str) -> dict[str, Any]:
    content: dict[str, Any] = plain(document)
    if "format_version" in content:
        return content
    return {"format": f"tiering-{name}", "format_version": JSON_VERSION, **content}


def plain(value: object) -> Any:
    """Turn models, dataclasses and NumPy numbers into what json can write."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table in the house style: the first column left, all others right."""
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(columns):
        made.add_column(name, justify="left" if position == 0 else "right", no_wrap=True)
    return made
