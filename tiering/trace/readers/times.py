"""Times as logs write them: ISO 8601 in UTC, and times of day that pass midnight."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

_DAY = 86_400


def instant(text: pl.Expr) -> pl.Expr:
    """Give the s since the epoch of "2024-05-01T10:00:00.5Z" or "2024-05-01 10:00:00 UTC"; null for anything else."""
    plain = text.str.replace(r"^(\d{4}-\d\d-\d\d)T", "${1} ").str.replace(r"(?:Z| UTC|\+00:?00)$", "")
    # Times beyond 2262 do not fit in 64 bits of ns, and are no times of a log.
    return plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us").dt.epoch("us") / 1e6


def instant_of(text: object) -> float:
    """Do the same with one text. Raises ValueError and TypeError where it is none."""
    found = datetime.fromisoformat(text)  # type: ignore[arg-type]
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


class DayClock:
    """Times of day, in s, as times that only grow: a leap back by hours is another day."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._days = 0.0

    def since_first_midnight(self, of_day: NDArray[np.float64]) -> NDArray[np.float64]:
        """Count s from the first midnight on. of_day: s since midnight, in the order of the trace; NaN is passed on."""
        known = of_day[np.isfinite(of_day)]
        if not len(known):
            return of_day
        before = np.append(known[0] if self._last is None else self._last, known[:-1])
        days = self._days + np.cumsum(np.round((before - known) / _DAY)) * _DAY
        self._last, self._days = float(known[-1]), float(days[-1])
        grown = of_day.copy()
        grown[np.isfinite(of_day)] = known + days
        return grown
