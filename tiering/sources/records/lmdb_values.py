"""LMDB databases whose values are encoded images, as LSUN's are: the key of each is its name.

The file is read by its format, and not through the LMDB library, which trusts what it maps: a damaged file can end
the process. A value that is larger than half a page lies on overflow pages, in one piece; a smaller one lies in its
leaf. So either is a range of the file. The format is that of LMDB 0.9 on 64 bits, little-endian (`mdb.c`, MDB_page):

    page      number 8, pad 2, flags 2, lower 2, upper 2; then 2 bytes for each node: its offset in the page
    meta      page 0 or 1, behind the page header: magic 4, version 4, address 8, map size 8, free database 48, main
              database 48, last page 8, transaction 8; a database: pad 4, flags 2, depth 2, three counts of pages 8
              each, entries 8, root 8; the pad of the free database is the page size
    node      lo 2, hi 2, flags 2, key size 2, key, data; in a leaf lo and hi are the size of the data, in a branch lo,
              hi and flags are the number of the child page
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tiering.errors import DatasetError
from tiering.images.formats import HEAD, format_of, is_image_name, usual_extension
from tiering.sources.records.files import mapped
from tiering.sources.records.record import Record, Sink
from tiering.storage.names import is_relative
from tiering.text import display

_MAGIC: Final = 0xBEEFC0DE
_HEADER: Final = 16
_NODE: Final = 8
_DATABASE: Final = struct.Struct("<IHHQQQQQ")

#: Flags of pages, nodes and databases.
_BRANCH, _LEAF, _OVERFLOW = 0x01, 0x02, 0x04
_ON_OVERFLOW, _SUB_DATABASE, _DUPLICATES = 0x01, 0x02, 0x04
_DUPSORT: Final = 0x04

_NO_PAGE: Final = 0xFFFF_FFFF_FFFF_FFFF
_DEEPEST: Final = 32

#: Keys that may be names of files as they are.
_PLAIN: Final = re.compile(rb"[\x21-\x7e]+")


class LmdbValues:
    """LMDB files. files: paths of data.mdb, or of databases without a directory. They have images and nothing else."""

    fields = ()
    classes = ()
    notes = ()

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        remote = next((file for file in files if "://" in file), None)
        if remote is not None:
            raise DatasetError(
                display(remote), expected="an LMDB database on this machine", found="one behind a URL",
                action="Copy it to a local disk: its pages are read in random order.",
            )  # fmt: skip

    def records(self, number: int, out: Sink) -> Iterator[Record]:  # noqa: ARG002 - values are ranges as they are
        """Yield the values of a database, in the order of their keys. Values that are no images are no samples."""
        path = self._files[number]
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            if size < 2 * _HEADER:
                raise _damaged(path, "it is empty")
            with mapped(file) as data:
                for key, begin, count in _Tree(data, path).values():
                    head = bytes(data[begin : begin + min(count, HEAD)])
                    name = _name(key, head)
                    if format_of(head):
                        yield Record((begin, count), head, name=name)
                    else:
                        yield Record(None, head, name=name, lacking="the value is no encoded image")


def _name(key: bytes, head: bytes) -> str:
    """Return the name of a sample: its key with an extension, or in hexadecimal digits if it is no plain text."""
    plain = key.decode() if _PLAIN.fullmatch(key) and is_relative(key) else key.hex()
    extension = usual_extension(head)
    return plain if extension is None or is_image_name(plain.encode()) else f"{plain}.{extension}"


class _Tree:
    """The main database of a file. Every offset is checked before it is used, and no page is visited twice."""

    def __init__(self, data: memoryview, path: str) -> None:
        self._data = data
        self._path = path
        self._page_size, self._root, self._flags, self._depth = self._newest()
        self._pages = len(data) // self._page_size
        self._visited: set[int] = set()

    def values(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield key, first byte and size of each value."""
        if self._root == _NO_PAGE:
            return
        if self._flags & _DUPSORT:
            raise self._other("several values of a key")
        yield from self._below(self._root, 0)

    def _newest(self) -> tuple[int, int, int, int]:
        """Return page size, root, flags and depth of the main database, by the newer of the two meta pages."""
        first = self._meta(0)
        found = [meta for meta in (first, self._meta(first[1]) if first else None) if meta is not None]
        if not found:
            raise self._other("another file format")
        _, page_size, root, flags, depth = max(found)
        return page_size, root, flags, depth

    def _meta(self, begin: int) -> tuple[int, int, int, int, int] | None:
        """Return transaction, page size, root, flags and depth of a meta page; None for another page."""
        end = begin + _HEADER + 24 + 2 * _DATABASE.size + 16
        if end > len(self._data):
            return None
        magic, version = struct.unpack_from("<II", self._data, begin + _HEADER)
        if magic != _MAGIC or version != 1:
            return None
        free = _DATABASE.unpack_from(self._data, begin + _HEADER + 24)
        main = _DATABASE.unpack_from(self._data, begin + _HEADER + 24 + _DATABASE.size)
        (transaction,) = struct.unpack_from("<Q", self._data, end - 8)
        page_size = free[0]
        if not 512 <= page_size <= 1 << 16 or page_size & (page_size - 1):
            return None
        return transaction, page_size, main[7], main[1], main[2]

    def _below(self, number: int, depth: int) -> Iterator[tuple[bytes, int, int]]:
        begin = self._page(number)
        flags, lower = struct.unpack_from("<HH", self._data, begin + 10)
        if depth > _DEEPEST or not _HEADER <= lower <= self._page_size:
            raise self._damaged(number)
        for at in range(begin + _HEADER, begin + lower - 1, 2):
            (offset,) = struct.unpack_from("<H", self._data, at)
            if not _HEADER <= offset <= self._page_size - _NODE:
                raise self._damaged(number)
            node = begin + offset
            low, high, node_flags, key_size = struct.unpack_from("<4H", self._data, node)
            first = node + _NODE + key_size
            if first > begin + self._page_size:
                raise self._damaged(number)
            if flags & _BRANCH:
                yield from self._below(low | high << 16 | node_flags << 32, depth + 1)
            elif flags & _LEAF:
                key = bytes(self._data[node + _NODE : first])
                yield key, *self._value(number, begin, first, low | high << 16, node_flags)
            else:
                raise self._damaged(number)

    def _value(self, number: int, begin: int, first: int, size: int, flags: int) -> tuple[int, int]:
        if flags & (_SUB_DATABASE | _DUPLICATES):
            raise self._other("named databases, or several values of a key")
        if not flags & _ON_OVERFLOW:
            if first + size > begin + self._page_size:
                raise self._damaged(number)
            return first, size
        if first + 8 > begin + self._page_size:
            raise self._damaged(number)
        (page,) = struct.unpack_from("<Q", self._data, first)
        start = self._page(page)
        (page_flags,) = struct.unpack_from("<H", self._data, start + 10)
        if not page_flags & _OVERFLOW or start + _HEADER + size > len(self._data):
            raise self._damaged(page)
        return start + _HEADER, size

    def _page(self, number: int) -> int:
        """Return where a page begins. Raises DatasetError for one that is outside the file, or was visited."""
        if number >= self._pages or number < 2 or number in self._visited:
            raise self._damaged(number)
        self._visited.add(number)
        return number * self._page_size

    def _damaged(self, page: int) -> DatasetError:
        return _damaged(self._path, f"page {page:,} is damaged")

    def _other(self, found: str) -> DatasetError:
        return DatasetError(
            display(self._path), expected="a database of LMDB 0.9 with one encoded image for each key", found=found,
            action="Write its images as files, with a table of their paths and labels, and use that table.",
        )  # fmt: skip


def _damaged(path: str, how: str) -> DatasetError:
    return DatasetError(display(path), expected="a whole LMDB database", found=how, action="Copy it again.")
