"""Write a measured tier as a catalog file, with the source of each figure as a comment."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

import tomlkit

from tiering.errors import InputError, UsageError
from tiering.probing.probe import Probe
from tiering.storage.output_file import write_output

_POINT: Final = ("pattern", "block", "depth", "bandwidth", "p50", "p99")

#: The source of each measured figure.
_SOURCES: Final = {
    "capacity": "bytes of the file system",
    "read_bandwidth": "the best of the sequential reads",
    "random_bandwidth": "the best of the random reads of 128 KiB",
    "iops": "the best of the random reads of 4 KiB",
    "write_bandwidth": "sequential writes",
    "read_latency_p50": "random reads of 4 KiB, one at a time",
    "read_latency_p99": "the same",
    "queue_depth": "the least that reaches 95 % of the best, of reads of 4 and of 128 KiB",
    "open_cost": "see docs/tiers.md",
    "metadata_rate": "look-ups, one at a time",
    "sync_rate": "durable writes of 4 KiB, one at a time",
    "measured_at": "recommend knows by it which datasets are on this tier",
}
#: Keys that describe the mount itself.
_GIVEN: Final = ("title", "access", "network", "mmap_ok")


def to_toml(found: Probe) -> str:
    """Return a catalog file of the one tier that was measured."""
    tier, today = found.tier, f"{date.today():%Y-%m-%d}"  # noqa: DTZ011 - the day where the machine stands
    table = tomlkit.table()
    for key, value in tier.model_dump(exclude={"name", "read_points", "price_steps"}, exclude_none=True).items():
        table.add(key, _rounded(value))
        if key not in _GIVEN:
            table[key].comment(_SOURCES.get(key, f"from {found.like}, not measured"))
    if tier.price_steps:
        table.add("price_steps", [list(step) for step in tier.price_steps])
    points = tomlkit.array().multiline(True)
    for point in tier.read_points:
        fields = tomlkit.inline_table()
        fields.update({name: _rounded(getattr(point, name)) for name in _POINT})
        points.append(fields)
    table.add("read_points", points)
    document = tomlkit.document()
    document.add(
        tomlkit.comment(f"Measured by tiering probe on {today}, at {found.place!r}, in {found.seconds:.0f} s.")
    )
    document.add("tier", tomlkit.table(is_super_table=True).add(tier.name, table))
    return tomlkit.dumps(document)


def check_new(path: Path) -> None:
    """Check before a measurement that its file can be written.

    Raises:
        UsageError: Where the file exists.
        InputError: Where its directory does not.
    """
    if path.exists():
        raise UsageError(str(path), found="it exists already", action="Give another name.")
    if not path.absolute().parent.is_dir():
        raise InputError(str(path), found="its directory does not exist")


def write_tier(found: Probe, path: Path) -> None:
    """Write the measured tier as a catalog file. Raises OSError."""
    write_output(path, to_toml(found))


def _rounded(value: str | bool | float) -> str | bool | float:
    """Return a figure with the four digits that a measurement has."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
