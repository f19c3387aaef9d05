"""Lance: take() of a shuffled batch's rows, four batches ahead on threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from benchmarks.peers.images import contents

HOW = "one process, take() by batch, 4 batches ahead"
PACKAGES = ("pylance", "pyarrow")
SCHEMA = pa.schema({"image": pa.large_binary(), "label": pa.int32()})


def pack(images: Path, to: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        rows: list[tuple[bytes, int]] = []
        for _, image, label in contents(images):
            rows.append((image, label))
            if len(rows) == 500:
                yield pa.record_batch(list(zip(*rows, strict=True)), schema=SCHEMA)
                rows = []
        if rows:
            yield pa.record_batch(list(zip(*rows, strict=True)), schema=SCHEMA)

    lance.write_dataset(batches(), str(to / "images.lance"), schema=SCHEMA)


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    dataset = lance.dataset(str(at / "images.lance"))
    count = dataset.count_rows()

    def batch(rows: np.ndarray[Any, Any]) -> tuple[list[bytes], list[int]]:
        taken = dataset.take(rows)
        return taken["image"].to_pylist(), taken["label"].to_pylist()

    def epoch(number: int) -> Iterator[Any]:
        order = np.random.default_rng(number).permutation(count)
        with ThreadPoolExecutor(4) as pool:
            ahead: deque[Future[Any]] = deque()
            for begin in range(0, count, batch_size):
                ahead.append(pool.submit(batch, order[begin : begin + batch_size]))
                if len(ahead) > 4:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    return epoch
