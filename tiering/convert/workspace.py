"""The workspace of a conversion: where a store is built, and the notes by which a killed conversion goes on.

A new local store is built in NAME.partial and renamed when it is finished. What is appended, and a store behind a URL,
are built in their place: nothing counts before the manifest names it. The notes lie in `.tiering` of that directory:
the lock, the record of the plan, the listing it was made from, and a receipt for every shard that is done.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from tiering.convert.listing import SCHEMA, Listing, changes
from tiering.convert.receipt import Receipt, read_receipt, receipt_place
from tiering.errors import DatasetError, UsageError
from tiering.storage.location import Location
from tiering.storage.lock import locked
from tiering.storage.names import PublicUrl
from tiering.store.columns import map_column
from tiering.store.manifest import Kind, Settings
from tiering.store.open import WORK

RECORD: Final = "plan.json"
LISTING: Final = "listing"
BAD_FILES: Final = "bad-files.tsv"
_SHOWN: Final = 10


class Record(BaseModel):
    """What a conversion set out to do; one that goes on must want the same."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    generation: int
    settings: Settings
    source: PublicUrl
    samples: int
    state: str

    @property
    def digest(self) -> str:
        """What receipts name the plan by."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Workspace:
    """target: the directory being written; work: its notes; scratch: a local directory for temporary columns;
    found: the record of an unfinished conversion that was there already.
    """  # noqa: D205 - a list of fields

    target: Location
    work: Location
    scratch: Path
    found: Record | None

    def agree(self, record: Record, listing: Listing, directory: Path, *, restart: bool) -> None:
        """Begin a conversion, or make sure that the one found here is the same.

        listing, directory: what the source holds now, and where those columns lie.
        Raises UsageError for other settings, DatasetError for a source that has changed; restart begins anew instead.
        """
        if self.found == record:
            return
        if self.found is not None and not (restart or self._was_told_to_mend(record)):
            self._refuse(self.found, record, listing)
        self.clear()
        for name in SCHEMA:
            if self.work.local is None:
                (self.work / LISTING / name).write((directory / name).read_bytes())
        if self.work.local:
            (self.work / LISTING).remove()
            directory.rename(self.work.local / LISTING)
        (self.work / RECORD).write(record.model_dump_json(indent=2).encode())

    def receipt(self, number: int, digest: str) -> Receipt | None:
        """Return the receipt of a shard that is done under this plan, and whose file is there in full."""
        found = read_receipt(receipt_place(self.work, number))
        if found is None or found.plan != digest:
            return None
        with suppress(FileNotFoundError):
            if (self.target / found.shard.name).size() == found.shard.bytes:
                return found
        return None

    def clear(self) -> None:
        """Remove the shards and notes of an unfinished conversion."""
        (self.work / RECORD).remove()
        for name in self.work.names():
            if name.endswith(".npz"):
                done = read_receipt(self.work / name)
                if done is not None:
                    (self.target / done.shard.name).remove()
                (self.work / name).remove()
            elif name == BAD_FILES or name.endswith(".tmp"):
                (self.work / name).remove()

    def has_receipts(self) -> bool:
        """Tell whether any shard is done."""
        return any(name.endswith(".npz") and "/" not in name for name in self.work.names())

    def _was_told_to_mend(self, record: Record) -> bool:
        """Tell whether the last run ended by asking to mend images, so that a changed source is the answer to that."""
        same = self.found is not None and self.found.model_copy(
            update={"state": record.state, "samples": record.samples, "settings": record.settings}
        )
        return same == record and (self.work / BAD_FILES).exists()

    def _refuse(self, found: Record, wanted: Record, listing: Listing) -> None:
        before, now = (_flat(record) for record in (found, wanted))
        other = [f"{name} {before[name]}, now {now[name]}" for name in now if before[name] != now[name]]
        if found.state == wanted.state or found.source != wanted.source:
            raise UsageError(
                str(self.target),
                expected="the settings of the unfinished conversion there",
                found="; ".join(other) or "another plan",
                action="Use the same settings to go on, or begin anew: --restart",
            )
        old = {name: map_column(self.work / LISTING / name, dtype) for name, dtype in SCHEMA.items()}
        said = changes(old, listing)
        raise DatasetError(
            wanted.source,
            expected="the files that the unfinished conversion began with",
            found=f"{len(said):,} changed since ({'; '.join(said[:_SHOWN])}{'; ...' if len(said) > _SHOWN else ''})",
            action="Put them back to go on, or begin anew with what is there now: --restart",
        )


@contextmanager
def workspace(target: Location, *, fresh: bool) -> Iterator[Workspace]:
    """Open the workspace of a store and lock it. What is done stays there if the block fails.

    target: directory to write into; fresh: it is made for this and goes again if nothing is done in it.
    Raises UsageError where another converter is at work, or a directory that is not ours stands in the way.
    """
    work = target / WORK
    if fresh and target.local and target.exists() and not work.exists():
        raise UsageError(
            str(target), expected="a free place to build the store in", found="a directory that tiering did not make"
        )
    if work.local:
        work.make_directory()
    with locked(work), tempfile.TemporaryDirectory(prefix="tiering-", dir=work.local) as scratch:
        opened = Workspace(target, work, Path(scratch), _record(work))
        try:
            yield opened
        except BaseException:
            if not opened.has_receipts():
                (target if fresh and target.local else work).remove()
            raise


def _record(work: Location) -> Record | None:
    try:
        return Record.model_validate_json((work / RECORD).read())
    except (FileNotFoundError, ValidationError):
        return None


def _flat(record: Record) -> dict[str, object]:
    content = record.model_dump(mode="json", exclude={"settings", "state", "samples"})
    return content | record.settings.model_dump(mode="json")
