"""The callback by which long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

#: Called with what is done (samples, images or events), all there is, and bytes done: once at the beginning, because
#: some may be done already, and then regularly. All is 0 while it is unknown, and may be an estimate at first. Work in
#: several steps, such as listing and packing, begins anew with each.
Progress = Callable[[int, int, int], None]


def no_progress(done: int, of: int, size: int) -> None:
    """Ignore progress."""
