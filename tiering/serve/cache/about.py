"""What a cache notes of a dataset, and its table: made once, and joined by all who use it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tiering.errors import MachineError, StoreError, from_os_error
from tiering.serve.cache.notes import read_note
from tiering.serve.cache.slots import Slots, table_bytes
from tiering.serve.cache.space import CacheSpace
from tiering.storage.local import open_to_write
from tiering.store.manifest import Count


@dataclass(frozen=True, slots=True)
class About:
    """What a cache notes of a dataset: about.json.

    filling: hexadecimal, differs whenever the dataset is cached anew.
    """

    origin: str
    samples: Count
    image_bytes: Count
    unit_samples: Count
    units: Count
    filling: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, dataset: Path) -> About:
        """Read a dataset's about.json. Raises StoreError for one that is damaged or gone."""
        try:
            return read_note(dataset / "about.json", cls)
        except (FileNotFoundError, ValueError) as error:
            raise damaged_notes(dataset / "about.json", str(error)) from error


def open_slots(dataset: Path) -> Slots:
    """Map a dataset's table. Raises StoreError for one that is damaged or gone, or is no file of the cache's own."""
    key = int(About.of(dataset).filling[:8], 16)
    try:
        return Slots(dataset / "slots", key)
    except (FileNotFoundError, ValueError) as error:
        raise damaged_notes(dataset / "slots", str(error)) from error


def damaged_notes(place: Path, found: str) -> StoreError:
    """Return the error for a note or a table of a cache that this program did not write."""
    return StoreError(
        str(place),
        expected="a file as tiering writes it",
        found=found,
        action=f"Remove {place.parent}: what was cached there is fetched anew.",
    )


def join(space: CacheSpace, dataset: Path, about: About) -> tuple[About, int]:
    """Find a dataset's table, or make it, and say that it is in use as long as the descriptor is open.

    dataset: its directory in the cache; about: what to note where it is new. Returns what is noted, and the descriptor.
    Raises MachineError where the cache has no room for the table, or cannot be written.
    """
    try:
        with space.locked():
            if not dataset.is_dir():
                _make(space, dataset, about)
            descriptor = open_to_write(dataset, ["in-use"], os.O_RDWR)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.utime(descriptor)
        found = About.of(dataset)
    except OSError as error:
        raise from_os_error(error) from error
    if replace(found, origin=about.origin, filling=about.filling) != about:
        os.close(descriptor)
        raise damaged_notes(dataset / "about.json", "the notes of another dataset")
    return found, descriptor


def _make(space: CacheSpace, dataset: Path, about: About) -> None:
    room = space.pool.extents * space.pool.extent_bytes
    size = table_bytes(about.units, room * about.units // max(1, about.image_bytes))
    space.tidy()
    if not space.room_for_table(size):
        raise MachineError(
            str(space.directory),
            expected=f"{size:,} bytes of the cache for the table of {about.units:,} units",
            found="less, beside what is in use",
            action="Give a larger --cache-size.",
        )
    # Whole or not at all, so that nobody maps a table that is still being made, locks or no locks.
    made = dataset.with_name(f".new-{uuid.uuid4().hex}")
    made.mkdir()
    with (made / "slots").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    (made / "in-use").touch()
    (made / "about.json").write_text(json.dumps(asdict(about)))
    try:
        made.rename(dataset)
    except OSError:
        shutil.rmtree(made)
        if not dataset.is_dir():
            raise
