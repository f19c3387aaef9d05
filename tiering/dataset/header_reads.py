"""Headers and ends of many image files, read with as few requests as can be; nothing is decoded that looks whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from tiering.errors import DatasetError, TieringError
from tiering.images.image import LARGEST_BYTES, ImageHeader, check_image, probe, refuse_bomb, refuse_large
from tiering.images.markers import JPEG, jpeg_head, png_sides
from tiering.sources.account import kind_of
from tiering.sources.left_out import DAMAGED, MISSING, UNREADABLE_FILE
from tiering.storage.urls import joined
from tiering.text import display

#: What is read of a file's beginning: JPEGs from cameras hold a thumbnail before their sides.
_HEAD: Final = 4096
_LONG_HEAD: Final = 1 << 16

_JPEG_END: Final = b"\xff\xd9"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_MODES: Final = {1: "L", 3: "RGB", 4: "CMYK"}
_PNG_MODES: Final = {2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_PNG_GREYS: Final = {1: "1", 2: "L", 4: "L", 8: "L", 16: "I;16"}

#: Threads for files on this machine: a disk or a network file system is waited for, not computed.
_THREADS: Final = 16

#: Files that a thread looks at in a row.
_SLICE: Final = 64

Item = TypeVar("Item")
Result = TypeVar("Result")


class Fault(str):
    """The reason why a file is no whole image. kind: under which an account has it."""

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, reason: str, kind: str) -> Self:
        """Keep the kind beside the words."""
        made = super().__new__(cls, reason)
        made.kind = kind
        return made


#: A file's header, or the reason why it is no whole image.
Seen = ImageHeader | Fault


def inspect_files(root: bytes, keys: Sequence[bytes]) -> list[Seen]:
    """Look at the beginning and the end of local files: paths below root.

    Returns each file's header, or why it is no whole image or cannot be read.
    Says of each what packing would. About 12 us a JPEG or PNG with the page cache warm; another format is read and
    decoded.
    """

    def look_at(key: bytes) -> Seen:
        path = root + b"/" + key
        try:
            return _quick(path) or _reason(lambda: _thorough(Path(os.fsdecode(path))))
        except OSError as error:
            return unreadable(error)

    return in_threads(look_at, keys, _THREADS)


def inspect_remote(system: Any, root: str, keys: Sequence[bytes], threads: int) -> list[Seen]:
    """Look at the beginning and the end of remote files, as inspect_files does.

    system: fsspec's file system. root: path in it. threads: requests at a time. Two requests a file at most, but for
    those that look damaged, which are read.
    """

    def look_at(key: bytes) -> Seen:
        path = joined(root, key.decode("utf-8", "surrogateescape"))
        try:
            return _reason(lambda: _fetched(system, path))
        except OSError as error:
            # Some servers have no range of an empty file.
            return Fault("zero bytes", DAMAGED) if _is_empty(system, path) else unreadable(error)

    return in_threads(look_at, keys, threads)


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int, slice_: int = _SLICE
) -> list[Result]:
    """Do some work that mostly waits for each item, in threads of which each takes some items in a row."""
    parts = [items[begin : begin + slice_] for begin in range(0, len(items), slice_)]
    with ThreadPoolExecutor(threads) as pool:
        return [result for part in pool.map(lambda part: [work(item) for item in part], parts) for result in part]


def _quick(path: bytes) -> ImageHeader | None:
    """Return the header of a JPEG or PNG that looks whole, None for whatever else there is."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        head = os.pread(handle, _HEAD, 0)
        header = _read(head) or (_read(os.pread(handle, _LONG_HEAD, 0)) if head.startswith(JPEG) else None)
        if header is None:
            return None
        end = _JPEG_END if header.format == "JPEG" else _PNG_END
        size = os.fstat(handle).st_size
        if size > LARGEST_BYTES:
            return None
        tail = head[-len(end) :] if size == len(head) else os.pread(handle, len(end), max(0, size - len(end)))
    except OSError:
        return None
    finally:
        os.close(handle)
    return header if tail == end else None


def _read(head: bytes) -> ImageHeader | None:
    """Return what the head of a JPEG or PNG says, None where it is odd."""
    if head.startswith(JPEG):
        found = jpeg_head(head)
        if found is None or found.components not in _JPEG_MODES:
            return None
        header = ImageHeader("JPEG", found.width, found.height, _JPEG_MODES[found.components])
    else:
        sides = png_sides(head) if head.startswith(_PNG) else None
        if sides is None or len(head) < 33:
            return None
        depth, kind = head[24], head[25]
        mode = _PNG_GREYS.get(depth) if kind == 0 else _PNG_MODES.get(kind)
        if mode is None:
            return None
        header = ImageHeader("PNG", *sides, mode)
    if not header.width or not header.height:
        return None
    try:
        refuse_bomb("image", header.width, header.height)
    except DatasetError:
        return None
    return header


def look(data: bytes, where: str) -> Seen:
    """Return the header of an image, or why packing leaves it out; of kind "" for one that is packed all the same.

    data: the file's whole contents. where: what to call it; its name may tell the format.
    """
    try:
        check_image(data, where)
    except DatasetError as error:
        return Fault(error.found, kind_of(error))
    try:
        return probe(data)
    except DatasetError as error:
        return Fault(error.found, "")


def _thorough(path: Path) -> Seen:
    """Look at a whole file. Raises DatasetError for one that is too large, OSError for one that cannot be read."""
    with path.open("rb") as file:
        refuse_large(display(os.fsencode(path)), os.fstat(file.fileno()).st_size)
        return look(file.read(), display(os.fsencode(path)))


def _fetched(system: Any, path: str) -> Seen:
    head = system.cat_file(path, start=0, end=_LONG_HEAD)
    if len(head) == _LONG_HEAD:
        header = _read(head)
        end = {"JPEG": _JPEG_END, "PNG": _PNG_END}.get(header.format) if header else None
        if header and end and system.cat_file(path, start=-len(end)) == end:
            return header
        refuse_large(path, int(system.info(path)["size"] or 0))
        head = system.cat_file(path)
    return look(head, path)


def _is_empty(system: Any, path: str) -> bool:
    try:
        return bool(system.info(path)["size"] == 0)
    except OSError:
        return False


def _reason(looking: Callable[[], Seen]) -> Seen:
    try:
        return looking()
    except DatasetError as error:
        return Fault(error.found, kind_of(error))
    except TieringError as error:
        return Fault(f"cannot be read: {error.found}", kind_of(error))


def unreadable(error: OSError) -> Fault:
    """Return why a file cannot be read."""
    kind = MISSING if isinstance(error, FileNotFoundError) else UNREADABLE_FILE
    return Fault(f"cannot be read: {(error.strerror or str(error)).lower()}", kind)
