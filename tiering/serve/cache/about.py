"""What a cache notes of a dataset, and its table: made once, and joined by all who use it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tiering.errors import MachineError, from_os_error
from tiering.serve.cache.slots import Slots, table_bytes
from tiering.serve.cache.space import CacheSpace


@dataclass(frozen=True, slots=True)
class About:
    """What a cache notes of a dataset: about.json.

    filling: hexadecimal, differs whenever the dataset is cached anew.
    """

    origin: str
    samples: int
    image_bytes: int
    unit_samples: int
    units: int
    filling: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, dataset: Path) -> About:
        """Read a dataset's about.json."""
        return cls(**json.loads((dataset / "about.json").read_text()))


def open_slots(dataset: Path) -> Slots:
    """Map a dataset's table."""
    return Slots(dataset / "slots", int(About.of(dataset).filling[:8], 16))


def join(space: CacheSpace, dataset: Path, about: About) -> tuple[About, int]:
    """Find a dataset's table, or make it, and say that it is in use as long as the descriptor is open.

    dataset: its directory in the cache; about: what to note where it is new. Returns what is noted, and the descriptor.
    Raises MachineError where the cache has no room for the table, or cannot be written.
    """
    try:
        with space.locked():
            if not dataset.is_dir():
                _make(space, dataset, about)
            descriptor = os.open(dataset / "in-use", os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.utime(dataset / "in-use")
        return About.of(dataset), descriptor
    except OSError as error:
        raise from_os_error(error) from error


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
