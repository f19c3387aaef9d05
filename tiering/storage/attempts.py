"""Attempts: what came over a network damaged is asked for again, a few times, with growing pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Final

#: With a wrong bit in each twentieth answer, one in three million is wrong so often.
TIMES: Final = 5
_FIRST_PAUSE: Final = 0.05


def attempts(place: object) -> Iterator[bool]:
    """Yield before each attempt to read something, whether it is the last one.

    place: where it is read, a Location or an URL. A local file is read once: it would say the same again.
    """
    times = TIMES if "://" in str(place) else 1
    for attempt in range(times):
        if attempt:
            time.sleep(_FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
        yield attempt == times - 1
