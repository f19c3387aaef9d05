"""Write the samples of a store back: as files, as tar files in WebDataset's layout, or as Hugging Face's Parquet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from tiering.errors import UsageError, from_os_error
from tiering.literals import ExportFormat
from tiering.packing.exports.directory import fill_directory
from tiering.packing.exports.folder import FolderExport
from tiering.packing.exports.parquet import ParquetExport
from tiering.packing.exports.webdataset import WebDatasetExport
from tiering.progress import Progress, no_progress
from tiering.storage.location import Location
from tiering.store.manifest import encode_manifest
from tiering.store.open import open_store
from tiering.store.protocol import Store
from tiering.store.selection import selection_of, unselected


class _Form(Protocol):
    """One form of the export of a store."""

    def check(self) -> None:
        """Raise StoreError for samples that it cannot hold."""
        ...

    def write(self, root: Location, progress: Progress) -> None:
        """Write all files into a directory."""
        ...


_FORMS: Final[dict[ExportFormat, Callable[[Store], _Form]]] = {
    "folder": FolderExport, "webdataset": WebDatasetExport, "parquet": ParquetExport,
}  # fmt: skip


def export(
    store: Store | str | os.PathLike[str],
    directory: str | os.PathLike[str],
    to: ExportFormat = "folder",
    *,
    progress: Progress = no_progress,
) -> int:
    """Write every sample of a store with the bytes that it has there, in a form that other programs read.

    "folder": each image becomes a file with its original name; a re-encoded one gets a further extension if the name
    says another format. Pixels become PNG files, or .npy files if PNG cannot hold them. Fields that came from files
    become files beside the image, and so do images, bytes and arrays: 1.txt, 1.mask.png. All other fields go into
    metadata.parquet. So do labels and splits that cannot be read from the paths; in a store without fields, they go
    into labels.csv. Either table can be converted again.

    "webdataset": tar files of up to 500 MB with the members of one sample after another: 1.jpg, 1.cls, 1.mask.png, and
    1.json with the other fields.

    "parquet": Parquet files of up to 500 MB as Hugging Face's datasets write them, with a column for each field.

    Each image and each value is compared with its CRC-32C. The directory holds all files or none: an unfinished export
    is beside it, in DIRECTORY.exporting.files. If it is killed, the next export starts over.

    Args:
        store: A store or a selection, or a path or URL.
        directory: The directory to make. It must not exist, or be empty.
        to: The form of the export.
        progress: Called with the samples written, all samples, and the bytes written.

    Returns:
        The number of samples.

    Raises:
        UsageError: The directory is not empty, or there is no such form.
        StoreError: Two samples would become one file, a key is no valid path, a CRC-32C is wrong, or the form cannot
            hold the samples.
        MachineError: The disk is full or fails.

    Example:
        >>> tiering.export("photos.lmdb", "photos")  # doctest: +SKIP
        25
        >>> tiering.export("photos.lmdb", "shards", to="webdataset")  # doctest: +SKIP
        25
    """
    if to not in _FORMS:
        raise UsageError("to", rule=f"must be one of {', '.join(_FORMS)}", found=str(to))
    opened = open_store(store) if isinstance(store, str | os.PathLike) else store
    form = _FORMS[to](opened)
    manifest = encode_manifest(unselected(opened).manifest)
    digest = hashlib.sha256(manifest + (selection_of(opened) or "").encode() + to.encode()).hexdigest()
    try:
        fill_directory(Path(os.path.realpath(directory)), digest, form.check, lambda root: form.write(root, progress))
    except OSError as error:
        raise from_os_error(error, directory) from error
    return len(opened)
