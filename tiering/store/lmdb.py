"""LMDB stores: one environment a shard, readable with plain lmdb.

`STORE/shard-00000.mdb` is an LMDB environment in a single file. The keys are the numbers of samples within the shard,
eight bytes big-endian. The values are the encoded images, unchanged. The offset column of the index has the offset of
each value in that file. So a reader maps the file, and does not walk LMDB's tree: a get takes 1 to 2 us, a slice of a
map 0.1 us.

The file is written from front to back, without the LMDB library, in the format of LMDB 0.9 on 64 bits, little-endian
(`mdb.c`, MDB_page). Samples come in the order of their keys, so each page is final when it is written: the pages of a
large value, a leaf when it is full, the branches at the end, and finally the two meta pages at the beginning. The
library would copy and write pages of the tree again in every transaction, and the offsets and the CRC-32C of the file
would have to be read back from it.

    page      number 8, pad 2, flags 2, lower 2, upper 2; then 2 bytes for each node: its offset in the page. The nodes
              are at the page's end, the first one last. An overflow page has the number of its pages as lower and upper
    node      lo 2, hi 2, flags 2, key size 2, key, data; in a leaf lo and hi are the size of the data, in a branch lo,
              hi and flags are the number of the child page
    meta      a page header, magic 4, version 4, address 8, map size 8, free database 48, main database 48, last page 8,
              transaction 8; a database: pad 4, flags 2, depth 2, pages of branches, leaves and values 8 each, entries
              8, root 8; the pad of the free database is the page size
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from tiering.arrays import IndexArray
from tiering.io_sizes import PAGE_BYTES
from tiering.storage.direct_file import DirectFile

_PAGE: Final = struct.Struct("<QHHHH")
_OVERFLOW_PAGE: Final = struct.Struct("<QHHI")
_NODE: Final = struct.Struct("<HHHH8s")
_META: Final = struct.Struct("<IIQQ")
_DATABASE: Final = struct.Struct("<IHHQQQQQ")
_KEY_AT: Final = 8

#: Flags of pages; of a node whose value is on overflow pages; of a database whose keys are integers.
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 0x01, 0x02, 0x04, 0x08
_ON_OVERFLOW: Final = 0x01
_INTEGER_KEYS: Final = 0x08

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NO_PAGE: Final = 0xFFFF_FFFF_FFFF_FFFF
_ROOM: Final = PAGE_BYTES - _PAGE.size

#: The largest node that stays in its leaf, so that each leaf has two (me_nodemax).
_LARGEST_NODE: Final = (_ROOM // 2 & -2) - 2

#: The most children of a branch. The first one needs no key.
_MOST_CHILDREN: Final = (_ROOM - 2 - _KEY_AT) // (2 + _NODE.size) + 1

#: A page of the tree: the number of its first sample, and its own.
_Child = tuple[int, int]


def key_of(sample: int) -> bytes:
    """Return the LMDB key of a sample: its number in the shard, eight bytes big-endian, so that keys sort."""
    return sample.to_bytes(8, "big")


def write_shard(file: DirectFile, images: Iterable[bytes]) -> IndexArray:
    """Write one environment, and return the offset of each value in its file.

    file: a local file, at its beginning; it is finished, too. images: encoded images in packed order. The same images
    give the same file. Returns int64 (n,), bytes from the start of the file. Raises OSError.
    About 3 us for an image in a leaf, and for a larger one.
    """
    tree = _Tree(file)
    for image in images:
        tree.add(image)
        del image  # It may have 1 GiB: free it before the next one is read.
    file.finish(tree.metas())
    return np.array(tree.offsets, dtype=np.int64)


class _Tree:
    """The main database of an environment, which grows at its end. offsets: of the values that leaves hold already."""

    def __init__(self, file: DirectFile) -> None:
        self._write = file.write
        self._write(bytes(2 * PAGE_BYTES))  # for the meta pages
        self.offsets: list[int] = []
        self._next = 2
        self._leaves: list[_Child] = []
        self._value_pages = 0
        #: The nodes of the next leaf, the first one's sample, and the samples whose values are in these nodes.
        self._nodes: list[bytes] = []
        self._first = 0
        self._inline: list[int] = []
        self._room = _ROOM

    def add(self, image: bytes) -> None:
        """Add the value of the next key."""
        sample, size = len(self.offsets), len(image)
        inline = _NODE.size + size <= _LARGEST_NODE
        needed = 2 + _NODE.size + (size + (size & 1) if inline else 8)
        if needed > self._room:
            self._write_leaf()
        if inline:
            self._inline.append(sample)
            self.offsets.append(0)  # until the leaf is written
            node = _NODE.pack(size, 0, 0, 8, key_of(sample)) + image + b"\0" * (size & 1)
        else:
            page = self._write_value(image)
            self.offsets.append(page * PAGE_BYTES + _PAGE.size)
            node = _NODE.pack(size & 0xFFFF, size >> 16, _ON_OVERFLOW, 8, key_of(sample)) + page.to_bytes(8, "little")
        self._nodes.append(node)
        self._room -= needed

    def metas(self) -> bytes:
        """Write the last leaf and all branches, and return the two meta pages."""
        if self._nodes:
            self._write_leaf()
        depth, branches, level = int(bool(self._leaves)), 0, self._leaves
        while len(level) > 1:
            # Even parts, because LMDB accepts no branch of a single child.
            count = -(-len(level) // _MOST_CHILDREN)
            cuts = [len(level) * part // count for part in range(count + 1)]
            level = [self._write_branch(level[begin:end]) for begin, end in pairwise(cuts)]
            depth, branches = depth + 1, branches + count
        counts = depth, branches, len(self._leaves), self._value_pages, len(self.offsets)
        root = level[0][1] if level else _NO_PAGE
        # As after the first transaction: LMDB takes the meta page of the later one.
        return self._meta(0, (0, 0, 0, 0, 0), _NO_PAGE, 1) + self._meta(1, counts, root, self._next - 1)

    def _meta(self, number: int, counts: Sequence[int], root: int, last: int) -> bytes:
        parts = (
            _PAGE.pack(number, 0, _META_PAGE, 0, 0),
            _META.pack(_MAGIC, _VERSION, 0, self._next * PAGE_BYTES),
            _DATABASE.pack(PAGE_BYTES, _INTEGER_KEYS, 0, 0, 0, 0, 0, _NO_PAGE),
            _DATABASE.pack(0, 0, *counts, root),
            struct.pack("<QQ", last, number),
        )
        return b"".join(parts).ljust(PAGE_BYTES, b"\0")

    def _write_value(self, image: bytes) -> int:
        """Write a value on pages of its own, and return the first one's number."""
        page, size = self._next, _PAGE.size + len(image)
        pages = -(-size // PAGE_BYTES)
        self._write(_OVERFLOW_PAGE.pack(page, 0, _OVERFLOW, pages))
        self._write(image)
        self._write(bytes(pages * PAGE_BYTES - size))
        self._next += pages
        self._value_pages += pages
        return page

    def _write_leaf(self) -> None:
        page, places = self._write_page(_LEAF, self._nodes)
        for sample in self._inline:
            self.offsets[sample] = page * PAGE_BYTES + places[sample - self._first] + _NODE.size
        self._leaves.append((self._first, page))
        self._nodes, self._first, self._inline, self._room = [], self._first + len(self._nodes), [], _ROOM

    def _write_branch(self, children: Sequence[_Child]) -> _Child:
        nodes = []
        for at, (sample, page) in enumerate(children):
            head = page & 0xFFFF, page >> 16 & 0xFFFF, page >> 32
            nodes.append(_NODE.pack(*head, 8, key_of(sample)) if at else _NODE.pack(*head, 0, b"")[:_KEY_AT])
        return children[0][0], self._write_page(_BRANCH, nodes)[0]

    def _write_page(self, flags: int, nodes: Sequence[bytes]) -> tuple[int, list[int]]:
        """Write a page of nodes. Returns its number, and where each node begins in it."""
        page, upper, places = self._next, PAGE_BYTES, list[int]()
        for node in nodes:
            upper -= len(node)
            places.append(upper)
        lower = _PAGE.size + 2 * len(nodes)
        head = _PAGE.pack(page, 0, flags, lower, upper) + struct.pack(f"<{len(places)}H", *places)
        self._write(b"".join((head, bytes(upper - lower), *reversed(nodes))))
        self._next += 1
        return page, places
