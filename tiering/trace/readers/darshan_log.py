"""Turn a Darshan log into events: `python -m tiering.trace.readers.darshan_log LOG EVENTS`, for `darshan` beside it.

Source of the counters' meaning: docs.darshan.dev; Carns et al., "Understanding and Improving Computational Science
Storage Access through Continuous Characterization", ACM TOS 2011.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import polars as pl

from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.parquet import GAPS, WHOLE

_NO_STATUS = "Darshan does not log with which status a run ends: what is said of the whole run is a forecast."
#: Events made of one file's counters at most; the bytes are the same, in larger accesses.
_MOST = 100_000
#: B of one file in a job; more is a damaged counter.
_WHOLE = 1 << 56
#: Share of the counters' bytes that DXT must have seen to be believed.
_SEEN = 0.5


def main(log: str, to: str) -> None:
    """Write the events of a log, and notes on it, as captured.READER reads them."""
    from darshan import DarshanReport  # type: ignore[import-untyped]  # noqa: PLC0415

    report = DarshanReport(log, read_all=False)
    for module in ("POSIX", "STDIO"):
        if module in report.modules:
            report.mod_read_all_records(module, dtype="pandas", warnings=False)
    if "DXT_POSIX" in report.modules:
        report.mod_read_all_dxt_records("DXT_POSIX", dtype="dict", warnings=False)
    events, notes = _events(report)
    partial = [name for name, module in report.modules.items() if module.get("partial_flag")]
    gaps = [f"Darshan ran out of room for the records of {name} (its partial flag is set)" for name in partial]
    events.sort("time", maintain_order=True).write_parquet(
        to, metadata={"tiering.notes": "\n".join([*notes, _NO_STATUS]), WHOLE: "unknown", GAPS: "\n".join(gaps)}
    )


def _events(report: Any) -> tuple[pl.DataFrame, list[str]]:
    counters = pl.concat([_counted(report, module) for module in ("POSIX", "STDIO")])
    traced = _traced(report, "DXT_POSIX")
    moved = pl.col("op").is_in(["read", "write"])
    whole, seen = int(counters.filter(moved)["size"].sum()), int(traced["size"].sum())
    if seen and seen >= _SEEN * whole:
        return pl.concat([counters.filter(~moved), traced]), []
    if seen:
        share = f"{100 * seen / whole:.2g} % of the bytes that Darshan counted"
        return counters, [f"Extended tracing saw {share}: it left the data files out, so the counters were used."]
    return counters, ["Darshan's counters tell no order of accesses: orders, epochs and runs are guesses."]


def _name(report: Any, identity: int) -> str:
    return str(report.name_records.get(identity, f"<record {identity}>"))


def _counted(report: Any, module: str) -> pl.DataFrame:
    """Make events of a module's counters."""
    parts = [pl.DataFrame(schema=EVENT_SCHEMA)]
    for record in report.records.get(module, []):
        table, times = record["counters"], record["fcounters"]
        for place in range(len(table)):
            row, when = table.iloc[place], times.iloc[place]
            path, pid = _name(report, int(table["id"].iloc[place])), max(0, int(row["rank"]))
            opens = int(row[f"{module}_OPENS"])
            if opens > 0:
                at = float(when[f"{module}_F_OPEN_START_TIMESTAMP"])
                parts.append(_rows(path, pid, "open", np.full(min(opens, _MOST), at)))
            for op, past in (("read", "READ"), ("write", "WRITTEN")):
                call = "READ" if op == "read" else "WRITE"
                size = int(row[f"{module}_BYTES_{past}"])
                if 0 < size < _WHOLE:
                    begin, end = (float(when[f"{module}_F_{call}_{edge}_TIMESTAMP"]) for edge in ("START", "END"))
                    span = int(row[f"{module}_MAX_BYTE_{past}"]) + 1
                    parts.append(_walk(path, pid, op, size, span, int(row[f"{module}_{call}S"]), begin, end))
    return pl.concat(parts)


def _walk(path: str, pid: int, op: str, size: int, span: int, calls: int, begin: float, end: float) -> pl.DataFrame:
    """Spread bytes over so many calls that walk through the first `span` bytes of a file, over and over."""
    count = int(min(max(calls, math.ceil(size / max(span, 1)), 1), _MOST))
    edges = np.linspace(0, size, count + 1).astype(np.int64)
    sizes = np.diff(edges)
    room = max(int(span), int(sizes.max()), 1)
    offsets = np.minimum(edges[:-1] % room, room - sizes)
    times = np.linspace(begin, max(begin, end), count)
    kept = sizes > 0
    return _rows(path, pid, op, times[kept], offsets[kept], sizes[kept])


def _traced(report: Any, module: str) -> pl.DataFrame:
    """Make events of the accesses that extended tracing recorded."""
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
    return table.with_columns(
        op=pl.lit(op),
        file=pl.lit(path).hash(),
        offset=pl.lit(None if offsets is None else pl.Series(offsets.astype(np.int64))),
        size=pl.lit(0 if sizes is None else pl.Series(sizes.astype(np.int64))),
        pid=pl.lit(pid),
        group=pl.lit(0),
        duration=pl.lit(None if took is None else pl.Series(took.astype(np.float64))),
        path=pl.lit(path),
        flags=pl.lit("rw" if op == "open" else None),
    ).cast(EVENT_SCHEMA)


if __name__ == "__main__":
    main(*sys.argv[1:])
