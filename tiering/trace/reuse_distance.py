"""The miss ratio of a cache of any size, and whether reads come in passes, both from references to blocks.

An LRU cache of s blocks hits exactly if fewer than s distinct other blocks were referenced since the last reference to
the same block: the reuse distance. Sorting all distances gives the miss ratios of all cache sizes at once.

Example: references a b c b a. The distance of the second b is 1 (c), that of the second a is 2 (b, c). A cache of 2
blocks hits only b: miss ratio 4/5. A cache of 3 blocks hits both: 3/5.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from tiering.trace.block_sample import BLOCK, References

#: Points of a curve, evenly spaced in the logarithm of the size.
_POINTS = 24
_WINDOWS = 32
#: Prefetching and workers blur passes: the tolerated share of a pass's references on the wrong side of its end.
_BLUR = 0.15
#: Share of blocks that must be read as often as the typical one, up to one pass and a tenth.
_EVEN = 0.8
#: An unfinished pass counts from this share of a complete one.
_BEGUN = 0.05
_FEWEST = 8


class CurvePoint(BaseModel):
    """Miss ratios of a cache of one size, over all reads of the trace, including first ones."""

    model_config = ConfigDict(frozen=True)

    cache_bytes: int
    lru: float = Field(description="share of block references that an LRU cache misses")
    static: float = Field(description="the same for a cache that fills once and never evicts")


class Passes(BaseModel):
    """Epochs: consecutive passes over the same data, with each block once per pass."""

    model_config = ConfigDict(frozen=True)

    count: int = Field(description="passes, including a last incomplete one")
    period: float | None = Field(description="median s from the beginning of one pass to the next; null without times")
    boundaries: list[float] = Field(description="s from the beginning of the trace to those of passes 2, 3, ...")


def miss_ratio_curve(references: References, touched: int) -> list[CurvePoint]:
    """Return miss ratios for cache sizes from one block to all of them; empty if nothing was read.

    touched: distinct B of all blocks that were read. A cache keeps these, not what else the blocks of small files, or
    of sparsely read ones, would have room for; each block counts as the mean of all.

    LRU: stack distances (Mattson et al., 1970) of the sampled references, scaled by the rate as in SHARDS. Static: a
    cache that keeps the blocks that were read first. With n distinct blocks in the sample, the error of a ratio is
    about 0.5 / sqrt(n) (SHARDS, section 5: below 0.01 on average from 8,000 blocks on), and several times that if a few
    blocks are much hotter than the others (docs/benchmarks.md, "Tracing").
    """
    total = len(references.block)
    if not total:
        return []
    before = _previous(references.block)
    distances = _distances(before)
    again = before >= 0
    _, first, counts = np.unique(references.block, return_index=True, return_counts=True)
    saved = np.cumsum((counts - 1)[np.argsort(first)])
    distinct = len(counts)
    scale = _mean_block(references, distinct, touched) / references.rate
    sizes = np.unique(np.geomspace(1, distinct, _POINTS).round().astype(np.int64))
    ordered = np.sort(distances[again])
    return [
        CurvePoint(
            cache_bytes=round(size * scale),
            lru=1 - float(np.searchsorted(ordered, size, side="left")) / total,
            static=1 - float(saved[size - 1]) / total,
        )
        for size in sizes.tolist()
    ]


def working_set(references: References, touched: int) -> list[int]:
    """Return the distinct bytes read in each of 32 equal parts of the time from the first to the last reference.

    touched: as for miss_ratio_curve.
    """
    if not len(references.time):
        return []
    begin, end = float(references.time.min()), float(references.time.max())
    part = np.minimum(((references.time - begin) / max(end - begin, 1e-9) * _WINDOWS).astype(np.int64), _WINDOWS - 1)
    table = pl.DataFrame({"part": part, "block": references.block}).group_by("part").agg(pl.col("block").n_unique())
    counts = np.zeros(_WINDOWS, np.int64)
    counts[table["part"].to_numpy()] = table["block"].to_numpy()
    scale = _mean_block(references, len(np.unique(references.block)), touched) / references.rate
    return [round(int(count) * scale) for count in counts]


def _mean_block(references: References, distinct: int, touched: int) -> float:
    """Return the B that were read of a block in the mean. distinct: blocks in the sample."""
    return min(float(BLOCK), touched * references.rate / distinct)


def passes(references: References, begin: float) -> Passes | None:
    """Find epochs. Returns None if reads do not come in passes, or there is only one.

    begin: s, when the trace begins. A block's n-th reference belongs to pass n. These are passes if most blocks are
    read equally often, and hardly any block is read for pass n + 1 before the others were read for pass n.
    """
    _, keys, counts = np.unique(references.block, return_inverse=True, return_counts=True)
    if len(counts) < _FEWEST:
        return None
    typical = float(np.median(counts))
    if typical < 2 and (counts >= 2).mean() < _BEGUN:
        return None
    if (np.abs(counts - typical) <= 1 + typical / 10).mean() < _EVEN:
        return None
    order = np.argsort(keys, kind="stable")
    starts = np.cumsum(counts) - counts
    nth = np.empty(len(keys), np.int64)
    nth[order] = np.arange(len(keys)) - np.repeat(starts, counts)
    sizes = np.bincount(nth)
    begun = int((sizes >= _BEGUN * len(counts)).sum())
    boundaries = []
    for number in range(1, begun):
        end = int(sizes[:number].sum())
        wrong = int((nth[:end] >= number).sum())
        if wrong > _BLUR * min(sizes[number - 1], sizes[number]):
            return None
        boundaries.append(float(references.time[end]) - begin)
    if not boundaries:
        return None
    starts_at = [float(references.time[0]) - begin, *boundaries]
    return Passes(count=begun, period=float(np.median(np.diff(starts_at))), boundaries=boundaries)


def _previous(blocks: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the index of the previous reference to the same block; -1 for a first one."""
    order = np.argsort(blocks, kind="stable")
    before = np.full(len(blocks), -1, np.int64)
    same = blocks[order][1:] == blocks[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    return before


def _distances(before: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the distinct blocks between each reference and the previous one to the same block.

    Between positions p and i there are i - p - 1 references. One of them repeats a block within the span if its own
    predecessor is after p. So the distance is i - p - 1 minus the number of earlier references with a later
    predecessor: the inversions of `before`. They are counted bit by bit from the top, like a radix sort, with all
    numbers of equal upper bits side by side in their order.

    Example: a b c b a has before = -1 -1 -1 1 0. At i = 4, p = 0: 3 references are between, and b at 3 has the later
    predecessor 1, so the distance is 3 - 1 = 2.
    """
    count = len(before)
    rank = np.empty(count, np.int64)
    # Only -1 has ties, and distances of first references are not used.
    rank[np.argsort(before, kind="stable")] = np.arange(count)
    bits = max(1, int(count - 1).bit_length())
    values = np.arange(1 << bits)
    values[:count] = rank
    positions = np.arange(1 << bits)
    inversions = np.zeros(1 << bits, np.int64)
    for bit in range(bits - 1, -1, -1):
        ones = ((values >> bit) & 1).reshape(-1, 2 << bit)
        larger = np.cumsum(ones, axis=1)
        zero = ones == 0
        inversions[positions.reshape(ones.shape)[zero]] += larger[zero]
        order = np.argsort(ones, axis=1, kind="stable")
        values = np.take_along_axis(values.reshape(ones.shape), order, axis=1).ravel()
        positions = np.take_along_axis(positions.reshape(ones.shape), order, axis=1).ravel()
    return np.arange(count) - before - 1 - inversions[:count]
