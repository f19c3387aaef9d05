"""Read and write quantities as people write them: "45.9MB", "100M", "4GiB/s", "67 %", "90 min"."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from math import floor, isfinite, log10
from typing import Final

from tiering.errors import UsageError

#: Seconds of a month: 365.25 days / 12.
MONTH_SECONDS: Final = 365.25 / 12 * 86400

_DECIMAL: dict[str, int] = {letter: 1000**power for power, letter in enumerate("kMGTPE", start=1)}
_BINARY: dict[str, int] = {f"{letter.upper()}i": 1024**power for power, letter in enumerate("kMGTPE", start=1)}
_FACTORS = {"": 1} | {key.lower(): value for key, value in (_DECIMAL | _BINARY).items()}
_SECONDS = {"": 1, "ms": 1e-3, "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "day": 86400, "days": 86400}
_DURATION = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(ms|s|min|m|h|days?|d|)", re.IGNORECASE | re.ASCII)
_SCIENTIFIC = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?e[+-]?[0-9]{1,2}", re.IGNORECASE | re.ASCII)
#: Rates of networks in bits and in bytes. The group is the number and its prefix.
_BITS, _BYTES = re.compile(r"(.{1,40}?)\s*(?:b|bits?)(?:/s|ps)"), re.compile(r"(.{1,40}?)\s*B/s")
# A comma may only separate thousands: "45,9MB" must not silently become 459 MB. 40 digits are more than enough, and
# int() refuses very long texts with an error of its own.
_QUANTITY = re.compile(
    r"(?=[0-9_,.]{1,40}(?![0-9_,.]))"
    r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*)?(\.[0-9]*)?\s*([kmgtpe]i?)?(b)?(/s)?",
    re.IGNORECASE | re.ASCII,
)


def parse_bytes(text: str) -> int:
    """Read a size such as "45.9MB" (10^6), "4 GiB" (2^30) or "784" into bytes.

    Raises UsageError for anything else. Fractions of a byte are rounded to the nearest byte.
    """
    return round(_parse(text, "a size such as 784, 45.9MB or 4GiB", rate=False, byte_suffix=True))


def parse_capacity(text: str) -> int:
    """Read the capacity of a disk, memory, cache or shard, such as "64GiB" or "200 GB", into bytes.

    The unit is required, except for 0: a user who types 64 means 64 GB, not 64 bytes.
    Raises UsageError for a missing unit and for anything that is not a size.
    """
    size = parse_bytes(text)
    if size and text.strip()[-1] in "0123456789.":
        raise UsageError(
            repr(text), expected="a size with its unit", found=f"{text.strip()} without one",
            action=f"For example {text.strip()}GB, or {text.strip()}B for bytes.",
        )  # fmt: skip
    return size


def parse_number(text: str) -> float:
    """Read a number such as "1M" (10^6), "2.5k", "0.5" or "1e6". Raises UsageError for anything else."""
    if _SCIENTIFIC.fullmatch(text.strip()):
        return float(text)
    return float(_parse(text, "a number such as 500, 2.5k or 1M", rate=False, byte_suffix=False))


def parse_rate(text: str) -> int:
    """Read a rate such as "4GiB/s" or "500MB/s" into bytes per second. The "/s" is optional.

    Raises UsageError for anything else. Fractions of a byte are rounded to the nearest byte.
    """
    return round(_parse(text, "a rate such as 500MB/s or 4GiB/s", rate=True, byte_suffix=True))


def parse_network_rate(text: str) -> int:
    """Read the rate of a network such as "100Gb/s" or "25 Gbit/s" (bits), or "12.5GB/s" (bytes), into bytes per second.

    A small b means bits, a large B bytes. The unit is required.

    Raises:
        UsageError: For anything else.
    """
    expected = "a rate such as 100Gb/s (bits) or 12.5GB/s (bytes)"
    match = _BITS.fullmatch(text.strip()) or _BYTES.fullmatch(text.strip())
    if match is None:
        raise UsageError(repr(text), expected=expected)
    rate = _parse(match[1], expected, rate=False, byte_suffix=False)
    return round(rate / 8) if match.re is _BITS else round(rate)


def parse_count(text: str) -> int:
    """Read a count such as "100M" (10^6), "5,000" or "1.5k" into an integer.

    Raises UsageError for anything else, and for a fraction of one such as "1.5".
    """
    expected = "a whole number such as 5000, 20k or 100M"
    count = _parse(text, expected, rate=False, byte_suffix=False)
    if count.denominator != 1:
        raise UsageError(repr(text), expected=expected)
    return count.numerator


def _parse(text: str, expected: str, *, rate: bool, byte_suffix: bool) -> Fraction:
    """Return the exact value. Sizes, rates and counts share the same suffixes."""
    match = _QUANTITY.fullmatch(text.strip())
    number = f"{match[1] or ''}{match[2] or ''}" if match else ""
    wrong_suffix = match is not None and ((match[5] and not rate) or (match[4] and not byte_suffix))
    if match is None or number in {"", "."} or wrong_suffix:
        raise UsageError(repr(text), expected=expected)
    digits = number.replace(",", "").replace("_", "")
    return Fraction(f"0{digits}0" if "." in digits else digits) * _FACTORS[(match[3] or "").lower()]


def parse_seconds(text: str) -> float:
    """Read a duration such as "90", "224ms", "30min", "2 h" or "1.5 days" into seconds.

    Raises UsageError for anything else.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(repr(text), expected="a duration such as 90s, 30min, 2h or 1.5d")
    return float(match[1]) * _SECONDS[match[2].lower()]


