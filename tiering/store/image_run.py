"""Many small images at a time: what the writers of shards take in place of single ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tiering.arrays import IndexArray


@dataclass(frozen=True, slots=True)
class ImageRun:
    """Images end to end. data: their bytes, which stay only until the next image or run is asked for. sizes: int64."""

    data: memoryview
    sizes: IndexArray


#: Images in packed order.
Images = Iterable[bytes | ImageRun]


def one_by_one(images: Images) -> Iterator[bytes]:
    """Yield every image for itself."""
    for each in images:
        if isinstance(each, bytes):
            yield each
            del each  # It may have 1 GiB: free it before the next one is read.
            continue
        begin = 0
        for size in each.sizes.tolist():
            yield bytes(each.data[begin : begin + size])
            begin += size
