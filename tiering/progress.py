"""The callback by which long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

#: Called with what is done (samples, images or events), all there is, and bytes done: once at the beginning, because
#: some may be done already, and then regularly. All may be an estimate, and 0 if it is not known. Work in several steps
#: starts again with each.
Progress = Callable[[int, int, int], None]


def no_progress(done: int, of: int, size: int) -> None:
    """Ignore progress."""
