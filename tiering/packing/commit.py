"""Commit: give a finished store its name, without losing anything that another program put there.

The order is finish, sync, rename, clean. If a conversion is killed before the rename, it leaves a finished
NAME.partial, which the next conversion recognises and renames. If it is killed after the rename, it leaves a finished
store with notes, which the next conversion removes.

The rename replaces nothing. To overwrite, the new store and the old one swap names in one step. If NAME.partial then
is not the store that was at the output when the conversion began, they swap back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import google_crc32c
from pydantic import BaseModel, ConfigDict, ValidationError

from tiering.errors import UsageError, command
from tiering.storage.json_text import parse_json
from tiering.storage.local import sync
from tiering.storage.location import Location
from tiering.storage.lock import locked
from tiering.store.layout import MANIFEST, NOTE_BYTES, RECORD, WORK, foreign_files
from tiering.store.manifest import LARGEST, read_manifest
from tiering.system.file_calls import UNSUPPORTED, exchange, rename_new
from tiering.text import first_few
from tiering.units import counted

_REPLACED = "replaced.json"
_SHOWN = 5


class StoreIdentity(BaseModel):
    """The store that was at the output when a conversion began: its directory and the CRC-32C of its manifest."""

    model_config = ConfigDict(frozen=True)

    device: int
    inode: int
    manifest: int

    @classmethod
    def at(cls, store: Location) -> StoreIdentity | None:
        """Return the finished store at a local path; None if there is none."""
        try:
            found = os.lstat(store.url)
            return cls(
                device=found.st_dev,
                inode=found.st_ino,
                manifest=google_crc32c.value((store / MANIFEST).read(most=LARGEST)),
            )
        except (FileNotFoundError, NotADirectoryError):
            return None


def partial_of(output: Location) -> Location:
    """Return where to build the store of an output: beside it, or at the output itself if that is a URL."""
    return Location(output.url + ".partial") if output.local else output


def check_output(output: Location, *, overwrite: bool) -> StoreIdentity | None:
    """Make sure that a new store may take a name.

    Returns the store that it will replace; None if the name is free.
    Raises UsageError if something is there that would be lost.
    """
    if not output.local:
        if (output / MANIFEST).exists() or (output.exists() and not (output / WORK).exists()):
            raise UsageError(str(output), found="already exists", action="Choose another URL.")
        return None
    _restore(output)
    if not output.exists():
        return None
    if not overwrite:
        raise UsageError(
            str(output), found="already exists", action="Replace it with `overwrite`, or choose another path."
        )
    old = None if output.local.is_symlink() else StoreIdentity.at(output)
    if old is None:
        raise UsageError(
            str(output), found="it is not a tiering store, so it is not replaced", action="Choose another path."
        )
    foreign = list(foreign_files(output.names(), read_manifest(output)))
    if foreign:
        raise UsageError(
            str(output), expected="only files of the store to replace",
            found=f"{counted(len(foreign), 'foreign file')} ({first_few(foreign, _SHOWN, separator=', ')})",
            action="Move them elsewhere first.",
        )  # fmt: skip
    return old


def check_unfinished(output: Location, source: str, *, overwrite: bool) -> None:
    """Raise UsageError if there is no unfinished conversion to continue.

    source: as the caller named it. overwrite: the output may be a finished store, which will be replaced.
    """
    if was_not_cleaned(output):
        return
    if (output / MANIFEST).exists() and not overwrite:
        raise UsageError(
            str(output), expected="an unfinished conversion to continue", found="a finished store",
            action="To pack its missing and damaged shards again: "
            + command("tiering", "repair", output, "--source", source),
        )  # fmt: skip
    if not (partial_of(output) / WORK / RECORD).exists():
        raise UsageError(
            str(output), rule="needs an unfinished conversion to continue",
            action='Leave out `resume="only"` to begin one.',
        )  # fmt: skip


def was_not_cleaned(output: Location) -> bool:
    """Return whether a conversion was killed after it renamed the store, but before it removed its notes."""
    if not (output / WORK / RECORD).exists() or not (output / MANIFEST).exists():
        return False
    try:
        record = parse_json((output / WORK / RECORD).read(most=NOTE_BYTES))
        return bool(record["generation"] == 1 and read_manifest(output).generation == 1)
    except (ValueError, KeyError, TypeError):
        return False


def publish(partial: Location, output: Location, old: StoreIdentity | None) -> None:
    """Give a finished store its name. If something else has the name now, keep both and raise UsageError."""
    if partial.local is None or output.local is None:
        return
    if old is None:
        try:
            _rename(partial.local, output.local)
        except FileExistsError:
            raise _appeared(partial, output, "something new") from None
    else:
        _swap(partial, output, old)
    sync(output.local.parent)


def clean(output: Location) -> None:
    """Remove what a conversion kept beside its finished store: the store that it replaced, and its notes."""
    work = output / WORK
    if output.local:
        with suppress(FileNotFoundError, ValidationError):
            replaced = StoreIdentity.model_validate_json((work / _REPLACED).read(most=NOTE_BYTES))
            partial = partial_of(output)
            if StoreIdentity.at(partial) == replaced:
                remove_store(partial)
            elif not (partial / MANIFEST).exists():
                # Left by a conversion that was killed after it removed the manifest.
                partial.remove_empty_directories()
        # Remove the record last. It shows the next conversion that there is something to clean.
        for name in work.names():
            if name != RECORD:
                (work / name).remove()
        (work / RECORD).remove()
        work.remove_empty_directories()
        return
    work.remove()


def remove_store(store: Location) -> None:
    """Remove a local store file by file, its manifest last, and only its own files.

    Raises UsageError if foreign files are left.
    """
    manifest = read_manifest(store)
    foreign = set(foreign_files(store.names(), manifest))
    for name in store.names():
        if name not in foreign and name != MANIFEST:
            (store / name).remove()
    if foreign:
        raise UsageError(
            str(store), expected="only the replaced store's files", found=f"also {', '.join(sorted(foreign)[:_SHOWN])}",
            action="The new store is finished. Move these files elsewhere, and run the same command again.",
        )  # fmt: skip
    store.remove_empty_directories()
    (store / MANIFEST).remove()
    store.remove_empty_directories()


def _rename(partial: Path, output: Path) -> None:
    try:
        rename_new(partial, output)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        # Network file systems often lack RENAME_NOREPLACE. The process that makes the directory owns the name. A rename
        # only replaces an empty directory, so it can only replace ours.
        output.mkdir()
        partial.rename(output)


def _swap(partial: Location, output: Location, old: StoreIdentity) -> None:
    """Swap a finished store with the one that it replaces, and check that it replaced the right one."""
    assert partial.local and output.local  # noqa: S101, PT018 - for the type checker
    if StoreIdentity.at(output) != old:
        raise _appeared(partial, output, "another store")
    (output / WORK).make_directory()
    with locked(output / WORK):  # so that no append starts on a store that is about to go
        (partial / WORK / _REPLACED).write(old.model_dump_json().encode())
        try:
            exchange(partial.local, output.local)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            raise UsageError(
                str(output), found="the file system cannot swap two directories",
                action=f"{partial} is finished. Remove the old store, and run the same command again.",
            ) from error  # fmt: skip
        if StoreIdentity.at(partial) != old:
            exchange(partial.local, output.local)
            raise _appeared(partial, output, "another store")


def _appeared(partial: Location, output: Location, found: str) -> UsageError:
    return UsageError(
        str(output), expected="the same as when the conversion began", found=found,
        action=f"The finished store is kept in {partial}. Move away what is there, and run the same command again:"
        " nothing is packed twice.",
    )  # fmt: skip


def _restore(output: Location) -> None:
    """Restore the name of a store that version 0.1.0 set aside as NAME.replaced-PID before it was killed."""
    assert output.local is not None  # noqa: S101 - for the type checker
    if output.exists():
        return
    for aside in output.local.parent.glob(f"{output.local.name}.replaced-[0-9]*"):
        if (aside / MANIFEST).is_file():
            with suppress(FileExistsError):
                rename_new(aside, output.local)
            return
