"""Plans written down: as a table, and as the file lists that rsync and rclone take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

import polars as pl

from tiering.errors import UsageError
from tiering.tiers.catalog import Tier
from tiering.tiers.placement import Placement


@dataclass(frozen=True, slots=True)
class FileList:
    """The files of one tier, as lists.

    files: how many. rsync: path of the list with a NUL behind each name, for --from0 --files-from. rclone: path of the
    list with a name a line, for --files-from-raw; None where a name cannot stand in one. awkward: one such name.
    """

    tier: str
    files: int
    rsync: Path
    rclone: Path | None
    awkward: str | None


def write_lists(placement: Placement, directory: Path) -> tuple[FileList, ...]:
    """Write two lists for each tier that gets files: TIER.rsync0 and TIER.rclone. Raises OSError.

    A list of lines cannot hold names with a line feed, or with a carriage return at the end, which rclone would cut
    off. Where there are such names no list for rclone is written, for a list without them would part what belongs
    together; rsync's has all. Raises UsageError where the directory holds lists already.
    """
    directory.mkdir(parents=True, exist_ok=True)
    standing = sorted(path.name for path in directory.iterdir() if path.suffix in (".rsync0", ".rclone"))
    if standing:
        raise UsageError(
            str(directory),
            expected="a directory without file lists",
            found=standing[0],
            action="An old list beside new ones would move files twice: take another directory, or remove them.",
        )
    written = []
    tier = placement.units["tier"].gather(placement.members["unit"])
    for share in placement.summary.tiers:
        paths = placement.members["path"].filter(tier == share.tier)
        if paths.is_empty():
            continue
        rsync = directory / f"{share.tier}.rsync0"
        # rsync takes a name that begins with # or ; for a comment, even between NULs.
        rsync.write_bytes(_joined(paths.str.replace(r"^([#;])", "./$1"), "\0"))
        awkward = paths.filter(paths.str.contains("\n", literal=True) | paths.str.ends_with("\r"))
        rclone = None
        if awkward.is_empty():
            rclone = directory / f"{share.tier}.rclone"
            rclone.write_bytes(_joined(paths, "\n"))
        written.append(FileList(share.tier, len(paths), rsync, rclone, None if rclone else awkward[0]))
    return tuple(written)


def commands(placement: Placement, lists: Sequence[FileList], tiers: Sequence[Tier]) -> list[str]:
    """Return the commands that would copy each tier's files there, with TO_... where only the user knows the place."""
    access = {tier.name: tier.access for tier in tiers}
    source = quote(f"{placement.root.rstrip('/')}/") if placement.root else "/"
    typed = []
    for each in lists:
        target = f"TO_{each.tier.upper().replace('-', '_')}"
        if access[each.tier] == "file":
            typed.append(f"rsync -a --from0 --files-from={quote(str(each.rsync))} {source} {target}/")
        elif each.rclone is not None:
            typed.append(f"rclone copy --files-from-raw {quote(str(each.rclone))} {source} {target}:")
    return typed


def write_plan(placement: Placement, path: Path) -> None:
    """Write what goes where, one row a unit: as JSON where the name ends in .json, else as CSV. Raises OSError.

    JSON has the summary under "summary" as well, and the rows under "units".
    """
    if path.suffix.lower() != ".json":
        with path.open("wb") as file:
            placement.units.write_csv(file)
        return
    # Rows by Polars: 10^6 of them as Python objects would take a minute and gigabytes.
    summary = json.dumps(asdict(placement.summary))
    path.write_text(f'{{"summary": {summary}, "units": {placement.units.write_json()}}}\n', encoding="utf-8")


def _joined(paths: pl.Series, end: str) -> bytes:
    """Return the names, byte for byte, with an end behind each."""
    return str(paths.str.join(end)[0] + end).encode()
