"""Attempts: ask again a few times, with growing pauses, when data arrives damaged over a network."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Final

#: If one answer in twenty has a wrong bit, all five attempts fail once in three million.
TIMES: Final = 5
_FIRST_PAUSE: Final = 0.05


def attempts(location: object) -> Iterator[bool]:
    """Yield before each attempt to read something: True for the last one.

    location: where it is read, a Location or a URL. A local file is read once: a second read would give the same.
    """
    times = TIMES if "://" in str(location) else 1
    for attempt in range(times):
        if attempt:
            time.sleep(_FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
        yield attempt == times - 1
