"""How many files this process may have open."""

from __future__ import annotations

import resource
from typing import Final

#: As many as anything here could need; a limit without end would cost those who close all descriptors one by one.
_ENOUGH: Final = 65_536


def raise_descriptor_limit() -> bool:
    """Raise the soft limit on open files towards the hard one; tell whether there are more now.

    For when a process ran into it: the soft limit is 1,024 by custom (select(2)), the hard one far above.
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
