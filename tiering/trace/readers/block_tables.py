"""Block traces published as tables: MSR Cambridge, Alibaba, Tencent, SPC, and ASCII inputs of simulators.

Sources of the layouts: MSR Cambridge traces (Narayanan et al., FAST 2008; README of SNIA IOTTA 388), Alibaba block
traces (Li et al., IISWC 2020), Tencent CBS (Zhang et al., ATC 2020; SNIA IOTTA 27917), SPC-1 trace file format 1.0.1
(Storage Performance Council, 2002; used by the UMass repository), MQSim's manual (Tavakkol et al., FAST 2018), DiskSim
4.0 reference manual, section 5.1 ("ascii").
"""

from __future__ import annotations

import re

import polars as pl

from tiering.trace.readers.base import shows
from tiering.trace.readers.tables import SECTOR, Layout, Shape, like, operation, reader_of

_INT, _FLOAT, _TEXT = pl.Int64(), pl.Float64(), pl.String()
#: Units of 100 ns from 1601, the start of Windows' clock, to 1970.
_WINDOWS_EPOCH = 116_444_736_000_000_000


def _volume(*columns: str) -> dict[str, pl.Expr]:
    """Return the name and the identity of the device that columns identify."""
    path = pl.format(f"volume {'.'.join(['{}'] * len(columns))}", *columns)
    return {"path": path, "file": pl.struct(columns).hash()}


_MSR_HEADER = re.compile(r"timestamp,hostname,disknumber,type,offset,size", re.IGNORECASE)
_ALIBABA_HEADER = re.compile(r"device_id,opcode,offset,length,timestamp", re.IGNORECASE)
_TENCENT_HEADER = re.compile(r"timestamp,offset,size,iotype,volumeid", re.IGNORECASE)
_MSR = re.compile(r"\d{17,18},[^,]*,\d+,(?:Read|Write),\d+,\d+,\d+\s*$")
_ALIBABA = re.compile(r"\d+,[RW],\d+,\d+,\d{10,17}\s*$")
_TENCENT = re.compile(r"\d{9,11},\d+,\d+,[01],\d+\s*$")
_SPC = re.compile(r"\d+,\d+,\d+,[rRwW],\d+(?:\.\d+)?(?:,.*)?\s*$")
_NS_ASCII = re.compile(r"\d+[ \t]\d+[ \t]\d+[ \t]\d+[ \t][01]\s*$")
_MS_ASCII = re.compile(r"\d+\.\d+[ \t]\d+[ \t]\d+[ \t]\d+[ \t]\d+\s*$")

MSR = Layout(
    "msr",
    "an MSR Cambridge block trace",
    "block",
    lambda head: like(_MSR.match, head, header=_MSR_HEADER.match),
    Shape(
        ",",
        {"at": _INT, "host": _TEXT, "disk": _INT, "type": _TEXT, "offset": _INT, "size": _INT, "took": _INT},
        _MSR_HEADER.match,
    ),
    {
        "time": (pl.col("at") - _WINDOWS_EPOCH) / 1e7,
        "op": operation(pl.col("type"), "Read", "Write"),
        "offset": pl.col("offset"),
        "size": pl.col("size"),
        "duration": pl.col("took") / 1e7,
        **_volume("host", "disk"),
    },
    shows("times durations operations sizes offsets names"),
    _MSR.match,
)
ALIBABA = Layout(
    "alibaba",
    "an Alibaba block trace",
    "block",
    lambda head: like(_ALIBABA.match, head, header=_ALIBABA_HEADER.match),
    Shape(",", {"volume": _INT, "type": _TEXT, "offset": _INT, "size": _INT, "at": _INT}, _ALIBABA_HEADER.match),
    {
        "time": pl.col("at") / 1e6,
        "op": operation(pl.col("type"), "R", "W"),
        "offset": pl.col("offset"),
        "size": pl.col("size"),
        **_volume("volume"),
    },
    shows("times operations sizes offsets names"),
    _ALIBABA.match,
)
TENCENT = Layout(
    "tencent",
    "a Tencent CBS block trace",
    "block",
    lambda head: like(_TENCENT.match, head, header=_TENCENT_HEADER.match),
    Shape(",", {"at": _INT, "sector": _INT, "sectors": _INT, "type": _INT, "volume": _INT}, _TENCENT_HEADER.match),
    {
        "time": pl.col("at"),
        "op": operation(pl.col("type"), 0, 1),
        "offset": pl.col("sector") * SECTOR,
        "size": pl.col("sectors") * SECTOR,
        **_volume("volume"),
    },
    shows("times operations sizes offsets names"),
    _TENCENT.match,
)
SPC = Layout(
    "spc",
    "an SPC (UMass) block trace",
    "block",
    lambda head: like(_SPC.match, head),
    Shape(",", {"unit": _INT, "sector": _INT, "size": _INT, "type": _TEXT, "at": _FLOAT}),
    {
        "time": pl.col("at"),
        "op": operation(pl.col("type").str.to_lowercase(), "r", "w"),
        "offset": pl.col("sector") * SECTOR,
        "size": pl.col("size"),
        **_volume("unit"),
    },
    shows("times operations sizes offsets names"),
    _SPC.match,
)
MQSIM = Layout(
    "mqsim",
    "an MQSim or SSDsim ASCII trace",
    "block",
    lambda head: like(_NS_ASCII.match, head),
    Shape(" ", {"at": _INT, "device": _INT, "sector": _INT, "sectors": _INT, "type": _INT}),
    {
        "time": pl.col("at") / 1e9,
        "op": operation(pl.col("type"), 1, 0),
        "offset": pl.col("sector") * SECTOR,
        "size": pl.col("sectors") * SECTOR,
        **_volume("device"),
    },
    shows("times operations sizes offsets names"),
    _NS_ASCII.match,
)
DISKSIM = Layout(
    "disksim",
    "a DiskSim ASCII trace",
    "block",
    lambda head: like(_MS_ASCII.match, head),
    Shape(" ", {"at": _FLOAT, "device": _INT, "sector": _INT, "sectors": _INT, "flags": _INT}),
    {
        "time": pl.col("at") / 1e3,
        "op": pl.when(pl.col("flags").is_null())
        .then(None)
        .when(pl.col("flags") % 2 == 1)
        .then(pl.lit("read"))
        .otherwise(pl.lit("write")),
        "offset": pl.col("sector") * SECTOR,
        "size": pl.col("sectors") * SECTOR,
        **_volume("device"),
    },
    shows("times operations sizes offsets names"),
    _MS_ASCII.match,
)

READERS = tuple(map(reader_of, (MSR, ALIBABA, TENCENT, SPC, MQSIM, DISKSIM)))
