"""The limit on open files of this process."""

from __future__ import annotations

import resource
from typing import Final

#: More than tiering ever needs. Not unlimited: some programs close all possible descriptors one by one.
_ENOUGH: Final = 65_536


def raise_descriptor_limit() -> bool:
    """Raise the soft limit on open files towards the hard one. Returns whether it was raised.

    For a process that has reached it: the soft limit is usually 1,024 (for select(2)), the hard one far higher.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return False
    return True
