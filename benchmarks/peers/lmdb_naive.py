"""LMDB as most scripts on the web use it: one environment, a transaction, get() by key."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb

from benchmarks.peers.images import contents, in_batches

HOW = "one process, the kernel's read-ahead off"
PACKAGES = ("lmdb",)


def pack(images: Path, to: Path) -> None:
    with lmdb.open(str(to / "images.lmdb"), map_size=1 << 40) as env:
        write = env.begin(write=True)
        for number, (_, image, label) in enumerate(contents(images)):
            write.put(b"%08d" % number, struct.pack("<i", label) + image)
            if number % 1000 == 999:
                write.commit()
                write = env.begin(write=True)
        write.commit()


def opened(at: Path, batch_size: int, *, readahead: bool = False) -> Callable[[int], Iterator[Any]]:
    env = lmdb.open(str(at / "images.lmdb"), readonly=True, lock=False, readahead=readahead, meminit=False)
    read = env.begin(buffers=False)
    count = env.stat()["entries"]

    def epoch(number: int) -> Iterator[Any]:
        def sample(at: int) -> tuple[bytes, int]:
            value = read.get(b"%08d" % at)
            return value[4:], struct.unpack_from("<i", value)[0]

        order = list(range(count))
        random.Random(number).shuffle(order)
        return in_batches(map(sample, order), batch_size)

    return epoch
