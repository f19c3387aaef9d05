"""Batches whose every byte has been read, as a decoder reads them: an unread view of a map costs nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from tiering.serve.batches import Batch
from tiering.store.protocol import Store


class ByteReader:
    """Copies every byte of a batch once, into memory that it keeps.

    Args:
        store: The store of the batches.
    """

    def __init__(self, store: Store) -> None:
        self._scratch = bytearray(int(store.index.size.max()))

    def __call__(self, batch: Batch) -> None:
        """Read one batch."""
        scratch = self._scratch
        images: Iterable[Any] = batch.images
        if len(batch) and isinstance(batch.images[0], np.ndarray):
            images = [np.asarray(image).reshape(-1).view(np.uint8).data for image in batch.images]
        # Nothing else here: reading a small image takes less than a microsecond.
        for image in images:
            scratch[: len(image)] = image


def read_ahead(batches: Iterable[Batch], read: Callable[[Batch], None], ahead: int) -> Iterator[Batch]:
    """Yield batches that a thread takes and reads before the consumer asks for them, as a training framework does.

    Args:
        batches: The batches of an epoch.
        read: Called on the thread with each batch.
        ahead: Batches that may be read and not yet taken, at least 1.
    """
    source = iter(batches)

    def following() -> Batch | None:
        batch = next(source, None)
        if batch is not None:
            read(batch)
        return batch

    with ThreadPoolExecutor(1, thread_name_prefix="tiering-feed") as thread:
        running: deque[Future[Batch | None]] = deque(thread.submit(following) for _ in range(ahead))
        try:
            while (batch := running.popleft().result()) is not None:
                running.append(thread.submit(following))
                yield batch
        finally:
            thread.shutdown(cancel_futures=True)
