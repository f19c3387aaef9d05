"""Bin a trace over time: bytes in each interval, in total and per file, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tiering.trace.hash_share import HashShare, mixed
from tiering.trace.program_files import is_noise

#: Bins of time, and the coarser bins of the heat map.
BINS: Final = 512
HEAT_BINS: Final = 128
#: How many files are followed. Beyond that, a share of all files is, chosen by identity.
FILES: Final = 4096
#: Rows of the heat map. With more files, neighbours by path share a row.
ROWS: Final = 160
_SHORTEST: Final = 2.0**-20
_KINDS: Final = ("read", "write", "access")


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bytes over time. Bin n of the timeline begins n * bin_s after the start of the trace.

    bin_s, heat_bin_s: s. read, written, accessed: B in each bin, int64. rows: the labels of the heat map's rows, in
    order of path. heat: B of any kind, int64 (rows, bins). files: how many files are in the heat map. rate: their share
    of all files, in (0, 1].
    """

    bin_s: float
    read: NDArray[np.int64]
    written: NDArray[np.int64]
    accessed: NDArray[np.int64]
    heat_bin_s: float
    rows: tuple[str, ...]
    heat: NDArray[np.int64]
    files: int
    rate: float


def timeline(batches: Iterable[pl.DataFrame], *, dataset_root: Path | None = None) -> Timeline:
    """Bin a stream of event batches (EVENT_SCHEMA, in order of time), without the machinery of programs.

    dataset_root: a directory whose files are data, even if they look like those of a library.
    Bins double in width whenever the trace outlasts them, so one pass is enough. Memory is BINS sums, FILES rows of
    HEAT_BINS sums with a path each, and a batch. Sums are exact; beyond FILES, only a sample of the files is shown.
    """
    binner = TimelineBinner(dataset_root)
    for batch in batches:
        binner.add(batch)
    return binner.found()


class TimelineBinner:
    """A timeline while its events arrive."""

    def __init__(self, dataset_root: Path | None = None) -> None:
        self._noise = is_noise(dataset_root)
        self._begin: float | None = None
        self._width = _SHORTEST
        self._last = 0
        self._sums = np.zeros((len(_KINDS), BINS), np.int64)
        self._ids = np.empty(0, np.uint64)
        self._heat = np.zeros((0, HEAT_BINS), np.int64)
        self._paths: dict[int, str] = {}
        self._share = HashShare()

    def add(self, batch: pl.DataFrame) -> None:
        """Add a batch of events."""
        if batch.is_empty():
            return
        paths = batch.select("file", "path").unique("file").with_columns(noise=self._noise)
        moved = batch.filter(pl.col("op").is_in(_KINDS), pl.col("size") > 0)
        moved = moved.join(paths.select("file", "noise"), on="file", how="left").filter(~pl.col("noise"))
        self.add_moves(moved, paths, begin=float(batch["time"].to_numpy().min()))

    def add_moves(self, moved: pl.DataFrame, paths: pl.DataFrame, *, begin: float) -> None:
        """Add events that move data.

        moved: those of a batch with a size, without the machinery of programs. paths: file and path of the batch's
        files. begin: time of the batch's first event.
        """
        if self._begin is None:
            self._begin = begin
        if moved.is_empty():
            return
        since = np.maximum(moved["time"].to_numpy() - self._begin, 0.0)
        self._widen(float(since.max()))
        bins = (since / self._width).astype(np.int64)
        self._last = max(self._last, int(bins.max()))
        summed = (
            moved.select("op", "file", "size", bin=pl.Series(bins))
            .group_by("op", "file", "bin")
            .agg(pl.col("size").sum())
        )
        bins, sizes = summed["bin"].to_numpy(), summed["size"].to_numpy()
        for row, kind in enumerate(_KINDS):
            of_kind = (summed["op"] == kind).to_numpy()
            np.add.at(self._sums[row], bins[of_kind], sizes[of_kind])
        self._add_files(summed["file"].to_numpy(), bins // (BINS // HEAT_BINS), sizes, paths)

    def _widen(self, latest: float) -> None:
        factor = 1
        while latest >= self._width * factor * BINS:
            factor *= 2
        if factor > 1:
            self._width *= factor
            self._last //= factor
            self._sums = _folded(self._sums, factor)
            self._heat = _folded(self._heat, factor)

    def _add_files(
        self, files: NDArray[np.uint64], bins: NDArray[np.int64], sizes: NDArray[np.int64], paths: pl.DataFrame
    ) -> None:
        chosen = self._chosen(files)
        files, bins, sizes = files[chosen], bins[chosen], sizes[chosen]
        ids = np.union1d(self._ids, files)
        while np.count_nonzero(self._chosen(ids)) > FILES and self._share.halve():
            pass
        ids = ids[self._chosen(ids)]
        kept = self._chosen(self._ids)
        heat = np.zeros((len(ids), HEAT_BINS), np.int64)
        heat[np.searchsorted(ids, self._ids[kept])] = self._heat[kept]
        chosen = self._chosen(files)
        np.add.at(heat, (np.searchsorted(ids, files[chosen]), bins[chosen]), sizes[chosen])
        self._ids, self._heat = ids, heat
        named = paths.filter(
            pl.col("file").is_in(pl.Series(ids, dtype=pl.UInt64).implode()), pl.col("path").is_not_null()
        )
        merged = dict(named.select("file", "path").iter_rows()) | self._paths
        alive = set(ids.tolist())
        self._paths = {file: path for file, path in merged.items() if file in alive}

    def _chosen(self, files: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return self._share.has(mixed(files))

    def found(self) -> Timeline:
        """Return the timeline of the events added."""
        names = [self._paths.get(file, f"file {file:x}") for file in self._ids.tolist()]
        order = sorted(range(len(names)), key=names.__getitem__)
        groups = [part.tolist() for part in np.array_split(np.array(order, np.intp), min(ROWS, max(1, len(order))))]
        groups = [group for group in groups if group]
        ratio = BINS // HEAT_BINS
        used = self._last + 1
        heat = np.array([self._heat[group].sum(axis=0) for group in groups], np.int64).reshape(-1, HEAT_BINS)
        read, written, accessed = self._sums[:, :used]
        return Timeline(
            bin_s=self._width,
            read=read,
            written=written,
            accessed=accessed,
            heat_bin_s=self._width * ratio,
            rows=tuple(_label([names[at] for at in group]) for group in groups),
            heat=heat[:, : -(-used // ratio)],
            files=len(order),
            rate=self._share.rate,
        )


def _folded(sums: NDArray[np.int64], factor: int) -> NDArray[np.int64]:
    """Add up groups of `factor` neighbouring columns, and keep the number of columns."""
    made = np.zeros_like(sums)
    np.add.at(made.T, np.arange(sums.shape[1]) // factor, sums.T)
    return made


def _label(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} after it"
