"""The shard plan: which samples go into which shard, and in which order. Equal source and settings, equal plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tiering.order import EpochOrder, IndexArray
from tiering.store.base import Settings
from tiering.store.index import Index
from tiering.store.zarr import CHUNK_BYTES

Kind = Literal["lmdb", "zarr"]

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The plan of a store.

    settings: what it was planned with; order: int64 (n,), the row of the source index of each packed sample;
    ends: int64 (shards,), where each shard ends in packed order.
    """

    settings: Settings
    order: IndexArray
    ends: IndexArray

    def shards(self) -> Iterator[IndexArray]:
        """Yield the source rows of each shard, in packed order."""
        begin = 0
        for end in self.ends.tolist():
            yield self.order[begin:end]
            begin = end


def make_plan(index: Index, kind: Kind, *, codec: str = "none", seed: int = 0) -> ShardPlan:
    """Plan a store: samples in a seeded random order, cut into shards of bounded size.

    The random order makes every run of neighbours a random sample of the dataset, so that reading block by block
    is unbiased whatever the size of a block.
    """
    chunk = CHUNK_BYTES if kind == "zarr" else 0
    shard_bytes = default_shard_bytes(int(index.size.sum()), int(index.size.max()))
    order = EpochOrder(len(index), seed, stream="pack").take(0, len(index))
    settings = Settings(seed=seed, shard_bytes=shard_bytes, codec=codec, chunk_bytes=chunk)
    return ShardPlan(settings, order, _ends(np.cumsum(index.size[order]), shard_bytes))


def default_shard_bytes(total: int, largest: int) -> int:
    """Choose the size of a shard, a multiple of a MiB, from the data alone so that every machine plans alike.

    About 16 shards, to pack in parallel; between 16 and 256 MiB, to redo little after a failure; never more than 256
    shards, which a reader can keep mapped; never smaller than the largest sample.
    """
    wanted = max(min(max(total // 16, 16 * MIB), 256 * MIB), total // 256, largest)
    return -(-wanted // MIB) * MIB


def _ends(cumulative: IndexArray, shard_bytes: int) -> IndexArray:
    ends: list[int] = []
    packed, n = 0, len(cumulative)
    while not ends or ends[-1] < n:
        ends.append(int(np.searchsorted(cumulative, packed + shard_bytes, side="right")))
        packed = int(cumulative[ends[-1] - 1])
    return np.array(ends, dtype=np.int64)
