"""The advice in one sentence, as a storage architect would say it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tiering.advice.option import Option
from tiering.units import format_bytes, format_count, format_number, format_seconds, format_usd

_AS: Final = {
    "folder": "as plain files",
    "lmdb": "as LMDB",
    "zarr": "as Zarr",
    "pixels": "as pixels in Zarr",
    "pixels-256": "as pixels of 256 x 256 in Zarr",
    "jpeg-400": "re-encoded to 400 pixels",
    "jpeg-256": "re-encoded to 256 pixels",
}
_CONTAINERS: Final = {"lmdb": "LMDB", "zarr": "Zarr"}
#: Gains below this many hours are not worth saying.
_FEW_HOURS: Final = 0.05


def answer(choice: Option, baseline: Option, size: int, epochs: int) -> str:
    """Return what to put where, what that costs, and what it gains.

    Args:
        choice: The chosen option.
        baseline: The dataset as it is now.
        size: Bytes of the dataset.
        epochs: Epochs of a run; 0 where nothing reads it.

    Example:
        "Put the 5 TB on each node's NVMe SSD as LMDB: 407 USD a month a copy, 8 copies; epochs of 1.6 min instead of
        27 min; saves 61 node hours a run."
    """
    gain = _gain(choice, baseline, epochs) if epochs else ()
    return "; ".join((f"{_what(choice, baseline, size)}: {_money(choice)}", *gain)) + "."


def _what(choice: Option, baseline: Option, size: int) -> str:
    here = (choice.tier, choice.remote) == (baseline.tier, baseline.remote)
    place = "where it is" if here else f"on {choice.tier_title}"
    if choice.tier == baseline.tier and not here:
        place += " beside the nodes"
    if not choice.shared and choice.nodes > 1:
        own = choice.tier_title.removeprefix("local ")
        place = f"on each node's {own}" if choice.copies > 1 else f"on the {own} of all {choice.nodes:,} nodes"
    if choice.format == "folder" and here:
        found = f"Leave the {format_bytes(size)} {place}"
    else:
        codec = "" if choice.codec == "none" else f" with {choice.codec}"
        verb = "Pack" if here else "Put"
        held = f" in {_CONTAINERS[choice.container]}" if choice.format.startswith("jpeg") else ""
        found = f"{verb} the {format_bytes(size)} {place} {_AS[choice.format]}{held}{codec}"
    if choice.order == "block":
        found += ', served with shuffle="block"'
    if choice.kind == "cached":
        found += f", behind a cache of {choice.cache}"
    return found


def _money(choice: Option) -> str:
    usd = choice.monthly_usd - choice.originals_usd
    text = f"{format_usd(usd)} USD a month"
    if choice.copies > 1:
        text = f"{format_usd(usd / choice.copies)} USD a month a copy, {choice.copies} copies"
    if choice.originals_tier is not None and choice.originals_usd >= 0.005:
        text += f", and {format_usd(choice.originals_usd)} USD for the originals on {choice.originals_tier}"
    return text


def _gain(choice: Option, baseline: Option, epochs: int) -> Iterator[str]:
    now, then = format_seconds(baseline.steady_epoch_s), format_seconds(choice.steady_epoch_s)
    yield f"epochs of {then}, as now" if now == then else f"epochs of {then} instead of {now}"
    hours = (baseline.run_s(epochs) - choice.run_s(epochs) - choice.move_s) / 3600 * choice.nodes
    if abs(hours) >= _FEW_HOURS:
        amount = format_count(abs(hours)) if abs(hours) >= 100 else format_number(abs(hours), 2)
        unit = f"{'node ' if choice.nodes > 1 else ''}hour{'' if amount == '1' else 's'}"
        yield f"{'saves' if hours > 0 else 'takes'} {amount} {'' if hours > 0 else 'more '}{unit} a run"
