"""Finds the documents of COCO's format that annotate a directory, and the files that they name."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Final

from tiering.errors import DatasetError
from tiering.sources.annotations.json_elements import elements
from tiering.sources.records.files import opened
from tiering.sources.small_files import look_up_files
from tiering.sources.trees.directory import names_in
from tiering.storage.names import is_relative
from tiering.storage.urls import joined, name_of, parent_of
from tiering.text import display

_HEAD: Final = 1 << 16
_MOST_FOLDERS: Final = 100
_MOST_NAMES: Final = 10_000
_MOST_DOCUMENTS: Final = 50

#: Returns the key of an image from its name in a document.
KeyOf = Callable[[str], str]


def is_coco(url: str) -> bool:
    """Return whether a JSON file begins like annotations of COCO. url: path or URL."""
    with opened(url) as (file, _):
        head = file.read(_HEAD)
    return b'"images"' in head and b'"file_name"' in head


def coco_files(url: str) -> tuple[str, ...]:
    """Return the documents of a directory of images: in it, in `annotations`, or beside it and named after it.

    url: path or URL of a directory.
    """
    here = name_of(url)
    above = url[: -len(here)].rstrip("/") if url.endswith(f"/{here}") else ""
    found = [*_documents(url, ""), *_documents(joined(url, "annotations"), "")]
    if not found and above:
        found = [*_documents(joined(above, "annotations"), here), *_documents(above, here)]
    return tuple(found)


def _documents(url: str, named: str) -> list[str]:
    """Return the documents directly in a directory, if they have a word in their name."""
    try:
        names = sorted(name.decode("utf-8", "surrogateescape") for name in islice(names_in(url), _MOST_NAMES))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name for name in names if name.lower().endswith(".json") and _is_named(name, named)]
    # More documents than that annotate one image each.
    return [joined(url, name) for name in found if is_coco(joined(url, name))] if len(found) <= _MOST_DOCUMENTS else []


def _is_named(name: str, word: str) -> bool:
    return not word or re.search(rf"(^|[^A-Za-z0-9]){re.escape(word)}([^A-Za-z0-9]|$)", name) is not None


def images_directory(document: str) -> str:
    """Return the directory from which the names in a document start: its own, or the one above it.

    document: path or URL. Raises DatasetError if its first image is in neither.
    """
    above = parent_of(document)
    for directory in (above, parent_of(above)):
        if keys_below(directory, document) is not None:
            return directory
    raise DatasetError(
        display(document), found="its images are neither beside it nor in the directory above",
        action="Say which directory the names in it start from: `root` DIRECTORY",
    )  # fmt: skip


def keys_below(url: str, path: str) -> KeyOf | None:
    """Find out how the names of a document become keys below a directory, by its first image; None if none is there."""
    first = _first_name(path)
    if first is None:
        return lambda name: name
    stem = name_of(path)
    folders = sorted(
        name.decode("utf-8", "surrogateescape") for name in islice(names_in(url), _MOST_NAMES) if name.endswith(b"/")
    )
    folders.sort(key=lambda folder: folder[:-1] not in stem)
    prefixes = ["", *folders[:_MOST_FOLDERS], *(f"images/{folder}" for folder in folders[:_MOST_FOLDERS])]
    above = f"{name_of(url)}/"
    tried = [f"{prefix}{first}" for prefix in prefixes] + (
        [first.removeprefix(above)] if first.startswith(above) else []
    )
    usable = [name if is_relative(name.encode("utf-8", "surrogateescape")) else "?" for name in tried]
    sizes = look_up_files(url, usable)
    at = next((at for at, (size, _) in enumerate(sizes) if size >= 0), None)
    if at is None:
        return None
    if at == len(prefixes):
        return lambda name: name.removeprefix(above)
    prefix = prefixes[at]
    return lambda name: f"{prefix}{name}"


def _first_name(path: str) -> str | None:
    try:
        with opened(path) as (file, _):
            for name, value in elements(file):
                if name == "images" and isinstance(value, dict):
                    return str(value["file_name"])
    except (ValueError, KeyError) as error:
        raise DatasetError(
            display(path), expected="annotations in COCO's format", found=str(error), action="Copy the file again."
        ) from error
    return None
