"""Decode every image of a store, as training will, to find those that cannot be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import DatasetError
from tiering.images.image import decode
from tiering.store.protocol import Store, shape_of
from tiering.store.sample import Buffer
from tiering.system.machine import usable_cores
from tiering.text import display

#: Images that a thread takes at a time.
_AT_ONCE: Final = 16


class Decoding:
    """Decodes images on threads and collects their faults.

    A store of pixels has no encoded images, so nothing is decoded there.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._has_images = shape_of(store.manifest) is None
        self._pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="tiering-decode")
        self._found: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def check(self, rows: IndexArray, images: Sequence[Buffer | PixelArray]) -> None:
        """Decode samples whose CRC-32C is right. The decoders release the GIL."""
        if not self._has_images:
            return
        parts = [images[at : at + _AT_ONCE] for at in range(0, len(images), _AT_ONCE)]
        found = self._pool.map(lambda part: [_fault(image) for image in part], parts)
        faults = [fault for part in found for fault in part]
        for row, fault in zip(rows.tolist(), faults, strict=True):
            if fault is not None:
                key = display(self._store.index.keys(np.array([row]))[0])
                self._found.append(f"sample {row:,} ({key}): cannot be decoded: {fault}")

    def taken(self) -> list[str]:
        """Return the faults that were found since the last call."""
        found, self._found = self._found, []
        return found


def _fault(image: Buffer) -> str | None:
    try:
        decode(image)
    except DatasetError as error:
        return error.found
    return None
