"""ArrayRecord read by Grain, with its global shuffle."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grain
from array_record.python.array_record_module import ArrayRecordWriter

from benchmarks.peers.images import contents

HOW = "one process, 16 threads, group_size:1, uncompressed"
PACKAGES = ("grain", "array_record")


def pack(images: Path, to: Path) -> None:
    writer = ArrayRecordWriter(str(to / "images.array_record"), "group_size:1,uncompressed")
    for _, image, label in contents(images):
        writer.write(struct.pack("<i", label) + image)
    writer.close()


def parted(records: list[bytes]) -> tuple[list[memoryview], list[int]]:
    return [memoryview(record)[4:] for record in records], [struct.unpack_from("<i", record)[0] for record in records]


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    source = grain.sources.ArrayRecordDataSource([str(at / "images.array_record")])

    def epoch(number: int) -> Iterator[Any]:
        read = (
            grain.MapDataset.source(source)
            .shuffle(seed=number)
            .to_iter_dataset(grain.ReadOptions(num_threads=16, prefetch_buffer_size=512))
        )
        return map(parted, iter(read.batch(batch_size, drop_remainder=False, batch_fn=list)))

    return epoch
