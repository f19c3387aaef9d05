"""The callback by which long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

#: Called with samples done, all samples, and bytes done: once at the beginning, because some may be done already, and
#: then regularly.
Progress = Callable[[int, int, int], None]


def no_progress(samples: int, of: int, size: int) -> None:
    """Ignore progress."""
