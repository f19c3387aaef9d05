"""The order in which files were visited, and how random it is."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: How many visits are kept to judge their order: 12 bytes each, enough for several epochs or one very long one.
_VISITS = 1 << 20
#: Loader workers and files in pairs interleave a few sorted sequences, so look this many visits back.
_LAGS = 4


class Visits:
    """The first visits of the trace, in order."""

    def __init__(self) -> None:
        self._kept: list[pl.DataFrame] = []
        self._count = 0

    def add(self, reads: pl.DataFrame) -> None:
        """Add a batch of reads from a RunBatch."""
        if self._count < _VISITS:
            visits = reads.filter("visit").select("file", "group").head(_VISITS - self._count)
            self._kept.append(visits)
            self._count += len(visits)

    def randomness(self, files: pl.DataFrame) -> float:
        """Return how random the order is. files: from FileTally.table."""
        if not self._count:
            return 0.0
        visits = pl.concat(self._kept).join(files.select("file"), on="file", how="semi", maintain_order="left")
        ranked = files.sort("path", "file")["file"].to_list()
        ranks = {file: rank for rank, file in enumerate(ranked)}
        return order_randomness(visits["file"].to_numpy(), visits["group"].to_numpy(), ranks)


def order_randomness(visits: NDArray[np.uint64], groups: NDArray[np.int32], ranks: dict[int, int]) -> float:
    """Return how random a sequence of visits to files is: 0 sorted or repeated, 1 as in a shuffle.

    visits: files in the order of visits. groups: the process group of each. ranks: each file's position by path.

    From one visit to the next of the same group, a shuffle of N files moves |step| = (N + 1) / 3 positions on average,
    and a sorted pass 1. The figure is (mean |step| - 1) / ((N + 1) / 3 - 1), clipped to [0, 1]. The least of several
    counts: with positions by path, and, after the first visit to each file, with positions in the order of first visits
    (an order that repeats from epoch to epoch is not random); each over steps of 1 to 4 visits. Fewer than 3 files give
    0. The mean over groups is weighted by visits.
    """
    total = weight = 0.0
    for group in np.unique(groups):
        mine = visits[groups == group]
        total += _of_one_group(mine, ranks) * len(mine)
        weight += len(mine)
    return total / weight if weight else 0.0


def _of_one_group(visits: NDArray[np.uint64], ranks: dict[int, int]) -> float:
    files, first, inverse = np.unique(visits, return_index=True, return_inverse=True)
    if len(files) < 3:
        return 0.0
    by_path = np.empty(len(files), dtype=np.int64)
    by_path[np.argsort([ranks[file] for file in files.tolist()])] = np.arange(len(files))
    by_first = np.empty(len(files), dtype=np.int64)
    by_first[np.argsort(first)] = np.arange(len(files))
    again = np.ones(len(visits), dtype=bool)
    again[first] = False
    figure = _mean_step(by_path[inverse], len(files))
    if again.sum() >= len(files):
        figure = min(figure, _mean_step(by_first[inverse[again]], len(files)))
    return figure


def _mean_step(positions: NDArray[np.int64], files: int) -> float:
    shuffled = (files + 1) / 3
    means = [
        float(np.abs(positions[lag:] - positions[:-lag]).mean()) for lag in range(1, _LAGS + 1) if lag < len(positions)
    ]
    return float(np.clip((min(means) - 1) / (shuffled - 1), 0.0, 1.0)) if means else 0.0
