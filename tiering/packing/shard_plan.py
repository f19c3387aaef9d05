"""The shard plan: which samples go into which shard, and in which order.

The same source and settings always give the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.images.image import LARGEST_BYTES
from tiering.io_sizes import CHUNK_BYTES, PIXEL_CHUNK_BYTES
from tiering.literals import PackedFormat
from tiering.permutation import EpochOrder
from tiering.store.settings import Settings, StoredEncoding, StoredPixels

MIB: Final = 1 << 20
_ROWS: Final = 1 << 18

#: What the smallest image may have after it was re-encoded, bytes: JPEG's tables alone are 600.
SMALLEST_ENCODED: Final = 4096


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The plan of a new store, or of an append.

    settings: of the store. generation: of the manifest that will be written. selected: rows of the listing to pack,
    int64, or None for all. n: number of samples to pack. ends: int64 (shards,), position after the last sample of each
    shard in packed order.
    """

    settings: Settings
    generation: int
    selected: IndexArray | None
    n: int
    ends: IndexArray

    def rows(self, shard: int) -> IndexArray:
        """Return the listing's rows of a shard, in packed order. O(1) memory beside the result."""
        begin = int(self.ends[shard - 1]) if shard else 0
        return _rows(self, begin, int(self.ends[shard]))


def settings_for(
    kind: PackedFormat,
    total: int,
    largest: int,
    *,
    codec: str,
    seed: int,
    shard_bytes: int | None,
    pixels: StoredPixels | None,
    reencoded: StoredEncoding | None = None,
) -> Settings:
    """Choose the sizes of shards and chunks from the data alone, so that every machine plans alike.

    total, largest: bytes of all samples and of the largest one, as they will be stored. shard_bytes: the caller's, or
    None.
    """
    wanted = max(shard_bytes or default_shard_bytes(total, largest), largest)
    if pixels is not None:
        sample = pixels.shape.nbytes
        chunk = sample * max(1, min(PIXEL_CHUNK_BYTES, wanted) // sample)
    else:
        chunk = min(CHUNK_BYTES, wanted) if kind == "zarr" else 0
    if chunk:
        # A Zarr shard is a whole number of chunks: no larger than requested, but large enough for the largest sample.
        wanted = max(wanted // chunk, -(-largest // chunk)) * chunk
    return Settings(seed=seed, shard_bytes=wanted, codec=codec, chunk_bytes=chunk, pixels=pixels, reencoded=reencoded)


def default_shard_bytes(total: int, largest: int) -> int:
    """Choose the size of a shard, a multiple of a MiB.

    There are about 16 shards, which are packed in parallel. They have 16 to 256 MiB, so that little work is lost in a
    failure. From 128 GiB on, they grow up to 4 GiB, so that a reader can keep all 512 of them mapped. They are never
    smaller than the largest sample.
    """
    wanted = max(min(max(total // 16, 16 * MIB), 256 * MIB), min(total // 512, 4096 * MIB), largest)
    return -(-wanted // MIB) * MIB


def packable(size: IndexArray) -> IndexArray:
    """Return sizes of files as a plan counts them, int64: 0 for those that are gone or too large to pack."""
    return np.where(size > LARGEST_BYTES, 0, np.maximum(size, 0))


def reencoded_sizes(size: IndexArray, growth: int) -> IndexArray:
    """Return sizes of re-encoded images as a plan counts them, int64: more than nearly all of them will have.

    size: of their files, bytes. growth: see StoredEncoding.
    """
    return packable(size) * growth + SMALLEST_ENCODED


def planned_sizes(size: IndexArray, settings: Settings) -> IndexArray:
    """Return sizes of samples as a plan counts them, int64. size: of their files, bytes. Not for pixels."""
    if settings.reencoded is None:
        return packable(size)
    # A large file does not make a large sample, so it never asks for more than a shard.
    return np.minimum(reencoded_sizes(size, settings.reencoded.growth), settings.shard_bytes)


def make_plan(
    size: IndexArray, settings: Settings, *, generation: int = 1, selected: IndexArray | None = None
) -> ShardPlan:
    """Plan a store: samples in a seeded random order, cut into shards of bounded size.

    size: bytes of every sample of the listing, int64 (n,). It is read in parts.
    Because of the random order, any samples that are neighbours in the store are a random sample of the dataset. So
    reading block by block is unbiased, whatever the size of a block.
    """
    n = len(size) if selected is None else len(selected)
    unfinished = ShardPlan(settings, generation, selected, n, np.empty(0, dtype=np.int64))
    if not n:
        return unfinished
    if settings.pixels is not None:
        a_shard = settings.shard_bytes // settings.pixels.shape.nbytes
        ends = np.minimum(np.arange(a_shard, n + a_shard, a_shard, dtype=np.int64), n)
    else:
        ends = _ends(unfinished, size)
    return ShardPlan(settings, generation, selected, n, ends)


def _rows(plan: ShardPlan, begin: int, end: int) -> IndexArray:
    order = _order(plan.n, plan.settings.seed, plan.generation - 1).take(begin, end)
    return order if plan.selected is None else plan.selected[order]


@lru_cache(maxsize=1)
def _order(n: int, seed: int, epoch: int) -> EpochOrder:
    """Return the packed order. That of few samples is a table, which takes longer than the rows of a shard."""
    return EpochOrder(n, seed, epoch, stream="pack")


def _ends(plan: ShardPlan, size: IndexArray) -> IndexArray:
    ends: list[int] = []
    packed = 0  # bytes in the shard that is being filled
    for begin in range(0, plan.n, _ROWS):
        end = min(begin + _ROWS, plan.n)
        running: npt.NDArray[np.int64] = np.cumsum(planned_sizes(size[_rows(plan, begin, end)], plan.settings))
        taken = 0
        while True:
            fits = int(np.searchsorted(running, plan.settings.shard_bytes - packed + taken, side="right"))
            if fits == end - begin:
                packed += int(running[-1]) - taken
                break
            ends.append(begin + fits)
            taken, packed = int(running[fits - 1]) if fits else 0, 0
    return np.array([*ends, plan.n], dtype=np.int64)
