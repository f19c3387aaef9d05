"""Binary traces of fixed records: vscsi (VMware) and oracleGeneral (libCacheSim).

Sources: VMware's vscsiStats trace records, versions 1 and 2, and oracleGeneral, as libCacheSim documents both
(Yang et al., github.com/1a1a11a/libCacheSim, doc/quickstart_cachesim.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.readers.base import Damage, Reader, record_blocks, shows
from tiering.trace.readers.opening import open_trace
from tiering.trace.readers.tables import SECTOR, in_order

#: No device is larger, and its number of B still fits in 64 bits.
_MOST_SECTORS = 1 << 52
_VSCSI_1 = np.dtype(
    [("sn", "<u4"), ("size", "<u4"), ("sg", "<u4"), ("cmd", "<u2"), ("ver", "<u2"), ("lbn", "<u8"), ("at", "<u8")]
)
_VSCSI_2 = np.dtype(
    [
        ("cmd", "<u2"),
        ("ver", "<u2"),
        ("sn", "<u4"),
        ("size", "<u4"),
        ("sg", "<u4"),
        ("lbn", "<u8"),
        ("at", "<u8"),
        ("took", "<u8"),
    ]
)
_ORACLE = np.dtype([("at", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])
#: SCSI commands READ and WRITE of 6, 10, 12 and 16 bytes (SBC-4).
_READS, _WRITES = (0x08, 0x28, 0xA8, 0x88), (0x0A, 0x2A, 0xAA, 0x8A)
_VERSION_MASK = 0xFF00
_HEAD = 1 << 16
#: No trace has more requests. Eight letters, read as a number, give more.
_MOST_REQUESTS = 1 << 48


def _vscsi_kind(head: bytes) -> np.dtype[np.void] | None:
    """Return the version in which all of the first records make sense."""
    for kind, version in ((_VSCSI_1, 0x0100), (_VSCSI_2, 0x0200)):
        records = np.frombuffer(head[: len(head) // kind.itemsize * kind.itemsize], kind)[:100]
        if (
            len(records)
            and ((records["ver"] & _VERSION_MASK) == version).all()
            and np.isin(records["cmd"], _READS + _WRITES).mean() > 0.5
        ):
            return kind
    return None


def _read_vscsi(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    with open_trace(path) as file:
        kind = _vscsi_kind(file.read(_HEAD)) or _VSCSI_1
    wanted = 0x0100 if kind is _VSCSI_1 else 0x0200
    seen = 0
    for block in record_blocks(path, damage, kind.itemsize):
        records = np.frombuffer(block, kind)
        sane = ((records["ver"] & _VERSION_MASK) == wanted) & (records["lbn"] < _MOST_SECTORS)
        for row in np.flatnonzero(~sane).tolist():
            found = f"version {records['ver'][row]:#06x}, sector {records['lbn'][row]}"
            damage.at(seen + row + 1, found, unit="record")
        seen += len(records)
        yield _vscsi_events(records[sane])


def _vscsi_events(records: NDArray[np.void]) -> pl.DataFrame:
    moves = records[np.isin(records["cmd"], _READS + _WRITES)]
    took = moves["took"] / 1e6 if "took" in (moves.dtype.names or ()) else None
    return _events(
        moves["at"] / 1e6,
        np.where(np.isin(moves["cmd"], _READS), "read", "write"),
        size=moves["size"],
        offset=moves["lbn"] * SECTOR,
        duration=took,
    )


def _sniff_oracle(head: bytes) -> bool:
    """Recognise the format by its records: times rise, sizes are positive, and the next use of an object is later."""
    records = np.frombuffer(head[: len(head) // _ORACLE.itemsize * _ORACLE.itemsize], _ORACLE)[:1000]
    if len(records) < 2 or int(records["at"][-1]) - int(records["at"][0]) > 1 << 30:
        return False
    following = records["next"]
    ahead = (following > np.arange(len(records))) & (following < _MOST_REQUESTS)
    ahead |= (following == -1) | (following == np.iinfo(np.int64).max)
    rising = (np.diff(records["at"].astype(np.int64)) >= 0).all()
    return bool(rising and ahead.all() and (records["size"] > 0).all())


def _read_oracle(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    for block in record_blocks(path, damage, _ORACLE.itemsize):
        records = np.frombuffer(block, _ORACLE)
        yield _events(
            records["at"].astype(np.float64), "access", size=records["size"], offset=0, file=records["object"]
        )


def _events(
    time: NDArray[np.float64], op: NDArray[Any] | str, *, size: NDArray[Any], offset: NDArray[Any] | int, **more: Any
) -> pl.DataFrame:
    """Make events of one process from columns. A scalar applies to all rows."""
    values = {"time": time, "op": op, "size": size, "offset": offset, "file": 0, "pid": 0, "group": 0, **more}
    columns = {}
    for name, kind in EVENT_SCHEMA.items():
        value = values.get(name)
        series = pl.Series(name, value) if isinstance(value, np.ndarray) else pl.repeat(value, len(time), eager=True)
        columns[name] = series.cast(kind)
    return in_order(pl.DataFrame(columns, schema=EVENT_SCHEMA))


VSCSI = Reader(
    "vscsi",
    "a vscsi block trace",
    "block",
    lambda head: _vscsi_kind(head) is not None,
    _read_vscsi,
    shows("times operations sizes offsets", partly="durations"),
)
ORACLE = Reader(
    "oracleGeneral", "an oracleGeneral cache trace", "object", _sniff_oracle, _read_oracle, shows("times sizes")
)
