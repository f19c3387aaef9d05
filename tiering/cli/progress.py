"""A progress line on stderr with counts, rates and time left, for people at a terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiering.cli.output import talk
from tiering.progress import Progress
from tiering.units import format_count, format_number, format_percent, format_rate

#: Columns for what is done, such as the name of a trace.
_WORDS = 28


@contextmanager
def progress(what: str, unit: str = "samples", *, show: bool | None = None) -> Iterator[Progress]:
    """Show progress; nothing in a pipe unless asked for.

    what: the work. unit: what is counted. show: --progress or --no-progress; by default, whether stderr is a terminal.
    Yields a function for tiering.progress.
    """
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    console = talk()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    disable = not (console.is_terminal if show is None else show)
    words = what if len(what) <= _WORDS else f"{what[: _WORDS // 2 - 2]}...{what[1 - _WORDS // 2 :]}"
    with Bar(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task(words, total=None, figures="")
        pace = Pace(unit, time.monotonic)

        def advance(done: int, of: int, size: int) -> None:
            bar.update(task, completed=done, total=max(of, done) or None, figures=pace.figures(done, of, size))

        yield advance


class Pace:
    """How fast work goes on, and when it will be done. A step of the work begins where less is done than before."""

    def __init__(self, unit: str, clock: Callable[[], float]) -> None:
        self.unit = unit
        self._clock = clock
        self._began: tuple[float, int, int] | None = None
        self._last = (0, 0)

    def figures(self, done: int, of: int, size: int) -> str:
        """Return what is done, its rates, and the time left: "45 % of 60,000 images, 5,100/s, 12 s left"."""
        now = self._clock()
        before, known = self._last
        self._last = (done, of)
        if self._began is None or done < before or (of and not known):
            self._began = (now, done, size)
        began, first, bytes_before = self._began
        whole = of > 0 and done <= of
        parts = [f"{format_percent(done / of)} of {format_count(of)}" if whole else format_count(done)]
        parts[0] += f" {self.unit}"
        if (elapsed := now - began) > 0 and done > first:
            rate = (done - first) / elapsed
            parts.append(f"{format_number(rate)}/s")
            if size > bytes_before:
                parts.append(format_rate((size - bytes_before) / elapsed))
            if of > done:
                parts.append(time_left((of - done) / rate))
        return ", ".join(parts)


def time_left(seconds: float) -> str:
    """Return a time in words, rounded up: something is left until all is done."""
    for limit, unit, word in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds <= limit:
            return f"{max(1, math.ceil(seconds / unit))} {word} left"
    return f"{format_number(math.ceil(seconds / 86400))} days left"
