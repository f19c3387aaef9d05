"""DFTracer's logs, .pfw and .pfw.gz, one per process: a JSON object per line (dftracer.readthedocs.io).

There are three dialects: file names within the events (`fname`, every value a string), names by a numeric hash, and
names by a hash that is a text. The last two announce a name in an "FH" line before they use it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.readers.base import Damage, Reader, byte_blocks, shows, spoken
from tiering.trace.readers.opening import for_polars

_BLOCK = 1 << 22
_ARGS = ("fname", "fhash", "ret", "offset", "count", "size", "length", "mode", "flags", "whence", "name", "value", "fd")
_LINE = pl.Schema(
    {
        "name": pl.String(),
        "cat": pl.String(),
        "pid": pl.String(),
        "ts": pl.String(),
        "dur": pl.String(),
        "ph": pl.String(),
        "args": pl.Struct(dict.fromkeys(_ARGS, pl.String())),
    }
)
#: Calls by their names, without prefixes and suffixes of the C library.
_OPS = {
    **dict.fromkeys(("open", "openat", "creat", "fopen", "fdopen"), "open"),
    **dict.fromkeys(("close", "fclose"), "close"),
    **dict.fromkeys(("read", "pread", "readv", "preadv", "fread"), "read"),
    **dict.fromkeys(("write", "pwrite", "writev", "pwritev", "fwrite"), "write"),
    "mmap": "mmap",
    **dict.fromkeys(("fsync", "fdatasync"), "sync"),
    **dict.fromkeys(("unlink", "unlinkat", "remove"), "unlink"),
    **dict.fromkeys(("rename", "renameat"), "rename"),
    **dict.fromkeys(("truncate", "ftruncate"), "truncate"),
    **dict.fromkeys(("stat", "lstat", "fstat", "xstat", "lxstat", "fxstat", "fxstatat"), "stat"),
    **dict.fromkeys(("lseek", "fseek", "fseeko"), "seek"),
}
#: The phase of a complete call, in Chrome's trace format and as DFTracer 2.2 numbers it.
_COMPLETE = ("X", "1")
_NO_STATUS = "DFTracer does not log the exit status of a run, so the verdict on the whole run is a forecast."
_EXPLICIT = ("pread", "pwrite", "preadv", "pwritev")
_FIRST = re.compile(rb"\s*+\[?\s*+\{\s*+\"(?:id|name)\"\s*:")


def sniff(head: bytes) -> bool:
    """Return whether the text is a log of DFTracer: an array of objects, one per line, with ids or names first."""
    return bool(_FIRST.match(head)) and b'"cat"' in head and b'"ph"' in head


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a log into batches of events, in order of time within a batch. Failed calls are no events.

    If the log has no offsets, they follow from the calls on a descriptor. All processes of a job are one group. Raises
    TraceError for a line that cannot be parsed, or counts and skips it if damage.lenient.
    """
    names = pl.DataFrame(schema={"fhash": pl.String, "path": pl.String})
    positions: dict[tuple[str, str], int] = {}
    ended = False
    for number, block in byte_blocks(path, damage, _BLOCK):
        lines = _parsed(block, number, damage)
        if lines is None:
            continue
        announced = lines.filter(pl.col("name") == "FH").select(fhash="value", path="arg_name")
        names = pl.concat([names, announced]).unique("fhash", keep="last", maintain_order=True)
        ended |= bool((lines["name"] == "end").any())
        calls = lines.filter(pl.col("cat").is_in(["POSIX", "STDIO"]), pl.col("ph").is_in(_COMPLETE))
        if len(calls):
            yield _events(calls, names, positions)
    if ended:
        damage.notes.append(_NO_STATUS)
    else:
        damage.gaps.append("the log does not show that it ended")


def _parsed(block: bytes, number: int, damage: Damage) -> pl.DataFrame | None:
    """Parse a block of lines into columns of text, without the brackets of the array and commas."""
    kept = [
        (at, line.strip().removeprefix(b"[").rstrip(b",").removesuffix(b"]").rstrip(b","))
        for at, line in enumerate(block.split(b"\n"), number)
    ]
    kept = [(at, line) for at, line in kept if line]
    if not kept:
        return None
    try:
        table = pl.read_ndjson(for_polars(b"\n".join(line for _, line in kept)), schema=_LINE)
        complete = len(table) == len(kept)
    except pl.exceptions.PolarsError:
        complete = False
    if not complete:
        table = _one_by_one(kept, damage)
    return table.with_columns(pl.col("args").struct.rename_fields([*_ARGS[:-3], "arg_name", *_ARGS[-2:]])).unnest(
        "args"
    )


def _one_by_one(kept: list[tuple[int, bytes]], damage: Damage) -> pl.DataFrame:
    """Parse lines one by one, to report the damaged one and keep the others."""
    rows = []
    for at, line in kept:
        try:
            found = json.loads(line)
            args = found.get("args") if isinstance(found, dict) else None
            if not isinstance(found, dict) or not isinstance(args or {}, dict):
                raise TypeError("no object with args")  # noqa: TRY301
            rows.append(
                {name: _text(found.get(name)) for name in _LINE if name != "args"}
                | {"args": {name: _text((args or {}).get(name)) for name in _ARGS}}
            )
        except (ValueError, TypeError, RecursionError):
            shown = line.decode("latin-1")
            damage.at(at, repr(shown if len(shown) <= 80 else f"{shown[:60]}...{shown[-17:]}"))
    return pl.DataFrame(rows, schema=_LINE)


