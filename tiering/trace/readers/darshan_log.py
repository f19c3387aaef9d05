"""Turn a Darshan log into events: `python -m tiering.trace.readers.darshan_log LOG EVENTS`, a process of `darshan`.

Source of the counters' meaning: docs.darshan.dev; Carns et al., "Understanding and Improving Computational Science
Storage Access through Continuous Characterization", ACM TOS 2011.

Modules are layers. Bytes moved by MPI-IO appear again as POSIX or DFS, and bytes moved by DFS as DAOS. For each file,
the lowest instrumented layer counts, except that DFS, which knows the names, precedes DAOS. The C library's own calls
beneath STDIO are not instrumented, so STDIO counts beside POSIX.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tiering.trace.events import EVENT_SCHEMA, UNPLACED
from tiering.trace.parquet_writer import GAPS, WHOLE
from tiering.units import format_number

_NO_STATUS = "Darshan does not log the exit status of a run, so the verdict on the whole run is a forecast."
#: Most events made from one file's counters. Beyond that, accesses are larger, with the same bytes.
_MOST = 100_000
#: B of one file in a job. A larger counter is damaged.
_WHOLE = 1 << 56
#: The share of a file's counted bytes that DXT must have seen for its accesses to count.
_SEEN = 0.5
#: MPI-IO's bytes of a file with such a name went through DFS.
_ON_DFS = ("daos:", "dfs:")


@dataclass(frozen=True, slots=True)
class _Module:
    """A module: its name, the prefix of its counters, and those that count opens, reads and writes."""

    name: str
    prefix: str
    opens: tuple[str, ...] = ("OPENS",)
    reads: tuple[str, ...] = ("READS",)
    writes: tuple[str, ...] = ("WRITES",)


_POSIX, _STDIO = _Module("POSIX", "POSIX"), _Module("STDIO", "STDIO")
_DFS = _Module("DFS", "DFS", reads=("READS", "READXS", "NB_READS"), writes=("WRITES", "WRITEXS", "NB_WRITES"))
_DAOS = _Module(
    "DAOS",
    "DAOS",
    ("OBJ_OPENS", "ARRAY_OPENS", "KV_OPENS"),
    ("OBJ_FETCHES", "ARRAY_READS", "KV_GETS"),
    ("OBJ_UPDATES", "ARRAY_WRITES", "KV_PUTS"),
)
_MPIIO = _Module(
    "MPI-IO",
    "MPIIO",
    ("INDEP_OPENS", "COLL_OPENS"),
    ("INDEP_READS", "COLL_READS", "SPLIT_READS", "NB_READS"),
    ("INDEP_WRITES", "COLL_WRITES", "SPLIT_WRITES", "NB_WRITES"),
)
_MODULES = (_POSIX, _STDIO, _DFS, _DAOS, _MPIIO)


def main(log: str, to: str) -> None:
    """Write the events of a log, and notes on it, in the form that captured.READER reads."""
    from darshan import DarshanReport  # type: ignore[import-untyped]  # noqa: PLC0415

    report = DarshanReport(log, read_all=False)
    for module in _MODULES:
        if module.name in report.modules:
            report.mod_read_all_records(module.name, dtype="pandas", warnings=False)
    for name in ("DXT_POSIX", "DXT_MPIIO"):
        if name in report.modules:
            report.mod_read_all_dxt_records(name, dtype="dict", warnings=False)
    events, notes = _events(report)
    partial = [name for name, module in report.modules.items() if module.get("partial_flag")]
    gaps = [f"Darshan ran out of memory for the records of {name} (its partial flag is set)" for name in partial]
    events.sort("time", maintain_order=True).write_parquet(
        to, metadata={"tiering.notes": "\n".join([*notes, _NO_STATUS]), WHOLE: "unknown", GAPS: "\n".join(gaps)}
    )


def _events(report: Any) -> tuple[pl.DataFrame, list[str]]:
    counted = {module.name: _counted(report, module) for module in _MODULES}
    dfs, posix = counted["DFS"], counted["POSIX"]
    mpiio = _without(counted["MPI-IO"], posix, dfs)
    if len(dfs):
        mpiio = mpiio.filter(~pl.any_horizontal(pl.col("path").str.starts_with(each) for each in _ON_DFS))
    mpiio, mpiio_seen = _best(mpiio, _without(_traced(report, "DXT_MPIIO"), posix, dfs))
    posix, posix_seen = _best(posix, _traced(report, "DXT_POSIX"))
    counted |= {"POSIX": posix, "MPI-IO": mpiio, "DAOS": _without(counted["DAOS"], dfs)}
    events = pl.concat(counted.values())
    moved = int(_moves(events)["size"].sum())
    seen = posix_seen + mpiio_seen
    if seen == moved:
        return events, []
    if not seen:
        return events, ["Darshan's counters have no order of accesses, so orders, epochs and runs are guesses."]
    share = f"{format_number(min(99.9, 100 * seen / moved))} % of the bytes that Darshan counted"
    return events, [f"Extended tracing saw {share}: of the files that it left out, the counters were used."]


def _moves(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.col("op").is_in(["read", "write"]))


def _without(events: pl.DataFrame, *others: pl.DataFrame) -> pl.DataFrame:
    """Drop the files whose bytes other modules count."""
    for other in others:
        events = events.join(_moves(other).select("file").unique(), on="file", how="anti", maintain_order="left")
    return events


def _best(counted: pl.DataFrame, traced: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Use each file's traced accesses if they cover most of it. Return them, and how many B they cover."""
    total, seen = (_moves(each).group_by("file").agg(pl.col("size").sum()) for each in (counted, traced))
    both = seen.join(total, on="file", how="left").filter(pl.col("size") >= _SEEN * pl.col("size_right").fill_null(0))
    known = traced.join(both.select("file"), on="file", how="semi", maintain_order="left")
    is_move = pl.col("op").is_in(["read", "write"])
    rest = counted.filter(~(is_move & pl.col("file").is_in(both["file"].implode())))
    return pl.concat([rest, known]), int(known["size"].sum())


