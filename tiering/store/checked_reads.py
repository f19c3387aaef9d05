"""Check data from a network against its CRC-32C, and read it again if it differs."""

from __future__ import annotations

import os
from collections.abc import Callable

import google_crc32c
import numpy as np

from tiering.arrays import IndexArray
from tiering.errors import StoreError, command
from tiering.storage.attempts import TIMES, attempts
from tiering.store.generation import explain
from tiering.store.protocol import Images, Store


def checked(
    store: Store, indices: IndexArray, read: Callable[[], Images], again: Callable[[IndexArray], Images]
) -> Images:
    """Read samples of a remote store. Read those with a wrong CRC-32C again, a few times.

    read: reads the samples at indices. again: reads some of them once more.
    Raises StoreError with the shard and the sample if a CRC-32C is wrong every time.
    """
    try:
        return _checked(store, indices, read(), again)
    except StoreError as error:
        raise explain(store.location, store.manifest, error) from error


def _checked(store: Store, indices: IndexArray, images: Images, again: Callable[[IndexArray], Images]) -> Images:
    crcs = store.index.crc32c[indices]

    def unsound(positions: list[int]) -> list[int]:
        return [at for at in positions if google_crc32c.value(bytes(images[at])) != crcs[at]]

    wrong = unsound(list(range(len(indices))))
    tries = attempts(store.location)
    next(tries)  # the first read was this one
    for _ in tries:
        if not wrong:
            return images
        for at, image in zip(wrong, again(indices[wrong]), strict=True):
            images[at] = image
        wrong = unsound(wrong)
    if wrong:
        raise _named(store, int(indices[wrong[0]]), len(bytes(images[wrong[0]])))
    return images


def _named(store: Store, sample: int, found: int) -> StoreError:
    ends = np.cumsum([shard.samples for shard in store.manifest.shards])
    shard = store.manifest.shards[int(np.searchsorted(ends, sample, side="right"))]
    key = os.fsdecode(store.index.keys(np.array([sample]))[0])
    size = int(store.index.size[sample])
    return StoreError(
        f"{store.location}/{shard.name}",
        expected=f"sample {sample:,} ({key}), {size:,} bytes, with the CRC-32C of the index",
        found=f"{'other bytes' if found == size else f'{found:,} bytes'}, {TIMES} times",
        action=f"See what is damaged: {command('tiering', 'verify', store.location)}",
    )
