"""Log: lists the generations of a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiering.errors import StoreError, command
from tiering.notebook import Shown, Summary, data_frame
from tiering.storage.location import Location
from tiering.store.changes import TIME, Change, change_of
from tiering.store.layout import MANIFEST
from tiering.store.manifest import read_manifest
from tiering.units import format_bytes, format_count

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class StoreLog(Shown):
    """The generations of a store, the last one at the end.

    Attributes:
        store: Path or URL of the store.
        changes: A Change for each generation: its number, when it was written, by which command, its samples and
            their bytes, and the purge that ended it. `open_store(store, generation=...)` opens those without an end.
    """

    store: str
    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def summary(self) -> Summary:
        """Return a row for each generation."""
        rows = [
            (
                f"generation {change.generation}",
                f"{change.action}, {format_count(change.samples)}, {format_bytes(change.image_bytes)}",
            )
            for change in self.changes
        ]
        return f"Log of {self.store}", rows

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each generation."""
        names = ("generation", "action", "time", "samples", "image_bytes", "ended")
        return data_frame({name: [getattr(change, name) for change in self.changes] for name in names})


def log(store: str | os.PathLike[str]) -> StoreLog:
    """List the generations of a store: their numbers, when they were written, by which command, and how large they are.

    Conversions record no time, so that equal sources and settings give equal stores. For them, the log has the time of
    the manifest's file. Changes by tiering up to 0.1 are not in the log.

    Args:
        store: A finished store, its path or URL.

    Returns:
        The generations, the last one at the end.

    Raises:
        StoreError: There is no finished store.

    Example:
        >>> [change.action for change in tiering.log("photos.lmdb")]  # doctest: +SKIP
        ['convert', 'append', 'relabel']
    """
    location = Location.of(store)
    manifest = read_manifest(location)
    if manifest.kind == "folder":
        raise StoreError(
            str(location), expected="a packed store", found="a folder",
            action=f"Pack it first: {command('tiering', 'convert', location)} STORE",
        )  # fmt: skip
    if manifest.log:
        return StoreLog(str(location), tuple(manifest.log))
    written = (location / MANIFEST).modified()
    time = None if written is None else written.strftime(TIME)
    return StoreLog(str(location), (change_of(manifest).model_copy(update={"time": time}),))
