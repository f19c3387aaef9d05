"""The directories of the datasets in a cache: their files, whether they are in use, and their notes (about.json)."""

from __future__ import annotations

import json
import os
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tiering.cache import files
from tiering.cache.extents import NAME
from tiering.cache.slot_table import SlotTable, is_table
from tiering.errors import StoreError, command

#: The files in the directory of a dataset. Anything else in a cache is foreign: it is skipped, and never removed.
PARTS: Final = ("about.json", "slots", "in-use")

#: The largest about.json in bytes.
_MOST: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class DatasetNotes:
    """The contents of about.json.

    Attributes:
        origin: Path or URL of the dataset.
        samples: Samples in the whole dataset.
        image_bytes: Bytes of all its images.
        unit_samples: Samples in a unit.
        units: Units in the whole dataset.
        filling: 32 hexadecimal digits that differ each time the dataset is cached again.
    """

    origin: str
    samples: int
    image_bytes: int
    unit_samples: int
    units: int
    filling: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def read(cls, dataset: Path) -> DatasetNotes:
        """Read a dataset's about.json. Raises StoreError if it is missing or damaged."""
        path = dataset / "about.json"
        try:
            with os.fdopen(files.open_file(path, os.O_RDONLY), "rb") as file:
                found = cls(**json.loads(file.read(_MOST)))
            found.check()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise StoreError(
                str(path), expected="a cache's notes on a dataset", found=str(error).split("\n")[0][:200],
                action=f"Remove that directory ({command('rm', '-r', dataset)}), or choose another `directory`.",
            ) from error  # fmt: skip
        return found

    def matches(self, other: DatasetNotes) -> bool:
        """Return whether other notes have the same counts; their origin may differ if the store was copied."""
        counts = [(each.samples, each.image_bytes, each.unit_samples, each.units) for each in (self, other)]
        return counts[0] == counts[1]

    def check(self) -> None:
        """Raise ValueError for values that no cache writes."""
        counts = (self.samples, self.image_bytes, self.unit_samples, self.units)
        if not all(type(each) is int and 0 <= each < 1 << 63 for each in counts) or not self.unit_samples:
            raise ValueError("impossible counts")
        if self.units != -(-self.samples // self.unit_samples):
            raise ValueError("a number of units that does not fit its samples")
        names = (self.origin, self.filling)
        if not all(isinstance(each, str) for each in names) or not re.fullmatch(NAME, self.filling):
            raise ValueError("invalid names")


def checked_notes(dataset: Path) -> DatasetNotes:
    """Return a cache's notes on a dataset. Raises StoreError if the dataset's files cannot be used."""
    notes = DatasetNotes.read(dataset)
    if not all(files.is_plain(dataset / name) for name in PARTS) or not is_table(dataset / "slots", notes.units):
        raise StoreError(str(dataset), found="its slot table cannot be used")
    return notes


def open_slot_table(dataset: Path) -> SlotTable:
    """Map a dataset's slot table."""
    return SlotTable(dataset / "slots", int(DatasetNotes.read(dataset).filling[:8], 16))


def datasets_in(directory: Path) -> list[Path]:
    """Return the directories of all datasets, damaged ones included, the one used last at the end."""
    found = [path for path in _directories(directory, NAME) if any(files.is_plain(path / name) for name in PARTS)]
    return sorted(found, key=last_used)


def unfinished_in(directory: Path) -> list[Path]:
    """Return what is left of datasets that a killed process was making or removing."""
    return _directories(directory, rf"\.(new|gone)-{NAME}")


def _directories(directory: Path, names: str) -> list[Path]:
    found = directory.iterdir()
    return [path for path in found if re.fullmatch(names, path.name) and path.is_dir() and not path.is_symlink()]


def in_use(dataset: Path) -> bool:
    """Return whether a process uses a dataset."""
    try:
        descriptor = files.open_file(dataset / "in-use", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not files.lock_of(descriptor)
    finally:
        os.close(descriptor)


def last_used(dataset: Path) -> float:
    """Return when a dataset was used last, s since 1970; 0 if unknown."""
    try:
        return (dataset / "in-use").stat().st_mtime
    except OSError:
        return 0.0


def holds_only_ours(dataset: Path) -> bool:
    """Return whether a dataset's directory holds only files that belong there."""
    return dataset.is_dir() and all(path.name in PARTS for path in dataset.iterdir())


def remove_dataset(dataset: Path) -> None:
    """Remove a dataset's own files. If there are foreign files, they stay, and so does the directory."""
    for name in PARTS:
        with suppress(OSError):
            (dataset / name).unlink()
    with suppress(OSError):
        dataset.rmdir()
