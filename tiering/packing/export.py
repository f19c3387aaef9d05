"""Write a store's images back as files.

The files are written to DIRECTORY.exporting.files. When it is complete, it replaces DIRECTORY in one step. So DIRECTORY
holds all files or none: an export that is killed leaves nothing there, and the next one starts over. A note beside it,
DIRECTORY.exporting, is made first and removed last. It marks leftovers as ours.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from tiering.arrays import row_parts
from tiering.errors import StoreError, UsageError, command, from_os_error
from tiering.images.pixels import encode_png
from tiering.packing.export_names import LABELS, WITH_LABELS_FILE, check_names, clash, find_twin, name_of
from tiering.packing.progress import Progress, no_progress
from tiering.storage.local import sync
from tiering.storage.location import Location
from tiering.store.manifest import encode_manifest
from tiering.store.open import open_store
from tiering.store.protocol import Store, shape_of
from tiering.system.file_calls import sync_file_system

_NOTE_BYTES: Final = 256
_BATCH: Final = 1024


class ExportNote(BaseModel):
    """The content of an export's note: the digest of the manifest, and device and inode of the directory of files.

    Device and inode are 0 until that directory exists.
    """

    model_config = ConfigDict(frozen=True)

    manifest: str
    device: int = 0
    inode: int = 0


def export(
    store: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    progress: Progress = no_progress,
) -> int:
    """Write every image of a store to a file with its original name and bytes.

    Pixels become PNG files. If labels or splits came from a table or from tar files, they are written to labels.csv
    (path, label, split), which can be converted again. The directory holds all files or none: an unfinished export is
    beside it, in DIRECTORY.exporting.files. If it is killed, the next export starts over.

    Args:
        store: A store, its path or URL.
        directory: The directory to make. It must not exist, or be empty.
        progress: Called with the images written, all images, and the bytes written.

    Returns:
        The number of images.

    Raises:
        UsageError: The directory is not empty.
        StoreError: Two samples would become one file, a key is no valid path, or a sample's CRC-32C is wrong.
        MachineError: The disk is full or fails.

    Example:
        >>> tiering.export("photos.lmdb", "photos")  # doctest: +SKIP
        25
    """
    opened = open_store(store)
    try:
        return _export(opened, Path(os.path.realpath(directory)), progress)
    except OSError as error:
        raise from_os_error(error, directory) from error


def _export(store: Store, target: Path, progress: Progress) -> int:
    parent = Location(str(target.parent))
    note, files = parent / f"{target.name}.exporting", parent / f"{target.name}.exporting.files"
    digest = hashlib.sha256(encode_manifest(store.manifest)).hexdigest()
    old = _stat(target)
    finished = old is not None and _was_finished(note, files, old, digest)
    if not finished:
        _refuse(target, old)
        check_names(store)
    with _held(note, files) as held:
        try:
            if not finished:
                _mark(held, ExportNote(manifest=digest))
                files.remove()
                files.make_directory()
                _mark(held, _like(Path(files.url), old, digest))
                _write(store, files, progress)
                _publish(Path(files.url), target, new=old is None)
        finally:
            files.remove()
            note.remove()
    return len(store)


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
        raise UsageError(str(target), expected="an empty directory", found="files there", action="Choose another.")
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
            raise UsageError(
                str(note), expected="one export at a time", found="another one running there", action="Wait for it."
            )
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
        str(location), expected="an unfinished export of tiering, or nothing", found="something else",
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
            str(target), expected="an empty directory", found="something that appeared there during the export",
            action="Choose another.",
        ) from error  # fmt: skip
    sync(target.parent)


def _write(store: Store, root: Location, progress: Progress) -> None:
    written = 0
    with ExitStack() as open_files:
        table = None
        if store.manifest.layout in WITH_LABELS_FILE:
            file = open_files.enter_context((root / LABELS).creating())
            text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
            table = csv.writer(open_files.enter_context(text))
            table.writerow(["path", "label", "split"])
        for number, (*row, size) in enumerate(_files(store, root), start=1):
            if table is not None:
                table.writerow(row)
            written += size
            progress(number, len(store), written)


def _files(store: Store, root: Location) -> Iterator[tuple[str, str, str, int]]:
    """Write the files, and yield path, label, split and size of each."""
    manifest, index = store.manifest, store.index
    classes = manifest.classes
    pixels = shape_of(manifest) is not None
    for indices in row_parts(len(store), _BATCH):
        for row, key, image in zip(indices.tolist(), index.keys(indices), store.read(indices), strict=True):
            data = bytes(image)
            if len(index.crc32c) and google_crc32c.value(data) != index.crc32c[row]:
                raise StoreError(
                    str(store.location), expected=f"the CRC-32C of {os.fsdecode(key)!r}", found="other bytes",
                    action=f"See what is damaged: {command('tiering', 'verify', store.location)}",
                )  # fmt: skip
            name = name_of(key, pixels=pixels)
            if pixels:
                data = encode_png(np.asarray(image))
            path = os.fsdecode(name)
            try:
                (root / path).create(data)
            except FileExistsError as error:
                twin = find_twin(store, name) or b"something"
                raise clash(store, [name, twin], "one file on this file system") from error
            yield path, classes.get(int(index.label[row]), ""), _name(manifest.splits, int(index.split[row])), len(data)


def _name(names: list[str], number: int) -> str:
    return names[number] if number >= 0 else ""
