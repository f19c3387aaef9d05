"""Block traces published as tables: MSR Cambridge, Alibaba, Tencent, SPC, and ASCII inputs of simulators.

Sources of the layouts: MSR Cambridge traces (Narayanan et al., FAST 2008; README of SNIA IOTTA 388), Alibaba block
traces (Li et al., IISWC 2020), Tencent CBS (Zhang et al., ATC 2020; SNIA IOTTA 27917), SPC-1 trace file format 1.0.1
(Storage Performance Council, 2002; used by the UMass repository), MQSim's manual (Tavakkol et al., FAST 2018), DiskSim
4.0 reference manual, section 5.1 ("ascii").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from tiering.trace.readers.base import Reader, shows
from tiering.trace.readers.tables import SECTOR, Layout, Shape, like, operation, reader_of

_INT, _FLOAT, _TEXT = pl.Int64(), pl.Float64(), pl.String()
#: Units of 100 ns from 1601, the start of Windows' clock, to 1970.
_WINDOWS_EPOCH = 116_444_736_000_000_000
_SECTORS = {"offset": pl.col("sector") * SECTOR, "size": pl.col("sectors") * SECTOR}


def _volume(*columns: str) -> dict[str, pl.Expr]:
    """Return the name and the identity of the device that columns identify."""
    path = pl.format(f"volume {'.'.join(['{}'] * len(columns))}", *columns)
    return {"path": path, "file": pl.struct(columns).hash()}


def _reader(
    name: str,
    describes: str,
    line: str,
    columns: Mapping[str, pl.DataType],
    events: Mapping[str, pl.Expr],
    *,
    separator: str = ",",
    header: str | None = None,
) -> Reader:
    """Return the reader of a table.

    line, header: patterns. events: as in Layout; without offset and size where the columns of these names hold bytes.
    """
    is_line = re.compile(line).match
    is_header = re.compile(header, re.IGNORECASE).match if header is not None else None
    shown = "times operations sizes offsets names" + (" durations" if "duration" in events else "")
    return reader_of(
        Layout(
            name,
            describes,
            "block",
            lambda head: like(is_line, head, header=is_header),
            Shape(separator, columns, is_header),
            {"offset": pl.col("offset"), "size": pl.col("size"), **events},
            shows(shown),
            is_line,
        )
    )


READERS = (
    _reader(
        "msr",
        "an MSR Cambridge block trace",
        r"\d{17,18},[^,]*,\d+,(?:Read|Write),\d+,\d+,\d+\s*$",
        {"at": _INT, "host": _TEXT, "disk": _INT, "type": _TEXT, "offset": _INT, "size": _INT, "took": _INT},
        {
            "time": (pl.col("at") - _WINDOWS_EPOCH) / 1e7,
            "op": operation(pl.col("type"), "Read", "Write"),
            "duration": pl.col("took") / 1e7,
            **_volume("host", "disk"),
        },
        header="timestamp,hostname,disknumber,type,offset,size",
    ),
    _reader(
        "alibaba",
        "an Alibaba block trace",
        r"\d+,[RW],\d+,\d+,\d{10,17}\s*$",
        {"volume": _INT, "type": _TEXT, "offset": _INT, "size": _INT, "at": _INT},
        {"time": pl.col("at") / 1e6, "op": operation(pl.col("type"), "R", "W"), **_volume("volume")},
        header="device_id,opcode,offset,length,timestamp",
    ),
    _reader(
        "tencent",
        "a Tencent CBS block trace",
        r"\d{9,11},\d+,\d+,[01],\d+\s*$",
        {"at": _INT, "sector": _INT, "sectors": _INT, "type": _INT, "volume": _INT},
        {"time": pl.col("at"), "op": operation(pl.col("type"), 0, 1), **_SECTORS, **_volume("volume")},
        header="timestamp,offset,size,iotype,volumeid",
    ),
    _reader(
        "spc",
        "an SPC (UMass) block trace",
        r"\d+,\d+,\d+,[rRwW],\d+(?:\.\d+)?(?:,.*)?\s*$",
        {"unit": _INT, "sector": _INT, "size": _INT, "type": _TEXT, "at": _FLOAT},
        {
            "time": pl.col("at"),
            "op": operation(pl.col("type").str.to_lowercase(), "r", "w"),
            "offset": _SECTORS["offset"],
            **_volume("unit"),
        },
    ),
    _reader(
        "mqsim",
        "an MQSim or SSDsim ASCII trace",
        r"\d+[ \t]\d+[ \t]\d+[ \t]\d+[ \t][01]\s*$",
        {"at": _INT, "device": _INT, "sector": _INT, "sectors": _INT, "type": _INT},
        {"time": pl.col("at") / 1e9, "op": operation(pl.col("type"), 1, 0), **_SECTORS, **_volume("device")},
        separator=" ",
    ),
    _reader(
        "disksim",
        "a DiskSim ASCII trace",
        r"\d+\.\d+[ \t]\d+[ \t]\d+[ \t]\d+[ \t]\d+\s*$",
        {"at": _FLOAT, "device": _INT, "sector": _INT, "sectors": _INT, "flags": _INT},
        {"time": pl.col("at") / 1e3, "op": operation(pl.col("flags") % 2, 1, 0), **_SECTORS, **_volume("device")},
        separator=" ",
    ),
)
