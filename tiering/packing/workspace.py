"""The workspace of a conversion: the directory where a store is built, with notes from which a killed one resumes.

A new local store is built in NAME.partial and renamed when it is finished. An append, and a store behind a URL, are
built at their final location: files do not count before the manifest names them. The notes are in the directory
`.tiering`: the lock, the record of the plan, the listing, and a receipt for every finished shard.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from tiering.errors import DatasetError, UsageError, command
from tiering.literals import Check, PackedFormat
from tiering.packing.changing import settle
from tiering.packing.listing import SCHEMA, Listing
from tiering.packing.receipts import Receipt, read_receipt, receipt_location, receipt_number
from tiering.packing.source_changes import changes
from tiering.storage.location import Location
from tiering.storage.lock import locked
from tiering.storage.names import PublicUrl
from tiering.storage.scratch import temporary_directory
from tiering.store.columns import map_column
from tiering.store.layout import CHANGE, LEFT_OUT, MANIFEST, NOTE_BYTES, RECORD, WORK, is_own_name, shard_names
from tiering.store.manifest import Manifest, read_manifest
from tiering.store.settings import Settings
from tiering.system.signals import put_off
from tiering.text import first_few
from tiering.units import counted

LISTING: Final = "listing"

#: The directory of what a compressed source must be unpacked to (sources/records/unpacked.py).
UNPACKED: Final = "unpacked"
_SHOWN: Final = 10

#: The names of directories for temporary files begin with this.
_SCRATCH: Final = "tiering-"


class ConversionRecord(BaseModel):
    """The note of a conversion's plan. Only a conversion with an equal plan can resume it."""

    model_config = ConfigDict(frozen=True)

    kind: PackedFormat
    generation: int
    settings: Settings
    source: PublicUrl
    samples: int
    state: str
    names: str = ""
    sync: bool = False
    check: Check = "quick"

    @property
    def digest(self) -> str:
        """The name of the plan in receipts. Sync and append pack the same shards from the same images."""
        # Receipts from before there was `check`, or re-encoding, count as quick, and as those of originals.
        excluded: dict[str, Any] = dict.fromkeys(("sync", "check") if self.check == "quick" else ("sync",), True)
        excluded |= {"settings": {"reencoded"}} if self.settings.reencoded is None else {}
        return hashlib.sha256(self.model_dump_json(exclude=excluded).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Workspace:
    """An open, locked workspace.

    target: the directory of the store. work: its notes. scratch: a local directory for temporary columns. found: the
    record of an unfinished conversion, if there is one. fresh: this is a new store, not an append.
    """

    target: Location
    work: Location
    scratch: Path
    found: ConversionRecord | None
    fresh: bool

    def agree(self, record: ConversionRecord, listing: Listing, directory: Path, *, restart: bool) -> None:
        """Begin a conversion, or make sure that the unfinished one has the same plan.

        listing: of the source as it is now. directory: of its columns. restart: drop an unfinished conversion.
        Raises UsageError for different settings, DatasetError for a source that has changed.
        """
        if self.found == record:
            return
        if self.found is not None and not (restart or self._asked_to_repair_images(record)):
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
        """Return the receipt of a shard that was packed under this plan and whose file is complete; else None."""
        found = read_receipt(receipt_location(self.work, number))
        if found is None or found.plan != digest:
            return None
        with suppress(FileNotFoundError):
            if (self.target / found.shard.name).size() == found.shard.bytes:
                return found
        return None

    def receipts(self, numbers: Iterable[int], digest: str) -> Iterator[Receipt]:
        """Yield the receipts of shards that workers have packed under this plan.

        Raises UsageError for a shard that a worker packed where this process does not see it.
        """
        for number in numbers:
            found = self.receipt(number, digest)
            if found is None:
                raise UsageError(
                    f"{self.target}: shard {number}", rule="needs a receipt, written by a worker",
                    action="Do all workers see the same file system? Workers elsewhere need a shared one, or a URL.",
                )  # fmt: skip
            yield found

    def clear(self) -> None:
        """Remove the shards and notes of an unfinished conversion, and nothing else.

        In a new store, this removes every file with one of our names. In a finished store, it removes a shard if a
        receipt has its number and the manifest does not name it. The contents of receipts are not trusted.
        """
        (self.work / RECORD).remove()
        if self.fresh:
            (self.target / MANIFEST).remove()
            unfinished = [name for name in self.target.names() if is_own_name(name)]
        else:
            kept = {shard.name for shard in read_manifest(self.target).shards}
            numbers = map(receipt_number, self.work.names())
            unfinished = [
                name for number in numbers if number is not None for name in shard_names(number) if name not in kept
            ]
        for name in unfinished:
            (self.target / name).remove()
        for name in self.work.names():
            if receipt_number(name) is not None or name == LEFT_OUT or name.endswith(".tmp"):
                (self.work / name).remove()

    def has_receipts(self) -> bool:
        """Return whether any shard is done."""
        return any(receipt_number(name) is not None for name in self.work.names())

    def _asked_to_repair_images(self, record: ConversionRecord) -> bool:
        """Return whether the last conversion failed because of bad images, so that a changed source is expected."""
        same = self.found is not None and self.found.model_copy(
            update={
                "state": record.state,
                "samples": record.samples,
                "settings": record.settings,
                "names": record.names,
            }
        )
        return same == record and ((self.target if self.fresh else self.work) / LEFT_OUT).exists()

    def _refuse(self, found: ConversionRecord, wanted: ConversionRecord, listing: Listing) -> None:
        differences: list[str] = []
        if found.state != wanted.state and found.source == wanted.source:
            old = {name: map_column(self.work / LISTING / name, dtype) for name, dtype in SCHEMA.items()}
            differences = changes(old, listing, same_names=found.names == wanted.names)
        if not differences:
            before, now = (_flat(record) for record in (found, wanted))
            other = [
                f"{name} {before.get(name)}, now {now.get(name)}"
                for name in {**now, **before}
                if before.get(name) != now.get(name)
            ]
            raise UsageError(
                str(self.target),
                expected="the settings of the unfinished conversion there",
                found="; ".join(other) or "fields with other names, kinds or values",
                action='Use the same settings to continue, or start again: `resume="never"`',
            )
        raise DatasetError(
            wanted.source,
            expected="the files that the unfinished conversion began with",
            found=f"{len(differences):,} changed since ({first_few(differences, _SHOWN)})",
            action='Put them back to continue, or start again with what is there now: `resume="never"`',
        )


@contextmanager
def workspace(target: Location, *, fresh: bool, keep_purge: bool = False) -> Iterator[Workspace]:
    """Open the workspace of a store and lock it. Finished shards stay there if the block fails.

    target: the directory to write into. fresh: it is new, and is removed again if no shard is finished. keep_purge: as
    for settle.
    Raises UsageError if another converter is working there, or if the directory is not ours.
    """
    work = target / WORK
    if fresh and target.local and _holds_something(target.local) and not work.exists():
        if (target / MANIFEST).exists():
            raise UsageError(
                str(target), expected="nothing, because the store is built there",
                found="a finished store that an older tiering did not rename",
                action=f"Give it its name: {command('mv', '-nT', target, target.url.removesuffix('.partial'))}",
            )  # fmt: skip
        raise UsageError(
            str(target),
            expected="nothing, because the store is built there",
            found="a directory that tiering did not make",
        )
    with ExitStack() as stack:
        # An interruption must not leave these steps half done. Behind a URL, the lock may take long, so allow Ctrl-C.
        with put_off() if work.local else nullcontext():
            if work.local:
                work.make_directory()
            stack.enter_context(locked(work))
            if not fresh:
                settle(target, keep_purge=keep_purge)
            scratch = stack.enter_context(_scratch_in(work))
            opened = Workspace(target, work, scratch, _record(work), fresh)
            stack.enter_context(_leaving_nothing(opened))
        yield opened


@contextmanager
def _scratch_in(work: Location) -> Iterator[Path]:
    """Make a local directory for temporary files, below `work` if that is local."""
    if work.local is None:
        with temporary_directory() as elsewhere:
            yield elsewhere
        return
    for left in work.local.glob(f"{_SCRATCH}*"):
        (work / left.name).remove()  # by a process that was killed: this one holds the lock
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=work.local) as name:
        yield Path(name)


