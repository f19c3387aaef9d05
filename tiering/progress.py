"""The callback by which long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

#: Called with what is done (samples, images or events), all there is, and bytes done: once at the beginning, because
#: some may be done already, and then regularly. All may be an estimate, and 0 if it is not known. Work in several steps
#: starts again with each.
Progress = Callable[[int, int, int], None]


@runtime_checkable
class ProgressLine(Protocol):
    """A callback for Progress that shows more than its numbers, as the line of the command line does."""

    def __call__(self, done: int, of: int, size: int) -> None:
        """Show progress of the work itself."""
        ...

    def listing(self, listed: Callable[[], int], unit: str) -> AbstractContextManager[None]:
        """Show the listing of a source for a block. Nothing is known yet of the work itself then.

        listed: returns what is listed so far, in any thread. unit: what that counts.
        """
        ...

    def step(self, doing: str, unit: str) -> None:
        """Begin a step of the work. doing: what is done in it. unit: what is counted from now on."""
        ...


def listing_shown(progress: Progress, listed: Callable[[], int], unit: str) -> AbstractContextManager[None]:
    """Return the block in which a source is listed, as for ProgressLine. A plain function is not called."""
    return progress.listing(listed, unit) if isinstance(progress, ProgressLine) else nullcontext()


def begin_step(progress: Progress, doing: str, unit: str) -> None:
    """Begin a step of some work, as ProgressLine.step does. A plain function is not called."""
    if isinstance(progress, ProgressLine):
        progress.step(doing, unit)


def no_progress(done: int, of: int, size: int) -> None:
    """Ignore progress."""
