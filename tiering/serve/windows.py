"""Windows: reads the samples of a block order from a bucket, a whole window with a few requests of up to 8 MiB.

The samples of a window are served in random order, a few at a time. Asked for one by one, each would cost a request. So
the announcement of a window fetches all of it, and `read` hands the samples out.
"""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import TieringError
from tiering.store.concat import parts_behind
from tiering.store.protocol import Images, Store, images_of, shape_of
from tiering.store.range_store import RangeStore
from tiering.store.sample import Buffer
from tiering.store.selection import unselected


class WindowReads:
    """Samples of a remote store that were fetched before they are read.

    Memory is that of the announced samples that were not read yet: two windows, 256 MiB by default.

    Args:
        store: A packed store behind a URL, or a concatenation with one.
    """

    def __init__(self, store: Store) -> None:
        #: Samples in a bucket always need to be fetched.
        self.resident = False
        self._store = store
        self._shape = shape_of(unselected(store).manifest)
        self._held: dict[int, Buffer] = {}

    @staticmethod
    def suit(store: Store) -> bool:
        """Return whether each sample of a store would otherwise cost a request of its own."""
        return any(_costs_requests(part) for part in parts_behind(store))

    def __reduce__(self) -> tuple[type[WindowReads], tuple[Store]]:
        """Pickle without the samples: another process fetches its own."""
        return WindowReads, (self._store,)

    def forget(self) -> None:
        """Drop the samples of an epoch that was left early."""
        self._held = {}

    def announce(self, indices: IndexArray) -> None:
        """Fetch samples, and wait for them."""
        held = self._held  # samples that arrive after forget() go with the old dict
        with suppress(TieringError, OSError, IndexError):  # read() will raise it
            held.update(zip(indices.tolist(), _buffers(self._store.read(indices)), strict=True))

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return samples as Store.read does. Those that are not held are fetched now."""
        found = [self._held.pop(index, None) for index in indices.tolist()]
        missing = [at for at, data in enumerate(found) if data is None]
        if not missing:
            return images_of(cast("list[Buffer]", found), self._shape, out)
        if len(missing) == len(found):
            return self._store.read(indices, out)
        for at, data in zip(missing, _buffers(self._store.read(indices[missing])), strict=True):
            found[at] = data
        return images_of(cast("list[Buffer]", found), self._shape, out)


def _costs_requests(store: Store) -> bool:
    nowhere = np.empty(0, dtype=np.int64)
    remote = isinstance(store, RangeStore) and store.location.local is None
    return remote and store.byte_ranges(nowhere) is not None


def _buffers(images: Images) -> list[Buffer]:
    """Return encoded images as they are, and rows of pixels as their bytes."""
    return images if isinstance(images, list) else [image.reshape(-1).view(np.uint8).data for image in images]
