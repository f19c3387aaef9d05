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
class CountsListing(Protocol):
    """A callback for Progress that also shows how far the listing of a source has come, as the command line's does.

    Nothing is known yet of the work itself then, so a plain function is not called.
    """

    def __call__(self, done: int, of: int, size: int) -> None:
        """Show progress of the work itself."""
        ...

    def listing(self, listed: Callable[[], int], unit: str) -> AbstractContextManager[None]:
        """Show a listing for a block. listed: returns what is listed so far, in any thread. unit: what that counts."""
        ...


def listing_shown(progress: Progress, listed: Callable[[], int], unit: str) -> AbstractContextManager[None]:
    """Return the block in which a source is listed, for a callback that counts listings. As for CountsListing."""
    return progress.listing(listed, unit) if isinstance(progress, CountsListing) else nullcontext()


def no_progress(done: int, of: int, size: int) -> None:
    """Ignore progress."""