@contextmanager
def _leaving_nothing(space: Workspace) -> Iterator[None]:
    """Remove a workspace if the block fails before any shard is finished. Finished shards stay for the next conversion.

    A list of images that cannot be packed stays too, because the error refers to it.
    """
    try:
        yield
    except BaseException:
        # Do not remove a finished store: after the rename, another store may have this name.
        listed = ((space.target if space.fresh else space.work) / LEFT_OUT).exists()
        needed = listed or (space.target / MANIFEST if space.fresh else space.work / CHANGE).exists()
        if not needed and not space.has_receipts():
            space.work.remove()
            if space.fresh and space.target.local:
                with suppress(OSError):  # it stays if foreign files are in it
                    space.target.local.rmdir()
        raise


def _holds_something(target: Path) -> bool:
    """Return whether there is something other than an empty directory at a path."""
    return target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir())))


def unfinished_append(store: Location, manifest: Manifest) -> str | None:
    """Describe an append to a finished store that is running or was killed; None if there is none."""
    record = _record(store / WORK)
    if record is None or record.generation != manifest.generation + 1:
        return None
    images = counted(record.samples, "image")
    again = command("tiering", "append", *(["--sync"] if record.sync else []), record.source, store)
    return f"An append of {images} is running or was killed. If it was killed, run the same command again: {again}"


def _record(work: Location) -> ConversionRecord | None:
    try:
        return ConversionRecord.model_validate_json((work / RECORD).read(most=NOTE_BYTES))
    except (FileNotFoundError, ValidationError):
        return None


def _flat(record: ConversionRecord) -> dict[str, object]:
    content = record.model_dump(mode="json", exclude={"settings", "state", "samples", "names"})
    content["classes and splits"] = record.names[:8]
    settings = record.settings.model_dump(mode="json")
    encoding = record.settings.reencoded
    # How they are re-encoded decides; what follows from that need not be said.
    return content | settings | ({} if encoding is None else {"reencoded": str(encoding.how)})
