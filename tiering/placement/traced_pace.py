"""How many requests a job keeps in flight, by the pace of its trace.

A run cannot wait longer than it lasts. If the requests of a trace, one at a time in each process, would take longer
than the trace, the processes had more requests in flight, by threads or by reading ahead. Then the number in flight is
the one at which the requests take as long as the trace, on the tier that holds the files. Where that tier is not
known, it is the fastest one.

Example: one process reads 25,000 times in a second from a filer with a latency of 0.7 ms. By Little's law 17.5 of its
requests were in flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from tiering.advice.catalog import Tier
from tiering.placement.file_costs import waiting_and_device
from tiering.placement.month import Terms


def at_traced_pace(units: pl.DataFrame, terms: Terms, tiers: Sequence[Tier], current: Sequence[Tier | None]) -> Terms:
    """Return terms with as many requests in flight as the trace shows, and never fewer than before.

    Args:
        units: What the job reads and writes, as for file_costs.charges.
        terms: The terms by the processes of the trace.
        tiers: Tiers that may hold the units.
        current: The tier that holds each unit now; None where that is not known.
    """
    named = {tier.name: tier for tier in (*tiers, *(each for each in current if each))}
    waits = {name: waiting_and_device(units, tier, terms)[0] for name, tier in named.items()}
    least = np.min([*waits.values()], axis=0)
    total = sum(float(waits[here.name][at] if here else least[at]) for at, here in enumerate(current))
    if total <= terms.duration:
        return terms
    return replace(terms, in_flight=terms.in_flight * total / terms.duration, raised=True)
