"""The directory of one dataset in a cache: its notes (about.json) and slot table, created once and shared."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tiering.cache import files
from tiering.cache.directory import PARTS, in_use, remove_dataset
from tiering.cache.extents import NAME
from tiering.cache.slot_table import SlotTable, is_table, table_bytes
from tiering.cache.space import CacheSpace
from tiering.errors import MachineError, StoreError, command, from_os_error

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
        """Return whether another note has the same counts; its origin may differ if the store was copied."""
        counts = [(each.samples, each.image_bytes, each.unit_samples, each.units) for each in (self, other)]
        return counts[0] == counts[1]

    def check(self) -> None:
        """Raise ValueError for values that no cache writes."""
        counts = (self.samples, self.image_bytes, self.unit_samples, self.units)
        if not all(type(each) is int and 0 <= each < 1 << 63 for each in counts) or not self.unit_samples:
            raise ValueError("impossible counts")
        if self.units != -(-self.samples // self.unit_samples):
            raise ValueError("a number of units that does not fit its samples")
        if (
            not isinstance(self.origin, str)
            or not isinstance(self.filling, str)
            or not re.fullmatch(NAME, self.filling)
        ):
            raise ValueError("invalid names")


def open_slot_table(dataset: Path) -> SlotTable:
    """Map a dataset's table."""
    return SlotTable(dataset / "slots", int(DatasetNotes.read(dataset).filling[:8], 16))


def checked_notes(dataset: Path) -> DatasetNotes:
    """Return a cache's notes on a dataset. Raises StoreError if the dataset's files cannot be used."""
    about = DatasetNotes.read(dataset)
    if not all(files.is_plain(dataset / name) for name in PARTS) or not is_table(dataset / "slots", about.units):
        raise StoreError(str(dataset), expected="the slot table of a dataset", found="none that can be used")
    return about


def join_dataset(space: CacheSpace, dataset: Path, about: DatasetNotes) -> tuple[DatasetNotes, int]:
    """Open a dataset's directory in a cache, creating it if it is missing, and mark it as in use.

    Args:
        space: The cache.
        dataset: The directory of the dataset in the cache.
        about: The notes to write if it is new.

    Returns:
        The notes in the directory, and a descriptor. The dataset counts as in use while the descriptor is open.

    Raises:
        MachineError: If the cache has no room for the table, or cannot be written.
    """
    try:
        with space.locked():
            _mend(space, dataset, about)
            if not (dataset / "about.json").exists():
                _make(space, dataset, about)
            descriptor = files.open_file(dataset / "in-use", os.O_RDWR | os.O_CREAT)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.utime(dataset / "in-use")
        if not _is_sound(dataset, about):
            os.close(descriptor)
            raise StoreError(
                str(dataset), expected="notes on this dataset", found="notes on another one, which is in use",
                action="Choose another `directory`.",
            )  # fmt: skip
    except OSError as error:
        raise from_os_error(error) from error
    return DatasetNotes.read(dataset), descriptor


def _mend(space: CacheSpace, dataset: Path, about: DatasetNotes) -> None:
    """Remove a damaged dataset, unless a process uses it. Call it under the lock."""
    if dataset.is_dir() and not _is_sound(dataset, about) and not in_use(dataset):
        space.pool.remove(dataset.name)
        remove_dataset(dataset)


def _is_sound(dataset: Path, about: DatasetNotes | None = None) -> bool:
    try:
        found = checked_notes(dataset)
    except StoreError:
        return False
    return about is None or found.matches(about)


def _make(space: CacheSpace, dataset: Path, about: DatasetNotes) -> None:
    room = space.pool.extents * space.pool.extent_bytes
    size = table_bytes(about.units, room * about.units // max(1, about.image_bytes))
    space.tidy()
    if not space.room_for_table(size):
        raise MachineError(
            str(space.directory),
            expected=f"{size:,} bytes of the cache for the table of {about.units:,} units",
            found="less, beside what is in use",
            action="Give a larger `size`.",
        )
    # Create it under another name, so that no process maps an unfinished table, even where locks do nothing.
    made = dataset.with_name(f".new-{uuid.uuid4().hex}")
    files.make_directory(made)
    try:
        files.allocate(made / "slots", size)
        files.write_file(made / "in-use", b"")
        files.write_file(made / "about.json", json.dumps(asdict(about)).encode())
        _put(made, dataset)
    except OSError:
        remove_dataset(made)
        raise


def _put(made: Path, dataset: Path) -> None:
    """Give a new dataset its name, even if a directory with foreign files already has it."""
    try:
        made.rename(dataset)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    else:
        return
    if _is_sound(dataset):  # another process was first, on a file system where locks do nothing
        remove_dataset(made)
        return
    for name in reversed(PARTS):  # the notes last: only they make it a dataset
        try:
            (made / name).rename(dataset / name)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(dataset / name)) from error
    made.rmdir()
