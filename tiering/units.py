"""Quantities as people write them ("45.9MB", "100M", "4GiB/s"), in and out."""

from __future__ import annotations

import re
from decimal import Decimal

from tiering.errors import UsageError

_DECIMAL = {letter: 1000**power for power, letter in enumerate("kMGTPE", start=1)}
_BINARY = {f"{letter.upper()}i": 1024**power for power, letter in enumerate("kMGTPE", start=1)}
_FACTORS = {"": 1} | {key.lower(): value for key, value in (_DECIMAL | _BINARY).items()}
_QUANTITY = re.compile(r"([0-9][0-9_,]*\.?[0-9]*|\.[0-9]+)\s*([kmgtpe]i?)?(b)?(/s)?", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Read a size such as "45.9MB" (10^6), "4 GiB" (2^30) or "784" into bytes.

    Raises UsageError for anything else. Fractions of a byte are rounded to the nearest byte.
    """
    return _parse(text, "a size such as 784, 45.9MB or 4GiB", rate=False, byte_suffix=True)


def parse_rate(text: str) -> int:
    """Read a rate such as "4GiB/s" or "500MB/s" into bytes per second; "/s" may be left out."""
    return _parse(text, "a rate such as 500MB/s or 4GiB/s", rate=True, byte_suffix=True)


def parse_count(text: str) -> int:
    """Read a count such as "100M" (10^6), "5,000" or "1.5k" into an integer."""
    return _parse(text, "a count such as 5000, 20k or 100M", rate=False, byte_suffix=False)


def _parse(text: str, expected: str, *, rate: bool, byte_suffix: bool) -> int:
    match = _QUANTITY.fullmatch(text.strip())
    if not match or (match[4] and not rate) or (match[3] and not byte_suffix):
        raise UsageError(repr(text), expected=expected, found=repr(text))
    number = Decimal(match[1].replace(",", "").replace("_", ""))
    factor: int = _FACTORS[(match[2] or "").lower()]
    return round(number * factor)


def format_bytes(size: float) -> str:
    """Write bytes with three significant digits and decimal units: 4590000000000000 -> "4.59 PB"."""
    return f"{_scaled(size)}B"


def format_rate(rate: float) -> str:
    """Write bytes per second: 1.1e9 -> "1.10 GB/s"."""
    return f"{_scaled(rate)}B/s"


def format_count(count: float) -> str:
    """Write a whole number with thousands separators: 60000 -> "60,000"."""
    return f"{round(count):,}"


def format_seconds(seconds: float) -> str:
    """Write a duration in the largest unit that leaves a readable number: 5400 -> "1.5 h"."""
    steps = (("us", 1e-6, 1e-3), ("ms", 1e-3, 1.0), ("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, 172800.0))
    for unit, size, limit in steps:
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    days = seconds / 86400
    return f"{days:.3g} days" if days < 1000 else f"{days / 365.25:,.0f} years"


def _scaled(value: float) -> str:
    for letter, factor in reversed(_DECIMAL.items()):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {letter}" if value / factor < 999.5 else f"{value / factor:.0f} {letter}"
    return f"{value:.3g} " if value != int(value) else f"{int(value)} "
