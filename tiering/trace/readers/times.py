"""Parse times in logs: ISO 8601 in UTC, and times of day that pass midnight."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

_DAY = 86_400


def instant(text: pl.Expr) -> pl.Expr:
    """Return s since the epoch for "2024-05-01T10:00:00.5Z" or "2024-05-01 10:00:00 UTC"; null for anything else."""
    plain = text.str.replace(r"^(\d{4}-\d\d-\d\d)T", "${1} ").str.replace(r"(?:Z| UTC|\+00:?00)$", "")
    # Times after 2262 overflow 64 bits of ns, and do not occur in logs.
    return plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us").dt.epoch("us") / 1e6


def instant_of(text: object) -> float:
    """Return s since the epoch for one text, as instant does. Raises ValueError or TypeError if it is no time."""
    found = datetime.fromisoformat(text)  # type: ignore[arg-type]
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def seconds_of_day(text: pl.Expr) -> pl.Expr:
    """Return s since midnight for "10:29:05.05"; null for anything else."""
    parts = text.str.split(":").list
    hours, minutes, seconds = (parts.get(part, null_on_oob=True).cast(pl.Float64, strict=False) for part in range(3))
    return hours * 3600 + minutes * 60 + seconds


class DayClock:
    """Turns times of day, in s, into growing times. A jump back by hours starts another day."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._days = 0.0

    def since_first_midnight(self, of_day: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return s since the first midnight. of_day: s since midnight, in the order of the trace. NaN stays NaN."""
        known = of_day[np.isfinite(of_day)]
        if not len(known):
            return of_day
        before = np.append(known[0] if self._last is None else self._last, known[:-1])
        days = self._days + np.cumsum(np.round((before - known) / _DAY)) * _DAY
        self._last, self._days = float(known[-1]), float(days[-1])
        grown = of_day.copy()
        grown[np.isfinite(of_day)] = known + days
        return grown
