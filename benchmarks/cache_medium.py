"""What a cache could be kept in: extents, a slab of equal slots, LMDB. Admissions and hits of each.

Usage: python -m benchmarks.cache_medium [--work DIR] [--rounds N]

Each medium keeps payloads of two sizes, checks a CRC-32C of every hit, and is shared by the processes that fill it:

- extents: every process appends to files of its own; a slot of 16 bytes in a shared map says where a payload lies.
- slab: one file of slots as large as the largest payload; a free one is taken under a file lock; the same map.
- lmdb: one environment without sync, a transaction for 64 payloads: one writer at a time, by its lock.
"""

from __future__ import annotations

import argparse
import fcntl
import mmap
import multiprocessing
import os
import random
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Protocol

import google_crc32c
import lmdb

SIZES = {921: 100_000, 109_600: 2_000}
TOGETHER = 64
SLOT = struct.Struct("<IIII")


class Medium(Protocol):
    """Keeps payloads by number."""

    def admit(self, numbers: list[int], payload: bytes, crc: int) -> None: ...

    def find(self, number: int) -> tuple[memoryview, int]: ...


class Extents:
    """Files of one owner each, and slots of (file, offset, size, crc)."""

    def __init__(self, work: Path, who: int, count: int, size: int) -> None:
        self.who, self.end, self.size = who, 0, size
        self.work, self.maps = work, {}
        self.file = os.open(work / f"extent-{who}", os.O_RDWR | os.O_CREAT)
        self.table = shared(work / "table", count * SLOT.size)

    def admit(self, numbers: list[int], payload: bytes, crc: int) -> None:
        os.pwritev(self.file, [payload] * len(numbers), self.end)
        for number in numbers:
            SLOT.pack_into(self.table, number * SLOT.size, self.who, self.end // self.size, self.size, crc)
            self.end += self.size

    def find(self, number: int) -> tuple[memoryview, int]:
        who, place, size, crc = SLOT.unpack_from(self.table, number * SLOT.size)
        if who not in self.maps:
            path = self.work / f"extent-{who}"
            self.maps[who] = memoryview(shared(path, path.stat().st_size))
        return self.maps[who][place * size : (place + 1) * size], crc


class Slab:
    """One file of equal slots, the next free one counted in the first bytes of the table, under a lock."""

    def __init__(self, work: Path, _who: int, count: int, size: int) -> None:
        self.size = size
        self.lock = os.open(work / "lock", os.O_RDWR | os.O_CREAT)
        self.table = shared(work / "table", (count + 1) * SLOT.size)
        self.slab = memoryview(shared(work / "slab", count * size))
        self.file = os.open(work / "slab", os.O_RDWR)

    def admit(self, numbers: list[int], payload: bytes, crc: int) -> None:
        for number in numbers:
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            (place, *_) = SLOT.unpack_from(self.table, 0)
            SLOT.pack_into(self.table, 0, place + 1, 0, 0, 0)
            fcntl.flock(self.lock, fcntl.LOCK_UN)
            os.pwrite(self.file, payload, place * self.size)
            SLOT.pack_into(self.table, (number + 1) * SLOT.size, 0, place, self.size, crc)

    def find(self, number: int) -> tuple[memoryview, int]:
        _, place, size, crc = SLOT.unpack_from(self.table, (number + 1) * SLOT.size)
        return self.slab[place * size : (place + 1) * size], crc


class Lmdb:
    """An environment whose values begin with their CRC."""

    def __init__(self, work: Path, _who: int, count: int, size: int) -> None:
        room = 3 * count * (size + 4096)
        self.environment = lmdb.open(str(work / "lmdb"), map_size=room, sync=False, metasync=False, writemap=True)
        self.reading: lmdb.Transaction | None = None

    def admit(self, numbers: list[int], payload: bytes, crc: int) -> None:
        with self.environment.begin(write=True) as writing:
            for number in numbers:
                writing.put(number.to_bytes(4, "big"), crc.to_bytes(4, "little") + payload)

    def find(self, number: int) -> tuple[memoryview, int]:
        self.reading = self.reading or self.environment.begin(buffers=True)
        value = self.reading.get(number.to_bytes(4, "big"))
        return value[4:], int.from_bytes(value[:4], "little")


MEDIA: dict[str, Callable[[Path, int, int, int], Medium]] = {"extents": Extents, "slab": Slab, "lmdb": Lmdb}


def shared(path: Path, size: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        if os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def one(
    name: str, work: Path, who: int, processes: int, size: int, barrier: Barrier, took: Queue[tuple[float, float]]
) -> None:
    """Admit this process's share of the payloads, then look all of them up in random order."""
    count = SIZES[size]
    medium = MEDIA[name](work, who, count, size)
    payload = random.Random(who).randbytes(size)
    crc = google_crc32c.value(payload)
    numbers = list(range(who, count, processes))
    barrier.wait(60)
    began = time.perf_counter()
    for at in range(0, len(numbers), TOGETHER):
        medium.admit(numbers[at : at + TOGETHER], payload, crc)
    barrier.wait(60)
    filled = time.perf_counter() - began
    order = list(range(count))
    random.Random(who).shuffle(order)
    for number in order[:1000]:
        medium.find(number)
    barrier.wait(60)
    began = time.perf_counter()
    for number in order:
        data, wanted = medium.find(number)
        if google_crc32c.value(bytes(data)) != wanted:
            raise AssertionError(f"{name}: payload {number} is not what was kept")
    took.put((filled / count, (time.perf_counter() - began) / count))


def measured(rounds: int, work: Path) -> Iterator[str]:
    for size in SIZES:
        for processes in (1, 4):
            figures: dict[str, list[tuple[float, float]]] = {name: [] for name in MEDIA}
            for _ in range(rounds):
                for name, found in figures.items():
                    with tempfile.TemporaryDirectory(dir=work) as where:
                        barrier, took = multiprocessing.Barrier(processes), multiprocessing.Queue()
                        workers = [
                            multiprocessing.Process(
                                target=one, args=(name, Path(where), who, processes, size, barrier, took)
                            )
                            for who in range(processes)
                        ]
                        for worker in workers:
                            worker.start()
                        found += [took.get(timeout=60) for _ in workers]
                        for worker in workers:
                            worker.join()
            for name, found in figures.items():
                admit, hit = (1e6 * statistics.median(each) for each in zip(*found, strict=True))
                yield f"| {size:,} B | {processes} | {name} | {admit:.2f} | {hit:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print("| payload | processes | medium | us to admit one, all together | us a hit, in each |")
    print("| --- | --- | --- | --- | --- |")
    for line in measured(asked.rounds, asked.work):
        print(line, flush=True)


if __name__ == "__main__":
    main()