def _text(value: object) -> str | None:
    return None if value is None or isinstance(value, dict | list) else spoken(str(value))


def _events(calls: pl.DataFrame, names: pl.DataFrame, positions: dict[tuple[str, str], int]) -> pl.DataFrame:
    plain = pl.col("name").str.replace("^_+", "").str.replace("64$", "")
    number = {each: pl.col(each).cast(pl.Int64, strict=False) for each in ("ret", "offset", "count", "size", "length")}
    table = calls.join(names, on="fhash", how="left", maintain_order="left").with_columns(
        **number,
        call=plain,
        op=plain.replace_strict(_OPS, default=None, return_dtype=pl.String),
        path=pl.coalesce("fname", "path", pl.format("<hash {}>", "fhash")),
    )
    moves = pl.col("op").is_in(["read", "write"])
    # fread and fwrite return items, not bytes.
    moved = pl.col("ret") * pl.when(pl.col("cat") == "STDIO").then(pl.col("size").fill_null(1)).otherwise(1)
    table = table.filter(pl.col("op").is_not_null(), pl.col("ret").fill_null(0) >= 0).with_columns(
        moved=pl.when(moves).then(moved.fill_null(0)).when(pl.col("op") == "mmap").then("length").otherwise(0),
        position=pl.when(pl.col("call").is_in(_EXPLICIT) | (pl.col("op") == "mmap")).then("offset"),
    )
    table = _placed(table, positions)
    known = table.filter(pl.col("op") != "seek", pl.col("path").is_not_null())
    return (
        known.select(
            time=pl.col("ts").cast(pl.Float64, strict=False).fill_null(0.0) / 1e6,
            op=pl.col("op"),
            file=pl.col("path").hash(),
            offset=pl.when(pl.col("op").is_in(["read", "write", "mmap"])).then("position"),
            size=pl.col("moved").fill_null(0),
            pid=pl.col("pid").cast(pl.Int32, strict=False).fill_null(0),
            group=pl.lit(0),
            duration=pl.col("dur").cast(pl.Float64, strict=False) / 1e6,
            path=pl.col("path"),
            flags=pl.when(pl.col("op") == "open").then(_mode()).when(pl.col("op") == "mmap").then(pl.lit("r")),
        )
        .cast(EVENT_SCHEMA)
        .sort("time", maintain_order=True)
    )


def _mode() -> pl.Expr:
    """Return how a file was opened: from the mode of fopen, or the two lowest bits of open's flags."""
    bits = pl.col("flags").cast(pl.Int64, strict=False).fill_null(0) & 3
    by_flags = bits.replace_strict({0: "r", 1: "w"}, default="rw", return_dtype=pl.String)
    mode = pl.col("mode")
    by_mode = pl.when(mode.str.contains("+", literal=True)).then(pl.lit("rw")).when(mode.str.contains("r"))
    return pl.when(pl.col("cat") == "STDIO").then(by_mode.then(pl.lit("r")).otherwise(pl.lit("w"))).otherwise(by_flags)


def _placed(table: pl.DataFrame, positions: dict[tuple[str, str], int]) -> pl.DataFrame:
    """Give reads and writes without an offset the one implied by earlier calls on the same file.

    positions: (pid, path) to position, carried from batch to batch. An open starts at 0, a seek with a result sets the
    position, and reads and writes advance it.
    """
    sets = (
        pl.when(pl.col("op") == "open").then(0).when((pl.col("op") == "seek") & (pl.col("cat") == "POSIX")).then("ret")
    )
    walks = pl.col("op").is_in(["read", "write"]) & pl.col("position").is_null()
    keys = ["pid", "path"]
    carried = pl.DataFrame(
        {"pid": [key[0] for key in positions], "path": [key[1] for key in positions], "base": list(positions.values())},
        schema={"pid": pl.String, "path": pl.String, "base": pl.Int64},
    )
    table = table.join(carried, on=keys, how="left", maintain_order="left").with_columns(
        sets=sets, walked=pl.when(walks).then("moved").otherwise(0)
    )
    table = table.with_columns(stretch=pl.col("sets").is_not_null().cum_sum().over(keys))
    table = table.with_columns(
        start=pl.coalesce(pl.col("sets").first().over(*keys, "stretch"), "base", 0)
        + pl.col("walked").cum_sum().over(*keys, "stretch")
        - pl.col("walked")
    )
    last = table.filter(pl.col("path").is_not_null()).unique(keys, keep="last", maintain_order=True)
    for pid, path, op, start, walked in last.select(*keys, "op", "start", "walked").iter_rows():
        if op == "close":
            positions.pop((pid, path), None)
        else:
            positions[pid, path] = start + walked
    return table.with_columns(position=pl.when(walks).then("start").otherwise("position"))


READER = Reader(
    "dftracer",
    "a DFTracer log (.pfw)",
    "file",
    sniff,
    read,
    shows("times durations operations sizes offsets names processes opens closes"),
)
