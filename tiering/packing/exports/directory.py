"""A directory that an export fills: it appears whole, or not at all.

The files are written to DIRECTORY.exporting.files. When it is complete, it replaces DIRECTORY in one step. So DIRECTORY
holds all files or none: an export that is killed leaves nothing there, and the next one starts over. A note beside it,
DIRECTORY.exporting, is made first and removed last. It marks leftovers as ours.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from tiering.errors import StoreError, UsageError
from tiering.storage.local import sync
from tiering.storage.location import Location
from tiering.system.file_calls import sync_file_system

_NOTE_BYTES: Final = 256


class ExportNote(BaseModel):
    """The content of an export's note: a digest of what is exported, and device and inode of the directory of files.

    manifest: of the manifest, the selection and the format. Device and inode are 0 until that directory exists.
    """

    model_config = ConfigDict(frozen=True)

    manifest: str
    device: int = 0
    inode: int = 0


def fill_directory(target: Path, digest: str, check: Callable[[], None], write: Callable[[Location], None]) -> None:
    """Make a directory with all files of an export.

    target: the directory, which does not exist or is empty. digest: of what is exported. check: raises an error for
    what cannot be exported, before anything is written. write: writes the files into a directory.

    Raises UsageError for a directory that is not empty or cannot be replaced, and if another export runs there.
    """
    parent = Location(str(target.parent))
    note, files = parent / f"{target.name}.exporting", parent / f"{target.name}.exporting.files"
    old = _stat(target)
    finished = old is not None and _was_finished(note, files, old, digest)
    if not finished:
        _refuse(target, old)
        check()
    with _held(note, files) as held:
        try:
            if not finished:
                _mark(held, ExportNote(manifest=digest))
                files.remove()
                files.make_directory()
                _mark(held, _like(Path(files.url), old, digest))
                write(files)
                _publish(Path(files.url), target, new=old is None)
        finally:
            files.remove()
            note.remove()


def _stat(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _refuse(target: Path, old: os.stat_result | None) -> None:
    """Raise UsageError for a directory that is not empty or cannot be replaced."""
    if old is None:
        return
    if not stat.S_ISDIR(old.st_mode) or any(target.iterdir()):
        raise UsageError(str(target), found="the directory is not empty", action="Choose another.")
    if os.path.ismount(target) or os.path.samestat(old, Path().stat()):
        raise UsageError(
            str(target), expected="a directory that can be replaced",
            found="a mount point" if os.path.ismount(target) else "the current directory",
            action="Name a new directory below it.",
        )  # fmt: skip


@contextmanager
def _held(note: Location, files: Location) -> Iterator[int]:
    """Lock the note of an export, new or left behind, while the block runs, and yield its descriptor.

    Raises UsageError if another export holds it, or if the files there are not ours.
    """
    descriptor = note.open_to_update()
    try:
        if not _lock(descriptor) or not note.is_open_as(descriptor):
            raise UsageError(str(note), found="another export is running there", action="Wait for it.")
        if not (content := os.pread(descriptor, 2 * _NOTE_BYTES, 0)) and files.exists():
            note.remove()
            raise _foreign(files)
        if content and _parsed(content) is None:
            raise _foreign(note)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file; False if another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _foreign(location: Location) -> UsageError:
    return UsageError(
        str(location), found="it is neither empty nor an unfinished export of tiering",
        action="Move it elsewhere, or choose another directory.",
    )  # fmt: skip


def _mark(descriptor: int, record: ExportNote) -> None:
    # All notes have the same length and are written in one call, so a kill leaves either the old or the new one.
    os.pwrite(descriptor, record.model_dump_json().encode().ljust(_NOTE_BYTES), 0)


def _parsed(note: bytes) -> ExportNote | None:
    try:
        return ExportNote.model_validate_json(note)
    except ValidationError:
        return None


def _like(files: Path, old: os.stat_result | None, digest: str) -> ExportNote:
    """Give the new directory the owner and mode of the one that it will replace, and return its note."""
    if old is not None:
        with suppress(PermissionError):
            os.chown(files, old.st_uid, old.st_gid)
        files.chmod(stat.S_IMODE(old.st_mode))
    about = files.stat()
    return ExportNote(manifest=digest, device=about.st_dev, inode=about.st_ino)


def _was_finished(note: Location, files: Location, old: os.stat_result, digest: str) -> bool:
    """Return whether an export of the same store was killed after it renamed the directory, but before cleaning up."""
    try:
        record = _parsed(note.read())
    except (FileNotFoundError, StoreError):
        return False
    return record == ExportNote(manifest=digest, device=old.st_dev, inode=old.st_ino) and not files.exists()


def _publish(files: Path, target: Path, *, new: bool) -> None:
    """Give the exported directory its name. Raises UsageError if something appeared there."""
    sync_file_system(files)
    try:
        if new:
            target.mkdir()  # takes the name, or fails because it is taken
        # On any file system, this can only replace an empty directory.
        files.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise UsageError(
            str(target), found="files appeared there during the export",
            action="Choose another.",
        ) from error  # fmt: skip
    sync(target.parent)
