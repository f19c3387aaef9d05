"""Bin a trace over time: bytes in each interval, in total and per file, in one pass and bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tiering.trace.hash_share import HashShare, mixed

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


class TimelineBinner:
    """A timeline while its events arrive.

    Bins double in width whenever the trace outlasts them, so one pass is enough. Memory is BINS sums, FILES rows of
    HEAT_BINS sums with a path each, and a batch. Sums are exact; beyond FILES, only a sample of the files is shown.
    """

    def __init__(self) -> None:
        self._begin: float | None = None
        self._width = _SHORTEST
        self._last = 0
        self._sums = np.zeros((len(_KINDS), BINS), np.int64)
        self._ids = np.empty(0, np.uint64)
        self._heat = np.zeros((0, HEAT_BINS), np.int64)
        self._paths: dict[int, str] = {}
        self._share = HashShare()

    def add(self, moved: pl.DataFrame, *, begin: float) -> None:
        """Add events that move data (EVENT_SCHEMA, in order of time). begin: when the batch that they are of begins."""
        if self._begin is None:
            self._begin = begin
        if moved.is_empty():
            return
        since = np.maximum(moved["time"].to_numpy() - self._begin, 0.0)
        self._widen(float(since.max()))
        bins = (since / self._width).astype(np.int64)
        self._last = max(self._last, int(bins.max()))
        sizes = moved["size"].to_numpy()
        for row, kind in enumerate(_KINDS):
            of_kind = (moved["op"] == kind).to_numpy()
            np.add.at(self._sums[row], bins[of_kind], sizes[of_kind])
        chosen = self._chosen(moved["file"].to_numpy())
        heated = moved.select("file", "path", "size", bin=pl.Series(bins // (BINS // HEAT_BINS))).filter(
            pl.Series(chosen, dtype=pl.Boolean)
        )
        self._add_files(heated)

    def _widen(self, latest: float) -> None:
        factor = 1
        while latest >= self._width * factor * BINS:
            factor *= 2
        if factor > 1:
            self._width *= factor
            self._last //= factor
            self._sums = _folded(self._sums, factor)
            self._heat = _folded(self._heat, factor)

    def _add_files(self, heated: pl.DataFrame) -> None:
        files = heated["file"].to_numpy()
        ids = np.union1d(self._ids, files)
        while np.count_nonzero(self._chosen(ids)) > FILES and self._share.halve():
            pass
        ids = ids[self._chosen(ids)]
        kept = self._chosen(self._ids)
        heat = np.zeros((len(ids), HEAT_BINS), np.int64)
        heat[np.searchsorted(ids, self._ids[kept])] = self._heat[kept]
        heated = heated.filter(pl.Series(self._chosen(files), dtype=pl.Boolean))
        files, bins = heated["file"].to_numpy(), heated["bin"].to_numpy()
        np.add.at(heat, (np.searchsorted(ids, files), bins), heated["size"].to_numpy())
        self._ids, self._heat = ids, heat
        named = heated.select("file", "path").drop_nulls().unique("file")
        merged = dict(named.iter_rows()) | self._paths
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
