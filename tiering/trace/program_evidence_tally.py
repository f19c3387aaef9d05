"""Collect the evidence of a trace, batch by batch, before the traffic of programs is left out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tiering.trace.name_kinds import file_kind, is_checkpoint, library_bits, process_kinds, program_bits, split
from tiering.trace.program_evidence import ProgramEvidence
from tiering.trace.running_totals import share

#: Most processes whose programs are remembered. Those that began first are forgotten first, and are then unknown.
_MOST_PROCESSES = 1 << 16
#: Reads whose times are kept, from the beginning.
_MOST_TIMES = 1 << 16
_FEWEST_BURSTS = 8
#: Pauses this many times the median pause end a burst.
_PAUSE = 4.0
#: Most that a spread may be.
_MOST_SPREAD = 3.0
_ALIKE = 0.25
_FEWEST_IN_FOLDER = 3
_CHILD = r"^<process (\d+)>$"
_DIGITS = r"\d+"


#: Processes that read: the parent, or the group where that is unknown; B read; s of the first and of the last read.
_READERS = pl.Schema({"parent": pl.Int64, "pid": pl.Int32, "size": pl.Int64, "begin": pl.Float64, "end": pl.Float64})


class ProgramEvidenceTally:
    """Collects evidence. Memory is a row for each process, a bit for each kind, and the times of 65,536 reads."""

    def __init__(self) -> None:
        #: The kinds of each process, as bits, and its parent. A process that is not here is unknown.
        self._kinds: dict[int, tuple[int, int]] = {}
        #: Bytes moved by processes of each set of kinds; None is unknown.
        self._moved: dict[int | None, int] = {}
        self._read = pl.DataFrame(schema=_READERS)
        self._times: list[pl.DataFrame] = []
        self._timed = 0
        self._renamed = self._renamed_checkpoints = 0
        self._validated = float("inf")
        self._between = False
        self._split_bytes: dict[str, int] = {}

    def add(self, marked: pl.DataFrame, data: pl.DataFrame) -> None:
        """Add a batch. marked: events (EVENT_SCHEMA) and `noise`. data: those of them that are no noise."""
        self._follow(marked)
        op, size = pl.col("op"), pl.col("size")
        moved = data.filter(op.is_in(["read", "write", "mmap"]), size > 0)
        for pid, moves in moved.group_by("pid", maintain_order=True).agg(size.sum()).iter_rows():
            known = self._kinds.get(pid)
            bits = None if known is None else known[0]
            self._moved[bits] = self._moved.get(bits, 0) + moves
        reads = moved.filter(op == "read")
        if len(reads):
            self._add_reads(reads)
        placed = data.filter(op == "rename", pl.col("flags") == "w")
        if len(placed):
            self._renamed += len(placed)
            self._renamed_checkpoints += int(is_checkpoint(placed["path"]).sum())

    def _follow(self, marked: pl.DataFrame) -> None:
        """Follow which programs processes execute, and which libraries they open. A child begins as its parent."""
        op = pl.col("op")
        # A library is opened once by a process, as far as this is concerned: the events between two exec of a process
        # that name the same file count once.
        told = marked.filter(op.is_in(["exec", "fork"]) | (op.is_in(["open", "mmap"]) & pl.col("noise")))
        told = told.select("op", "pid", "path", "group").with_columns(
            image=(op == "exec").cum_sum().over("pid"), opens=op.is_in(["open", "mmap"])
        )
        told = told.unique(["pid", "image", "opens", "path"], keep="first", maintain_order=True)
        if told.is_empty():
            return
        names = told.select("path", "opens").unique()
        libraries, programs = names.filter("opens"), names.filter(~pl.col("opens"))
        libraries = libraries.with_columns(bits=library_bits(libraries["path"]))
        programs = programs.with_columns(bits=program_bits(programs["path"]))
        told = told.join(pl.concat([libraries, programs]), on=["path", "opens"], how="left", maintain_order="left")
        told = told.with_columns(child=pl.col("path").str.extract(_CHILD, 1).cast(pl.Int64, strict=False))
        # A library that stands for nothing says nothing. But the cache of the dynamic loader is opened first of all, so
        # the trace shows all the libraries of that process.
        begins = pl.col("path").str.ends_with("/ld.so.cache")
        told = told.filter(~pl.col("opens") | (pl.col("bits") != 0) | begins)
        for operation, pid, group, bits, child in told.select("op", "pid", "group", "bits", "child").iter_rows():
            before = self._kinds.get(pid)
            if operation == "fork":
                if child is not None and child not in self._kinds:
                    self._remember(child, 0 if before is None else before[0], pid, known=before is not None)
            else:
                old = 0 if before is None or operation == "exec" else before[0]
                self._remember(pid, old | (bits or 0), group if before is None else before[1])

    def _remember(self, pid: int, bits: int, parent: int, *, known: bool = True) -> None:
        if known:
            self._kinds[pid] = (bits, parent)
            if len(self._kinds) > _MOST_PROCESSES:
                del self._kinds[next(iter(self._kinds))]

    def _add_reads(self, reads: pl.DataFrame) -> None:
        time = pl.col("time")
        mine = reads.group_by("pid", "group", maintain_order=True).agg(
            pl.col("size").sum(), begin=time.min(), end=time.max()
        )
        parents = [self._kinds.get(pid, (0, group))[1] for pid, group in mine.select("pid", "group").iter_rows()]
        fresh = mine.with_columns(parent=pl.Series(parents, dtype=pl.Int64)).select(_READERS.names())
        self._read = (
            pl.concat([self._read, fresh])
            .group_by("parent", "pid", maintain_order=True)
            .agg(pl.col("size").sum(), pl.col("begin").min(), pl.col("end").max())
        )
        if self._timed < _MOST_TIMES:
            kept = reads.select("time", "size").head(_MOST_TIMES - self._timed)
            self._times.append(kept)
            self._timed += len(kept)
        self._add_splits(reads)

    def _add_splits(self, reads: pl.DataFrame) -> None:
        names = reads.select("file", "path").unique("file")
        names = names.with_columns(split=split(names["path"])).filter(pl.col("split").is_not_null())
        if names.is_empty():
            return
        named = reads.select("file", "size", "time").join(names, on="file", how="inner")
        for name, size, first, last in (
            (
                named.group_by("split").agg(
                    pl.col("size").sum(), pl.col("time").min().alias("a"), pl.col("time").max().alias("b")
                )
            )
            .sort("split", descending=True)
            .iter_rows()
        ):  # validation comes before training
            self._split_bytes[name] = self._split_bytes.get(name, 0) + size
            if name == "validation":
                self._validated = min(self._validated, first)
            if name == "training":
                self._between |= last > self._validated

    def found(self, files: pl.DataFrame) -> ProgramEvidence:
        """Return the evidence. files: the table of FileTally."""
        parts = (self._processes(), self._siblings(), _of_files(files), self._outputs(files), self._splits())
        return ProgramEvidence.model_validate(dict(item for part in (*parts, self._pace()) for item in part.items()))

    def _processes(self) -> dict[str, object]:
        total, unknown = sum(self._moved.values()), self._moved.get(None, 0)
        known = total - unknown
        if not known or unknown > known:
            return {}
        kinds = {}
        for number, kind in enumerate(process_kinds()):
            mine = sum(size for bits, size in self._moved.items() if bits is not None and bits >> number & 1)
            if mine:
                kinds[kind] = mine / known
        return {"process_kinds": kinds, "unnamed": self._moved.get(0, 0) / known}

    def _siblings(self) -> dict[str, object]:
        if self._read.is_empty():
            return {}
        total = int(self._read["size"].sum())
        size = pl.col("size")
        near = self._read.filter(size >= _ALIKE * size.max().over("parent"))
        best = near.group_by("parent").agg(size.sum()).sort("size", "parent").tail(1)
        mine = near.filter(pl.col("parent") == best["parent"][0])
        together = _at_once(mine["begin"].to_numpy(), mine["end"].to_numpy())
        return {"alike": together, "alike_share": share(int(best["size"].sum()), total)}

    def _outputs(self, files: pl.DataFrame) -> dict[str, object]:
        written = files.filter(pl.col("bytes_written") > 0)
        if written.is_empty():
            return {}
        named = written.filter(is_checkpoint(written["path"]))
        return {
            "checkpoints": max(len(named), self._renamed_checkpoints),
            "checkpoint_share": share(int(named["bytes_written"].sum()), int(written["bytes_written"].sum())),
            "renamed_share": min(1.0, self._renamed / len(written)),
        }

    def _splits(self) -> dict[str, object]:
        total = int(self._read["size"].sum())
        if not self._split_bytes or not total:
            return {}
        shares = {name: size / total for name, size in sorted(self._split_bytes.items())}
        return {"splits": shares, "validation_between": self._between}

    def _pace(self) -> dict[str, object]:
        if not self._times:
            return {}
        table = pl.concat(self._times).sort("time", maintain_order=True)
        return pace(table["time"].to_numpy(), table["size"].to_numpy())


def pace(times: NDArray[np.float64], sizes: NDArray[np.int64]) -> dict[str, object]:
    """Describe the bursts of reads: how even they and the times between them are. times: s, sorted. sizes: B."""
    pauses = np.diff(times)
    moving = pauses[pauses > 0]
    if not len(moving):
        return {}
    ends = np.flatnonzero(pauses > _PAUSE * np.median(moving))
    # The last burst may be cut short, and the first may have been longer.
    if len(ends) < _FEWEST_BURSTS + 1:
        return {}
    starts = np.append(0, ends + 1)
    bursts = np.add.reduceat(sizes.astype(np.float64), starts)[1:-1]
    return {
        "burst_spread": _spread(bursts),
        "interval_spread": _spread(np.diff(times[starts])[1:]),
        "idle_share": float(pauses[ends].sum() / (times[-1] - times[0])),
    }


def _at_once(begins: NDArray[np.float64], ends: NDArray[np.float64]) -> int:
    """Return the most spans that overlap at one time."""
    begun = np.arange(1, len(begins) + 1)
    ended = np.searchsorted(np.sort(ends), np.sort(begins), side="left")
    return int((begun - ended).max())


def _spread(values: NDArray[np.float64]) -> float:
    return min(_MOST_SPREAD, float(values.std() / values.mean())) if values.mean() > 0 else 0.0


def _of_files(files: pl.DataFrame) -> dict[str, object]:
    used = files.with_columns(used=pl.col("bytes_read") + pl.col("mapped_bytes")).filter(pl.col("used") > 0)
    used = used.filter(pl.col("path").is_not_null())
    total = int(used["used"].sum())
    if not total:
        return {}
    used = used.with_columns(kind=file_kind(used["path"]), folder=pl.col("path").str.extract(r"^(.*)/", 1))
    kinds = used.filter(pl.col("kind").is_not_null()).group_by("kind").agg(pl.col("used").sum()).sort("kind")
    name = pl.col("path").str.extract(r"([^/]*)$", 1).str.replace_all(_DIGITS, "#")
    names = used.select(name.alias("name")).group_by("name").len()
    return {
        "file_kinds": {kind: size / total for kind, size in kinds.iter_rows()},
        "class_folders": _in_class_folders(used),
        "alike_names": share(int(names["len"].to_numpy().max()), len(used)),
        "largest_file": share(int(used["used"].to_numpy().max()), total),
    }


def _in_class_folders(used: pl.DataFrame) -> float:
    """Return the share of the files in folders side by side, each with a few files of one kind."""
    folders = used.filter(pl.col("kind").is_not_null()).group_by("folder", "kind").len()
    folders = folders.filter(pl.col("len") >= _FEWEST_IN_FOLDER)
    above = folders.with_columns(above=pl.col("folder").str.extract(r"^(.*)/", 1))
    together = above.group_by("above", "kind").agg(pl.len().alias("folders"), pl.col("len").sum())
    return share(int(together.filter(pl.col("folders") > 1)["len"].sum()), len(used))


def kinds_of(clients: Iterable[str]) -> tuple[dict[str, float], float]:
    """Return the share of clients of each kind, by their names, and the share without a kind."""
    bits = program_bits(pl.Series(sorted(clients), dtype=pl.String)).to_list()
    counts = {kind: sum(each >> number & 1 for each in bits) for number, kind in enumerate(process_kinds())}
    return {kind: count / len(bits) for kind, count in counts.items() if count}, bits.count(0) / len(bits)
