"""A progress line on stderr with rate and time left, for people at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiering.cli.output import talk
from tiering.units import format_rate


@contextmanager
def progress(what: str, *, show: bool | None = None) -> Iterator[Callable[[int, int, int], None]]:
    """Show progress of samples and bytes; nothing in a pipe unless asked for.

    what: the work, as a word. show: --progress or --no-progress; by default, whether stderr is a terminal.
    Yields a function that takes samples done, samples in all, and bytes done; its first call tells what was before.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = talk()
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    disable = not (console.is_terminal if show is None else show)
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task(what, total=None, rate="")

        before: list[int] = []

        def advance(samples: int, of: int, size: int) -> None:
            before[:] = before or [size]
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = format_rate((size - before[0]) / elapsed) if elapsed and size > before[0] else ""
            bar.update(task, completed=samples, total=of, rate=rate)

        yield advance
