"""A progress line on stderr with counts, rates and time left, for people at a terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tiering.cli.output import talk
from tiering.units import format_count, format_estimate, format_number, format_percent, format_rate

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

#: Columns for what is done, such as the name of a trace.
_WORDS = 28
#: Columns of the bar.
_BAR = 12


@contextmanager
def progress(what: str, unit: str = "samples", *, show: bool | None = None) -> Iterator[Line]:
    """Show progress; nothing in a pipe unless asked for.

    what: the work. unit: what is counted. show: --progress or --no-progress; by default, whether stderr is a terminal.
    Yields a function for tiering.progress.
    """
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Figures(ProgressColumn):
        """Asks for the figures whenever the line is drawn, ten times a second."""

        def render(self, task: Task) -> Text:
            return Text(task.fields["figures"]())

    console = talk()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=_BAR), Figures())
    disable = not (console.is_terminal if show is None else show)
    with Bar(*columns, console=console, transient=True, disable=disable) as bar:
        yield Line(bar, what if len(what) <= _WORDS else f"{what[: _WORDS // 2 - 2]}...{what[1 - _WORDS // 2 :]}", unit)


class Line:
    """The line of some work: a ProgressLine of tiering.progress."""

    def __init__(self, bar: Bar, what: str, unit: str) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, figures=str)
        self.step(what, unit)

    def __call__(self, done: int, of: int, size: int) -> None:
        """Show what is done, all there is, and the bytes done."""
        figures = self._pace.figures(done, of, size, self._room)
        self._bar.update(self._task, completed=done, total=max(of, done) or None, figures=lambda: figures)

    def step(self, doing: str, unit: str) -> None:
        """Begin a step, as tiering.progress.ProgressLine requires."""
        self._doing = doing
        self._pace = Pace(unit, time.monotonic)
        # Beside the words, the bar, and a space after each of the two.
        self._room = self._bar.console.width - len(doing) - _BAR - 2
        self._bar.update(self._task, description=doing, total=None, completed=0, figures=str)

    @contextmanager
    def listing(self, listed: Callable[[], int], unit: str) -> Iterator[None]:
        """Show how much is listed so far, as tiering.progress.ProgressLine requires."""
        pace = Pace(f"{unit} listed", time.monotonic)
        pace.figures(0, 0, 0)
        self._bar.update(self._task, description="listing", figures=lambda: pace.figures(listed(), 0, 0))
        try:
            yield
        finally:
            last = f"{format_count(listed())} {unit} listed"
            self._bar.update(self._task, description=self._doing, figures=lambda: last)


class Pace:
    """How fast work goes on, and when it will be done. A step of the work begins where less is done than before."""

    def __init__(self, unit: str, clock: Callable[[], float]) -> None:
        self.unit = unit
        self._clock = clock
        self._began: tuple[float, int, int] | None = None
        self._last = (0, 0)

    def figures(self, done: int, of: int, size: int, room: int = 1000) -> str:
        """Return what is done, its rates, and the time left: "45 % of 60,000 images, 5,100/s, 12 s left".

        room: characters there are. Rates are left out where all does not fit, that of bytes first.
        """
        now = self._clock()
        before, known = self._last
        self._last = (done, of)
        if self._began is None or done < before or (of and not known):
            self._began = (now, done, size)
        began, first, bytes_before = self._began
        whole = of > 0 and done <= of
        what = f"{format_percent(done / of)} of {format_count(of)}" if whole else format_count(done)
        rates, left = list[str](), list[str]()
        if (elapsed := now - began) > 0 and done > first:
            rate = (done - first) / elapsed
            rates.append(f"{format_estimate(rate)}/s")
            if size > bytes_before:
                rates.append(format_rate((size - bytes_before) / elapsed))
            if of > done:
                left.append(time_left((of - done) / rate))
        while len(words := ", ".join([f"{what} {self.unit}", *rates, *left])) > room and rates:
            rates.pop()
        return words


def time_left(seconds: float) -> str:
    """Return a time in words, rounded up: something is left until all is done."""
    for limit, unit, word in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds <= limit:
            return f"{max(1, math.ceil(seconds / unit))} {word} left"
    return f"{format_number(math.ceil(seconds / 86400))} days left"
