"""How long drives last under writes."""

from __future__ import annotations

from typing import Final

from tiering.advice.catalog import Tier

#: Years over which makers count drive writes per day.
WARRANTY_YEARS: Final = 5


def life_years(tier: Tier, size: int, written_per_day: float) -> float | None:
    """Return the years until writes wear out `size` bytes of a tier; None where writes do not wear it.

    Endurance is drive writes per day over a warranty of WARRANTY_YEARS, so it bounds the bytes written in all.
    """
    if tier.endurance is None or written_per_day <= 0:
        return None
    return tier.endurance * size * WARRANTY_YEARS / written_per_day
