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
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from tiering.arrays import IndexArray
from tiering.io_sizes import PAGE_BYTES
from tiering.storage.direct_file import DirectFile
from tiering.store.image_run import ImageRun, Images, one_by_one

try:
    from tiering.store import _leaves
except ImportError:
    NATIVE = False
else:
    #: Whether the C extension adds runs of values.
    NATIVE = True

_PAGE: Final = struct.Struct("<QHHHH")
_OVERFLOW_PAGE: Final = struct.Struct("<QHHI")
_NODE: Final = struct.Struct("<HHHH8s")
_META: Final = struct.Struct("<IIQQ")
_DATABASE: Final = struct.Struct("<IHHQQQQQ")
_KEY_AT: Final = 8

#: Parts of a page: its number, lower and upper, and the place of a node; and the flags in a node.
_NUMBER, _BOUNDS, _PLACE = struct.Struct("<Q"), struct.Struct("<HH"), struct.Struct("<H")
_BOUNDS_AT, _FLAGS_AT = 12, 4

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

#: An empty leaf: the page that is being filled has no number yet.
_EMPTY: Final = _PAGE.pack(0, 0, _LEAF, _PAGE.size, PAGE_BYTES).ljust(PAGE_BYTES, b"\0")

#: Pages of values that the C extension makes at a time, and the largest value that it takes.
_PAGES_BYTES: Final = 1 << 19
_LARGEST_IN_RUN: Final = 1 << 18

#: A page of the tree: the number of its first sample, and its own.
_Child = tuple[int, int]


def key_of(sample: int) -> bytes:
    """Return the LMDB key of a sample: its number in the shard, eight bytes big-endian, so that keys sort."""
    return sample.to_bytes(8, "big")


def write_shard(file: DirectFile, images: Images) -> IndexArray:
    """Write one environment, and return the offset of each value in its file.

    file: a local file, at its beginning; it is finished, too. images: encoded images in packed order. The same images
    give the same file, in runs or one by one. Returns int64 (n,), bytes from the start of the file. Raises OSError.
    About 3 us for an image in a leaf, and for a larger one; 0.3 us in a run, with the C extension.
    """
    tree = _Tree(file)
    for image in images:
        if isinstance(image, ImageRun):
            tree.add_run(image)
        else:
            tree.add(image)
        del image  # It may have 1 GiB: free it before the next one is read.
    file.finish(tree.metas())
    return np.frombuffer(tree.offsets, dtype=np.int64).copy()


class _Tree:
    """The main database of an environment, which grows at its end. offsets: of the values that leaves hold already."""

    def __init__(self, file: DirectFile) -> None:
        self._write = file.write
        self._write(bytes(2 * PAGE_BYTES))  # for the meta pages
        self.offsets = array("q")
        self._next = 2
        self._leaves: list[_Child] = []
        self._value_pages = 0
        #: The next leaf, and the sample of its first node.
        self._leaf = bytearray(_EMPTY)
        self._first = 0
        self._pages = bytearray()

    def add(self, image: bytes) -> None:
        """Add the value of the next key."""
        sample, size = len(self.offsets), len(image)
        inline = _NODE.size + size <= _LARGEST_NODE
        needed = 2 + _NODE.size + (size + (size & 1) if inline else 8)
        _, _, _, lower, upper = _PAGE.unpack_from(self._leaf)
        if needed > upper - lower:
            self._write_leaf()
            lower, upper = _PAGE.size, PAGE_BYTES
        if inline:
            self.offsets.append(0)  # until the leaf is written
            flags, value = 0, image
        else:
            page = self._write_value(image)
            self.offsets.append(page * PAGE_BYTES + _PAGE.size)
            flags, value = _ON_OVERFLOW, page.to_bytes(8, "little")
        upper -= needed - 2
        _NODE.pack_into(self._leaf, upper, size & 0xFFFF, size >> 16, flags, 8, key_of(sample))
        begin = upper + _NODE.size
        self._leaf[begin : begin + len(value)] = value
        _PLACE.pack_into(self._leaf, lower, upper)
        _BOUNDS.pack_into(self._leaf, _BOUNDS_AT, lower + 2, upper)

    def add_run(self, run: ImageRun) -> None:
        """Add the values of the next keys."""
        if not NATIVE or int(run.sizes.max()) > _LARGEST_IN_RUN:
            for image in one_by_one([run]):
                self.add(image)
            return
        if not self._pages:
            self._pages = bytearray(_PAGES_BYTES)
        data, sizes = run.data, run.sizes
        leaves = np.empty((len(sizes), 2), dtype=np.int64)
        while len(sizes):
            sample, first = len(self.offsets), self._first
            self.offsets.frombytes(bytes(sizes.nbytes))
            with memoryview(self.offsets) as offsets:
                taken, self._first, self._next, made, value_pages, count = _leaves.add_values(
                    self._leaf, first, sample, self._next, data, sizes, self._pages, offsets[first:], leaves
                )
            del self.offsets[sample + taken :]
            self._write(memoryview(self._pages)[:made])
            self._value_pages += value_pages
            self._leaves += map(tuple, leaves[:count].tolist())
            data, sizes = data[int(sizes[:taken].sum()) :], sizes[taken:]

    def metas(self) -> bytes:
        """Write the last leaf and all branches, and return the two meta pages."""
        if len(self.offsets) > self._first:
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
        """Write the next leaf, and begin another."""
        page = self._next
        _, _, _, lower, _ = _PAGE.unpack_from(self._leaf)
        places = struct.unpack_from(f"<{(lower - _PAGE.size) // 2}H", self._leaf, _PAGE.size)
        for sample, place in enumerate(places, self._first):
            if not self._leaf[place + _FLAGS_AT] & _ON_OVERFLOW:
                self.offsets[sample] = page * PAGE_BYTES + place + _NODE.size
        _NUMBER.pack_into(self._leaf, 0, page)
        self._write(self._leaf)
        self._leaves.append((self._first, page))
        self._next += 1
        self._first += len(places)
        self._leaf[:] = _EMPTY

    def _write_branch(self, children: Sequence[_Child]) -> _Child:
        nodes = []
        for at, (sample, page) in enumerate(children):
            head = page & 0xFFFF, page >> 16 & 0xFFFF, page >> 32
            nodes.append(_NODE.pack(*head, 8, key_of(sample)) if at else _NODE.pack(*head, 0, b"")[:_KEY_AT])
        return children[0][0], self._write_page(_BRANCH, nodes)

    def _write_page(self, flags: int, nodes: Sequence[bytes]) -> int:
        """Write a page of nodes, and return its number."""
        page, upper, places = self._next, PAGE_BYTES, list[int]()
        for node in nodes:
            upper -= len(node)
            places.append(upper)
        lower = _PAGE.size + 2 * len(nodes)
        head = _PAGE.pack(page, 0, flags, lower, upper) + struct.pack(f"<{len(places)}H", *places)
        self._write(b"".join((head, bytes(upper - lower), *reversed(nodes))))
        self._next += 1
        return page
