"""Divide a limit among jobs as a fair server does: max-min fairness.

A server that answers everyone in turn first satisfies those who ask for little. Those who ask for more get equal parts
of the rest. The allocation is found by progressive filling: raise all shares together, and stop each at its demand,
until the limit is used up (Bertsekas and Gallager, Data Networks, 2nd edition, 1992, section 6.5.2).

Example: jobs that ask for 100, 300, 600 and 900 MB/s of a filer with 1,100 MB/s. The first two get all they ask for.
The other two get half of the remaining 700 MB/s each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiering.errors import UsageError
from tiering.units import format_number


def fair_shares(demands: Sequence[float], limit: float) -> tuple[float, ...]:
    """Divide a limit among demands by max-min fairness.

    Args:
        demands: What each job asks for, at least 0, in any unit: bytes/s, requests/s or a share of a device's time.
        limit: What there is, at least 0, in the same unit; inf where there is no limit.

    Returns:
        What each job gets, in the order of the demands: never more than it asks for, and together never more than the
        limit. A job that asks for at most limit / jobs gets all of it.

    Raises:
        UsageError: For a negative number, or a demand that is not finite.

    Example:
        >>> fair_shares([100, 300, 600, 900], 1100)
        (100.0, 300.0, 350.0, 350.0)
    """
    asked = np.asarray(demands, np.float64)
    if not (np.isfinite(asked) & (asked >= 0)).all():
        raise UsageError("demands", rule="must be finite numbers of at least 0", found=str(list(demands)))
    if not limit >= 0:
        raise UsageError("limit", rule="must be at least 0", found=format_number(limit, 6))
    shares = np.zeros(len(asked))
    left = float(limit)
    order = np.argsort(asked, kind="stable")
    for position, job in enumerate(order):
        shares[job] = min(asked[job], left / (len(order) - position))
        left = max(0.0, left - shares[job])
    return tuple(shares.tolist())
