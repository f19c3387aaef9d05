"""Which units a cache of a selection keeps: those of the whole store, which other selections share, or its own."""

from __future__ import annotations

from typing import Final

import numpy as np

from tiering.arrays import row_parts
from tiering.io_sizes import CACHE_UNIT_BYTES
from tiering.store.protocol import Store, samples_in
from tiering.store.rows import numbers_at
from tiering.store.selection import Selection

#: How many samples may be cached for each one that is selected, so that selections share them.
_MOST_CACHED: Final = 1.25


def shared_selection(store: Store) -> Selection | None:
    """Return a selection whose cache keeps the units of the whole store; None for any other store.

    It does so if that takes at most a quarter more samples: always where a unit is one sample, as from 64 KiB a sample
    on, and for most of a store. A few of many small images would fetch their neighbours, too, so their units are made
    of selected samples alone.
    """
    if not isinstance(store, Selection):
        return None
    unit = samples_in(CACHE_UNIT_BYTES, store.origin.manifest)
    units, last = 0, -1
    for part in row_parts(len(store), 1 << 20):
        of = numbers_at(store.rows, part) // unit
        units += int(np.count_nonzero(np.diff(of, prepend=last)))
        last = int(of[-1])
    return store if units * unit <= _MOST_CACHED * len(store) or unit == 1 else None