def format_bytes(size: float, digits: int = 3) -> str:
    """Write bytes in decimal units with at most `digits` significant digits: 4590000000000000 -> "4.59 PB"."""
    return f"{_scaled(size, digits)}B"


def format_rate(rate: float) -> str:
    """Write bytes per second in decimal units, with at most three significant digits: 1.1e9 -> "1.1 GB/s"."""
    return f"{_scaled(rate, 3)}B/s"


def format_count(count: float) -> str:
    """Write a whole number with thousands separators: 60000 -> "60,000"."""
    return f"{round(count):,}"


def format_number(value: float, digits: int = 3) -> str:
    """Write a number with at most `digits` significant digits, and all those before the point.

    Example:
        >>> format_number(3450.4), format_number(0.04567), format_number(2.0), format_number(1e6)
        ('3,450', '0.0457', '2', '1,000,000')
    """
    return f"{Decimal(_significant(value, digits)):,}" if isfinite(value) else f"{value}"


def format_estimate(value: float, digits: int = 3) -> str:
    """Write an estimate, or a rate that changes, with at most `digits` significant digits, also before the point.

    Example:
        >>> format_estimate(104857.6), format_estimate(66_795), format_estimate(0.04567)
        ('105,000', '66,800', '0.0457')
    """
    return format_number(float(f"{value:.{digits}g}"), digits)


def counted(count: int, noun: str) -> str:
    """Write how many there are of something: "1 dataset", "2,000 datasets"."""
    return f"{format_count(count)} {noun}{'' if count == 1 else 's'}"


def format_percent(share: float, digits: int = 0) -> str:
    """Write a ratio as a percentage: 0.67 -> "67 %".

    A share close to 0 or 1 is never rounded to it: 0.002 -> "<1 %", 0.998 -> ">99 %".

    Args:
        share: The ratio; 1 is all.
        digits: Significant digits to show. 0 shows whole per cents; with digits, "<0.1 %" and ">99.9 %" are the ends.

    Example:
        >>> format_percent(0.0532), format_percent(0.0532, digits=3)
        ('5 %', '5.32 %')
    """
    least = 0.001 if digits else 0.01
    if 0 < share < least:
        return f"<{100 * least:g} %"
    if 1 - least < share < 1:
        return f">{100 * (1 - least):g} %"
    return f"{_significant(100 * share, digits)} %" if digits else f"{100 * share:.0f} %"


def format_usd(amount: float) -> str:
    """Write US dollars without the currency sign, to the cent; amounts below one dollar get three significant digits.

    Example:
        >>> format_usd(1876.4), format_usd(0.5), format_usd(0.07921), format_usd(0.000004)
        ('1,876.40', '0.50', '0.0792', '<0.001')
    """
    if amount == 0 or abs(amount) >= 1 or not isfinite(amount):
        return f"{amount:,.2f}"
    if 0 < amount < 0.001:
        return "<0.001"
    return max(f"{amount:.2f}", _significant(amount, 3), key=len)


def format_seconds(seconds: float) -> str:
    """Write a duration in the unit that gives the most readable number: 5400 -> "90 min"."""
    steps = (
        ("us", 1e-6, 1e-3),
        ("ms", 1e-3, 1.0),
        ("s", 1.0, 120.0),
        ("min", 60.0, 7200.0),
        ("h", 3600.0, 172800.0),
        ("days", 86400.0, 86_400_000.0),
    )
    for unit, size, limit in steps:
        # A value that rounds up to the limit belongs to the next unit: 0.9996 s is "1 s", not "1000 ms".
        if abs(seconds) < limit and float(_significant(seconds / size, 3)) * size < limit * (1 - 1e-9):
            return f"{_significant(seconds / size, 3)} {unit}"
    years = seconds / (365.25 * 86400)
    return f"{_significant(years, 3) if years < 1000 else f'{years:,.0f}'} years"


def _scaled(value: float, digits: int) -> str:
    """Return the number and the letter of the largest decimal unit in which it is at least 1."""
    if not isfinite(value):
        return f"{value} "
    if abs(value) < 1000 and value == int(value):
        return f"{int(value)} "
    letters = ["", *_DECIMAL]
    factors = [1, *_DECIMAL.values()]
    step = max((n for n, factor in enumerate(factors) if abs(value) >= factor), default=0)
    shown = _significant(value / factors[step], digits)
    # Rounding may carry into the next unit: 999,600 B is "1 MB", not "1000 kB".
    if abs(float(shown)) >= 1000 and step + 1 < len(factors):
        step += 1
        shown = _significant(value / factors[step], digits)
    return f"{shown} {letters[step]}"


def _significant(value: float, digits: int) -> str:
    """Write with at most this many significant digits, never in scientific notation. All integer digits are kept."""
    if value == 0 or not isfinite(value):
        return f"{value:g}"
    places = max(0, digits - 1 - floor(log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
