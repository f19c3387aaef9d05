"""Write a store's images back as files.

The files are written to DIRECTORY.exporting/files, which takes the place of DIRECTORY in one step when it is whole. So
DIRECTORY holds all files or none, an export that was killed leaves nothing there, and the next one starts over.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from tiering.convert.export_names import LABELS, TOLD, check_names, clash, find_twin, name_of
from tiering.convert.listing import blocks
from tiering.convert.progress import Progress, no_progress
from tiering.dataset.pixels import encode_png
from tiering.errors import StoreError, UsageError, from_os_error
from tiering.storage.local import sync
from tiering.storage.location import Location
from tiering.storage.lock import locked
from tiering.store.base import Store, shape_of
from tiering.store.manifest import encode_manifest
from tiering.store.open import open_store
from tiering.store.parts import WORK
from tiering.system.syncs import sync_file_system

_FILES: Final = "files"
_RECORD: Final = "export.json"
_BATCH: Final = 1024


class Record(BaseModel):
    """What marks a directory as an export under way: the manifest's digest, and device and inode of its files."""

    model_config = ConfigDict(frozen=True)

    manifest: str
    device: int
    inode: int


def export(
    store: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    progress: Progress = no_progress,
) -> int:
    """Write every image of a store back to a file of its original name; a folder's tree comes out byte for byte.

    Pixels come out as PNG files. Where labels or splits came from a table or from tar files, labels.csv holds them
    (path, label, split), and can itself be converted again. The directory holds all files or none: until it is whole
    the export lies beside it, in DIRECTORY.exporting, and one that was killed is started over by the next.
    store: path or URL; directory: must not exist, or be empty. Returns the number of images.
    Raises UsageError where the directory holds something, StoreError for samples that cannot all be files, such as two
    of one name, and for a sample whose bytes do not have their CRC-32C; MachineError for a full or failing disk.
    """
    opened = open_store(store)
    try:
        return _export(opened, Path(os.path.realpath(directory)), progress)
    except OSError as error:
        located = error if error.filename else OSError(error.errno, error.strerror, str(directory))
        raise from_os_error(located) from error


def _export(store: Store, target: Path, progress: Progress) -> int:
    work = Location(str(target.parent)) / f"{target.name}.exporting"
    digest = hashlib.sha256(encode_manifest(store.manifest)).hexdigest()
    standing = _standing(target)
    if standing is not None and _was_finished(work, target, digest):
        with locked(work / WORK):
            _clean(work)
        return len(store)
    _refuse(target, standing)
    check_names(store)
    if work.exists() and not _is_ours(work):
        raise UsageError(
            str(work), expected="a free place to export to, beside the directory", found="something else",
            action="Move it elsewhere, or choose another directory.",
        )  # fmt: skip
    (work / WORK).make_directory()
    with locked(work / WORK):
        try:
            (work / _FILES).remove()
            (work / _FILES).make_directory()
            files = Path(work.url) / _FILES
            if standing is not None:
                with suppress(PermissionError):
                    os.chown(files, standing.st_uid, standing.st_gid)
                files.chmod(stat.S_IMODE(standing.st_mode))
            about = files.stat()
            record = Record(manifest=digest, device=about.st_dev, inode=about.st_ino)
            (work / WORK / _RECORD).write(record.model_dump_json().encode())
            _write(store, work / _FILES, progress)
            _put_in_place(files, target, new=standing is None)
        except BaseException:
            _clean(work)
            raise
        _clean(work)
    return len(store)


def _standing(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _refuse(target: Path, standing: os.stat_result | None) -> None:
    """Raise UsageError for a directory that holds something, or that another cannot take the place of."""
    if standing is None:
        return
    if not stat.S_ISDIR(standing.st_mode) or any(target.iterdir()):
        raise UsageError(str(target), expected="an empty directory", found="something there", action="Choose another.")
    if os.path.ismount(target) or os.path.samestat(standing, Path().stat()):
        raise UsageError(
            str(target), expected="a directory that another can take the place of",
            found="a mount point" if os.path.ismount(target) else "the one that you are in",
            action="Name a new directory below it.",
        )  # fmt: skip


def _is_ours(work: Location) -> bool:
    """Tell whether a directory is an export under way, or was when it ended: it holds a record, or nothing yet."""
    path = Path(work.url)
    if path.is_symlink() or not path.is_dir():
        return False
    return _record(work) is not None or not {each.name for each in path.iterdir()} - {WORK}


def _record(work: Location) -> Record | None:
    try:
        return Record.model_validate_json((work / WORK / _RECORD).read())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _was_finished(work: Location, target: Path, digest: str) -> bool:
    """Tell whether an export of the same store put the directory in its place and was killed before it cleaned up."""
    record = _record(work)
    if record is None or record.manifest != digest or (work / _FILES).exists():
        return False
    about = target.stat()
    return (about.st_dev, about.st_ino) == (record.device, record.inode)


def _put_in_place(files: Path, target: Path, *, new: bool) -> None:
    """Let the exported directory take its name. Raises UsageError where something appeared there."""
    sync_file_system(files)
    try:
        if new:
            target.mkdir()  # takes the name, or says that somebody else has it
        # An empty directory is all that this can replace, on any file system.
        files.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise UsageError(
            str(target), expected="an empty directory", found="something that appeared there during the export",
            action="Choose another.",
        ) from error  # fmt: skip
    sync(target.parent)


def _clean(work: Location) -> None:
    """Remove what is left of an export; the record goes last but for the lock, for by it the directory is known."""
    (work / _FILES).remove()
    (work / WORK / _RECORD).remove()
    (work / WORK).remove()
    with suppress(OSError):
        Path(work.url).rmdir()


def _write(store: Store, root: Location, progress: Progress) -> None:
    written = 0
    with ExitStack() as open_files:
        table = None
        if store.manifest.layout in TOLD:
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
    pixels = shape_of(manifest) is not None
    for indices in blocks(len(store), _BATCH):
        for row, key, image in zip(indices.tolist(), index.keys(indices), store.read(indices), strict=True):
            data = bytes(image)
            if len(index.crc32c) and google_crc32c.value(data) != index.crc32c[row]:
                raise StoreError(
                    str(store.place), expected=f"the CRC-32C of {os.fsdecode(key)!r}", found="other bytes",
                    action=f"See what is damaged: tiering verify {store.place}",
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
            label = _name(manifest.labels, int(index.label[row]))
            yield path, label, _name(manifest.splits, int(index.split[row])), len(data)


def _name(names: list[str], number: int) -> str:
    return names[number] if number >= 0 else ""
