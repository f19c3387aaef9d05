"""The account of a source as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from tiering.units import counted, format_bytes, format_count

if TYPE_CHECKING:
    from tiering.sources.account import Account  # the command line prints without it

_NAMED: Final = 3


def account_lines(
    account: Account | None,
    packed: str = "packed",
    *,
    about: bool = False,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> Iterator[str]:
    """Yield a line for all that was met, and one for each kind that is left out; none where nothing is.

    packed: what became of the rest. about: whether the numbers are estimates; intervals: of these by kind.
    """
    if account is None or not (account.left_out or account.field_files):
        return
    left_out = account.met - account.packed - account.field_files
    met = f"{'about ' if about else ''}{counted(account.met, 'file')} met"
    beside = f", {format_count(account.field_files)} as their fields" if account.field_files else ""
    yield f"{met}: {format_count(account.packed)} {packed}{beside}, {format_count(left_out)} left out"
    for name, kind in account.left_out.items():
        examples = ", ".join(kind.examples[:_NAMED]) + (", ..." if kind.count > _NAMED < len(kind.examples) else "")
        size = f", {format_bytes(kind.bytes)}" if kind.bytes else ""
        low, high = (intervals or {}).get(name, (kind.count, kind.count))
        between = f" ({format_count(round(low))} to {format_count(round(high))})" if low < high < 1e18 else ""
        yield f"  {name}: {format_count(kind.count)}{between}{size}{f' ({examples})' if examples else ''}"
