"""What long work tells of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable

#: Told samples done, samples in all, and bytes done: once at the beginning, where an earlier run may have done some,
#: and then as work goes on.
Progress = Callable[[int, int, int], None]


def no_progress(samples: int, of: int, size: int) -> None:
    """Ignore progress."""
