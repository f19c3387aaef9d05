"""Recognise the dataset at a path or URL: a folder, tar files, a table, annotated images, or a packed dataset."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tiering.errors import DatasetError, from_os_error
from tiering.images.formats import is_image_name
from tiering.sources.account import Ledger
from tiering.sources.annotations.coco_documents import images_directory, is_coco
from tiering.sources.annotations.recognise import AnnotatedKind, annotated_kind
from tiering.sources.annotations.voc import folders_below, mask_patterns
from tiering.sources.folder import top_of
from tiering.sources.left_out import unlooked
from tiering.sources.packed_datasets import PackedDataset, RecordKind, already_packed, packed, record_kind
from tiering.sources.records.formats import files_of, must_unpack
from tiering.sources.tables.table import TABLE_EXTENSIONS, is_list, is_table_name
from tiering.sources.tar_members import compressed
from tiering.sources.tar_samples import is_compressed_name, is_tar_name
from tiering.sources.trees.contents import special
from tiering.sources.trees.directory import names_in
from tiering.sources.trees.remote import connect
from tiering.sources.trees.walk import Walk
from tiering.storage.bucket import within_time
from tiering.storage.failures import asking
from tiering.storage.urls import joined, name_of
from tiering.text import display, shown, without_secrets

SourceKind = Literal["folder", "table", "tar"] | RecordKind | AnnotatedKind

#: How many names in a directory are looked at to recognise annotations.
_MOST_OTHERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Recognised:
    """A recognised dataset: see Source for url, kind, files and compressed. fields: as in Source.with_fields.

    root: the directory of the images, for a document of annotations.
    """

    url: str
    kind: SourceKind
    files: tuple[str, ...] = ()
    compressed: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)
    root: str = ""


def recognise(url: str, root: str = "") -> Recognised:
    """Recognise the dataset at a path or URL. Raises as open_source does.

    root: the directory that names in it start from, if the caller gave one.
    """
    name = name_of(url)
    if is_directory(url):
        return _of_directory(url)
    if is_compressed_name(name):
        raise compressed(_shown(url))
    if is_tar_name(name):
        return Recognised(url, "tar", (url,))
    if found := packed(url):
        return _of_packed(url, found, (url,))
    if is_table_name(name) or is_list(url):
        return Recognised(url, "table")
    if name.lower().endswith(".json") and is_coco(url):
        return Recognised(url, "coco", root=root or images_directory(url))
    raise DatasetError(
        _shown(url),
        expected=f"a directory of images, a table ({', '.join(TABLE_EXTENSIONS)}) or a tar file",
        found="a file of another kind",
        action="Give the directory that holds the class folders.",
    )


def is_directory(url: str) -> bool:
    """Return whether a path or URL is a directory. Raises DatasetError if it is missing, or is a FIFO or the like."""
    try:
        if "://" in url:
            system, path = connect(url)
            with asking(url):
                about = system.info(path, **within_time(system))
                # A web server has no directories. A page that lists files serves as one.
                if str(about.get("mimetype", "")).startswith("text/html"):
                    return bool(system.isdir(path))
                return bool(about["type"] == "directory")
        mode = Path(url).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(_shown(url), found="there is nothing at that path", action="Check the path.") from None
    except OSError as error:
        raise from_os_error(error) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise DatasetError(
            _shown(url),
            expected="a directory of images",
            found=f"a {special(mode)}",
            action="Give the directory that holds the class folders.",
        )
    return stat.S_ISDIR(mode)


def _of_directory(url: str) -> Recognised:
    """Decide whether a directory is a folder of images, one of tar files, or a packed dataset."""
    tars, others = [], list[bytes]()
    image = b""
    for name in names_in(url):
        if unlooked(name):
            continue
        if is_image_name(name):
            image = image or name
        elif is_tar_name(os.fsdecode(name)) or is_compressed_name(os.fsdecode(name)):
            tars.append(name)
        elif len(others) < _MOST_OTHERS:
            others.append(name)
    if tars and not _has_images_below(url, others):
        return _of_tars(url, image, tars)
    if not tars and not image and (found := packed(url)) and found.is_read:
        return _of_packed(url, found, tuple(joined(url, name) for name in found.files))
    kind = annotated_kind(url, others)
    if kind is None and not tars and not image and (below := folders_below(url, others)):
        return _of_voc(url, below)
    return Recognised(url, kind or "folder", fields=mask_patterns(others) if kind == "voc" else {})


def _has_images_below(url: str, others: list[bytes]) -> bool:
    """Return whether there are images in folders. The archive that they come from is often beside their folders."""
    below = any(name.endswith(b"/") for name in others)
    return below and any(b"/" in key for key, *_ in Walk(Ledger()).images(top_of(url)))


def _of_tars(url: str, image: bytes, tars: list[bytes]) -> Recognised:
    if image:
        raise DatasetError(
            _shown(url),
            found=f"images and tar files side by side: {display(image)} beside {display(min(tars))}",
            action="Move one kind elsewhere, or give a single tar file.",
        )
    files = tuple(joined(url, os.fsdecode(name)) for name in sorted(tars))
    for file in files:
        if is_compressed_name(name_of(file)):
            raise compressed(_shown(file))
    return Recognised(url, "tar", files)


def _of_voc(url: str, below: list[str]) -> Recognised:
    """Recognise a directory as the only dataset of Pascal VOC below it. below: the paths of these datasets."""
    if len(below) > 1:
        raise DatasetError(
            _shown(url), expected="one dataset of Pascal VOC", found=" and ".join(map(display, below)),
            action=f"Give {_shown(joined(url, below[0]))}. To pack the others into the same store: tiering append",
        )  # fmt: skip
    message = f"{_shown(url)}: only the dataset of Pascal VOC in {display(below[0])} is read, and nothing else here."
    warnings.warn(shown(message), UserWarning, stacklevel=2)
    return _of_directory(joined(url, below[0]))


def _of_packed(url: str, found: PackedDataset, files: tuple[str, ...]) -> Recognised:
    if not found.is_read:
        raise already_packed(_shown(url), found)
    kind = record_kind(found)
    parts = files_of(kind, files)
    return Recognised(url, kind, parts, must_unpack(kind, parts))


def _shown(url: str) -> str:
    return without_secrets(display(url))
