"""TensorStore on tiering's Zarr store: a batch's slices read at once, four batches ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

import tiering
from benchmarks.peers import tiering_lmdb

HOW = "one process, 4 batches of slices ahead"
PACKAGES = ("tensorstore",)
pack = partial(tiering_lmdb.packed, "zarr")


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    index = tiering.open_store(at / "store").index
    kept = {"driver": "file", "path": str(at / "store" / "data")}
    array = tensorstore.open({"driver": "zarr3", "kvstore": kept}, read=True, open=True).result()

    def asked(rows: np.ndarray[Any, Any]) -> tuple[list[Any], Any]:
        begins, ends = index.offset[rows].tolist(), (index.offset[rows] + index.size[rows]).tolist()
        return [array[begin:end].read() for begin, end in zip(begins, ends, strict=True)], index.label[rows]

    def epoch(number: int) -> Iterator[Any]:
        order = np.random.default_rng(number).permutation(len(index))
        ahead: deque[tuple[list[Any], Any]] = deque()
        for begin in range(0, len(index), batch_size):
            ahead.append(asked(order[begin : begin + batch_size]))
            if len(ahead) > 4:
                images, labels = ahead.popleft()
                yield [image.result() for image in images], labels
        for images, labels in ahead:
            yield [image.result() for image in images], labels

    return epoch