def _name(report: Any, identity: int) -> str:
    # Some objects of DAOS belong to no file.
    return str(report.name_records.get(identity) or f"<record {identity}>")


def _counted(report: Any, module: _Module) -> pl.DataFrame:
    """Make events from a module's counters. A shared file has one record for all ranks, with rank -1."""
    parts = [pl.DataFrame(schema=EVENT_SCHEMA)]
    for record in report.records.get(module.name, []):
        columns = {name: record["counters"][name].to_numpy() for name in record["counters"].columns}
        columns |= {name: record["fcounters"][name].to_numpy() for name in record["fcounters"].columns}
        for number in range(len(record["counters"])):
            row = {name.removeprefix(f"{module.prefix}_"): column[number] for name, column in columns.items()}
            parts += _of_file(_name(report, int(row["id"])), row, module)
    return pl.concat(parts)


def _of_file(path: str, row: dict[str, Any], module: _Module) -> list[pl.DataFrame]:
    pid, parts = max(0, int(row["rank"])), []
    opens = sum(max(0, int(row[name])) for name in module.opens)
    if opens > 0:
        parts.append(_rows(path, pid, "open", np.full(min(opens, _MOST), float(row["F_OPEN_START_TIMESTAMP"]))))
    for op, past, calls in (("read", "READ", module.reads), ("write", "WRITTEN", module.writes)):
        call, size = ("READ", int(row["BYTES_READ"])) if op == "read" else ("WRITE", int(row["BYTES_WRITTEN"]))
        if 0 < size < _WHOLE:
            begin, end = (float(row[f"F_{call}_{edge}_TIMESTAMP"]) for edge in ("START", "END"))
            furthest = row.get(f"MAX_BYTE_{past}")
            span = None if furthest is None else int(furthest) + 1
            count = sum(max(0, int(row[name])) for name in calls)
            parts.append(_walk(path, pid, op, size, span, count, begin, end))
    return parts


def _walk(
    path: str, pid: int, op: str, size: int, span: int | None, calls: int, begin: float, end: float
) -> pl.DataFrame:
    """Spread bytes over that many calls, which walk through the first `span` bytes of a file repeatedly.

    span: None if the module does not count how far calls reached; then their positions are unknown.
    """
    count = int(min(max(calls, math.ceil(size / max(span or size, 1)), 1), _MOST))
    edges = np.linspace(0, size, count + 1).astype(np.int64)
    sizes = np.diff(edges)
    kept = sizes > 0
    times = np.linspace(begin, max(begin, end), count)[kept]
    if span is None:
        return _rows(path, pid, op, times, None, sizes[kept])
    whole = max(int(span), int(sizes.max()), 1)
    offsets = np.minimum(edges[:-1] % whole, whole - sizes)
    return _rows(path, pid, op, times, offsets[kept], sizes[kept])


def _traced(report: Any, module: str) -> pl.DataFrame:
    """Make events from the accesses recorded by extended tracing."""
    parts = [pl.DataFrame(schema=EVENT_SCHEMA)]
    for record in report.records.get(module, []):
        path, pid = _name(report, int(record["id"])), max(0, int(record["rank"]))
        for op in ("read", "write"):
            segments = record[f"{op}_segments"]
            if len(segments):
                columns = {
                    name: np.array([segment[name] for segment in segments])
                    for name in ("offset", "length", "start_time", "end_time")
                }
                took = columns["end_time"] - columns["start_time"]
                begins, sizes = columns["start_time"], columns["length"]
                parts.append(_rows(path, pid, op, begins, columns["offset"], sizes, took))
    return pl.concat(parts)


def _rows(
    path: str,
    pid: int,
    op: str,
    times: np.ndarray[Any, Any],
    offsets: np.ndarray[Any, Any] | None = None,
    sizes: np.ndarray[Any, Any] | None = None,
    took: np.ndarray[Any, Any] | None = None,
) -> pl.DataFrame:
    table = pl.DataFrame({"time": times.astype(np.float64)})
    unplaced = UNPLACED if op == "read" and offsets is None else None
    return table.with_columns(
        op=pl.lit(op),
        file=pl.lit(path).hash(),
        offset=pl.lit(None if offsets is None else pl.Series(offsets.astype(np.int64))),
        size=pl.lit(0 if sizes is None else pl.Series(sizes.astype(np.int64))),
        pid=pl.lit(pid),
        group=pl.lit(0),
        duration=pl.lit(None if took is None else pl.Series(took.astype(np.float64))),
        path=pl.lit(path),
        flags=pl.lit("rw" if op == "open" else unplaced),
    ).cast(EVENT_SCHEMA)


if __name__ == "__main__":
    main(*sys.argv[1:])
