"""Write a placement as a table, and as the file lists that rsync and rclone read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Final

import polars as pl

from tiering.advice.catalog import Tier
from tiering.errors import UsageError
from tiering.placement.plan import Placement
from tiering.storage.output_file import output_file, write_output

#: Characters that rclone cannot handle in a list. It encodes control characters as U+2400 to U+2421, a dot and a slash
#: as U+FF0E and U+FF0F, and marks names that already hold those with U+201B; it then compares the names in a list with
#: the encoded names. A line feed ends a name in a list. Tried with rclone 1.60.
_NOT_BY_RCLONE: Final = "[\x00-\x1f\x7f\u2400-\u2421\u201b\uff0e\uff0f]"

_LISTS: Final = (".rsync0", ".rclone", ".not-rclone0")


@dataclass(frozen=True, slots=True)
class FileList:
    """The file lists of one tier.

    Attributes:
        tier: Name of the tier.
        files: Number of files.
        rsync: Path of the list for rsync --from0 --files-from, with a NUL behind each name.
        rclone: Path of the list for rclone --files-from-raw, one name a line; None if it would be empty.
        not_rclone: Path of the list, in rsync's format, of the names that rclone cannot copy; None if it can copy all.
        not_carried: Number of those names.
        awkward: One of them.
    """

    tier: str
    files: int
    rsync: Path
    rclone: Path | None
    not_rclone: Path | None
    not_carried: int
    awkward: str | None


def write_lists(placement: Placement, directory: Path) -> tuple[FileList, ...]:
    """Write the lists of each tier that gets files: TIER.rsync0, TIER.rclone and TIER.not-rclone0.

    Rsync's list has all names. Of the other two, the second has the names that rclone cannot copy (_NOT_BY_RCLONE), and
    the first has the rest.

    Raises:
        UsageError: If the directory already holds lists.
        OSError: Where a list cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    standing = sorted(path.name for path in directory.iterdir() if path.suffix in _LISTS)
    if standing:
        raise UsageError(
            str(directory),
            expected="a directory without file lists",
            found=standing[0],
            action="Old and new lists together would move files twice: name another directory, or remove them.",
        )
    written = []
    tier = placement.units["tier"].gather(placement.members["unit"])
    for share in placement.summary.tiers:
        paths = placement.members["path"].filter(tier == share.tier)
        if paths.is_empty():
            continue
        rsync = directory / f"{share.tier}.rsync0"
        write_output(rsync, _for_rsync(paths))
        awkward = paths.str.contains(_NOT_BY_RCLONE)
        carried, left = paths.filter(~awkward), paths.filter(awkward)
        rclone = None if carried.is_empty() else directory / f"{share.tier}.rclone"
        if rclone is not None:
            write_output(rclone, _joined(carried, "\n"))
        not_rclone = None if left.is_empty() else directory / f"{share.tier}.not-rclone0"
        if not_rclone is not None:
            write_output(not_rclone, _for_rsync(left))
        first = None if left.is_empty() else str(left[0])
        written.append(FileList(share.tier, len(paths), rsync, rclone, not_rclone, len(left), first))
    return tuple(written)


def commands(placement: Placement, lists: Sequence[FileList], tiers: Sequence[Tier]) -> list[str]:
    """Return the commands that would copy each tier's files, with TO_... for destinations that the user must name."""
    access = {tier.name: tier.access for tier in tiers}
    source = quote(f"{placement.root.rstrip('/')}/") if placement.root else "/"
    typed = []
    for each in lists:
        target = f"TO_{each.tier.upper().replace('-', '_')}"
        if access[each.tier] == "file":
            typed.append(f"rsync -a --from0 --files-from={quote(str(each.rsync))} {source} {target}/")
        elif each.rclone is not None:
            # Without the flag, rclone treats two names that only encode an accent differently as one, and drops one.
            listed = f"--no-unicode-normalization --files-from-raw {quote(str(each.rclone))}"
            typed.append(f"rclone copy {listed} {source} {target}:")
    return typed


def write_plan(placement: Placement, path: Path) -> None:
    """Write the plan, one row a unit: as JSON where the name ends in .json, otherwise as CSV. Raises OSError.

    JSON has the summary under "summary" and the rows under "units".
    """
    if path.suffix.lower() != ".json":
        with output_file(path) as file:
            placement.units.write_csv(file)
        return
    # Rows by Polars: 10^6 of them as Python objects would take a minute and gigabytes.
    summary = json.dumps(asdict(placement.summary))
    write_output(path, f'{{"summary": {summary}, "units": {placement.units.write_json()}}}\n')


def _for_rsync(paths: pl.Series) -> bytes:
    # To rsync, a name that begins with # or ; is a comment, even between NULs.
    return _joined(paths.str.replace(r"^([#;])", "./$1"), "\0")


def _joined(paths: pl.Series, end: str) -> bytes:
    """Return the names, byte for byte, with an end behind each."""
    return str(paths.str.join(end)[0] + end).encode()
