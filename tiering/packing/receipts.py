"""Receipts: the contents of a packed shard, written when the shard is complete. A killed conversion resumes from them.

A receipt may be part of a store from an untrusted source. So only files that write_receipt could have written are
accepted: an archive of uncompressed columns whose lengths agree, for the shard whose number is in the receipt's name.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tiering.errors import StoreError
from tiering.sources.left_out import ERRORS
from tiering.storage.json_text import parse_json
from tiering.storage.location import Location
from tiering.store.index import index_columns
from tiering.store.layout import shard_names
from tiering.store.manifest import Shard
from tiering.store.schema import Column, wrong_fields
from tiering.store.schema import Field as SampleField

#: The largest receipt in bytes: about 80 per sample, and the largest shard has four million samples.
LARGEST: Final = 1 << 30

_NAME: Final = re.compile("([0-9]{5}|[1-9][0-9]{5,8})[.]npz")
_ABOUT: Final = "about"
_MAGIC: Final = b"\x93NUMPY\x01\x00"
_HEADER: Final = re.compile(
    rb"\{'descr': '([<|][uif][1248])', 'fortran_order': False, 'shape': \(([0-9]{1,18}),\), \} *\n"
)


class BadImage(NamedTuple):
    """An image that could not be packed: its kind, see tiering.sources.left_out, its bytes, and why."""

    key: bytes
    kind: str
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A packed shard.

    plan: digest of the conversion's plan. shard: the entry for the manifest. columns: the shard's part of the index,
    where key_end counts from the first key of the shard. bad: the images that could not be packed. fields: the schema
    of the shard's samples, with the shard's own files.
    """

    plan: str
    shard: Shard
    columns: dict[str, npt.NDArray[Any]]
    bad: list[BadImage]
    fields: list[SampleField] = field(default_factory=list)


def receipt_location(work: Location, number: int) -> Location:
    """Return the location of a shard's receipt."""
    return work / f"{number:05d}.npz"


def write_receipt(location: Location, receipt: Receipt) -> None:
    """Write a receipt atomically, and sync it."""
    about = {
        "plan": receipt.plan,
        "shard": receipt.shard.model_dump(),
        "bad": [bad._asdict() | {"key": bad.key.hex()} for bad in receipt.bad],
        "fields": [each.model_dump() for each in receipt.fields],
    }
    packed = io.BytesIO()
    vectors = (name for name, column in index_columns(receipt.fields).items() if column.shape)
    flat = receipt.columns | {name: receipt.columns[name].reshape(-1) for name in vectors}
    arrays = flat | {"about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
    np.savez(packed, **arrays)  # type: ignore[arg-type]
    location.write(packed.getvalue())


def receipt_number(name: str) -> int | None:
    """Return the number of the shard that a receipt with this name describes; None for any other file."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def read_receipt(location: Location, expected: str | None = None) -> Receipt | None:
    """Read a receipt. Returns None if there is none, or if it is damaged.

    expected: the shard's name, if the kind of the store is known; by default any name that a shard with this number can
    have. A returned receipt names no other file, and its columns have one row per sample of the shard.
    """
    number = receipt_number(location.name)
    if number is None:
        return None
    try:
        about, arrays = _parsed(location.read(most=LARGEST))
        bad = [BadImage(bytes.fromhex(each.key), each.kind, each.size, each.reason) for each in about.bad]
    except (FileNotFoundError, StoreError, ValueError, ValidationError):
        return None
    if about.shard.name not in ((expected,) if expected else shard_names(number)):
        return None
    return Receipt(about.plan, about.shard, arrays, bad, about.fields) if _agree(arrays, about.shard) else None


class _BadEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    kind: str
    size: Annotated[int, Field(ge=0, le=1 << 53)]
    reason: str

    @field_validator("kind")
    @classmethod
    def _of_an_image(cls, kind: str) -> str:
        if kind not in ERRORS:
            raise ValueError(f"no image fails as {kind!r}")
        return kind


class _About(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: str
    shard: Shard
    bad: list[_BadEntry]
    fields: list[SampleField] = []


def _parsed(data: bytes) -> tuple[_About, dict[str, npt.NDArray[Any]]]:
    """Return what a receipt says, and its columns. Raises ValueError for anything that write_receipt cannot write.

    NumPy's own reader is not used, because it allocates as much as a header claims, and decompresses members.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            members = packed.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
                raise ValueError("compressed or encrypted members")
            if sum(member.file_size for member in members) > len(data):
                raise ValueError("members that overlap")
            said = _array(packed.read(f"{_ABOUT}.npy"), Column("|u1"))
            about = _About.model_validate(parse_json(said.tobytes()), strict=True)
            for wrong in wrong_fields(about.fields, 1):
                raise ValueError(wrong)
            wanted = index_columns(about.fields)
            names = [*wanted, _ABOUT]
            if sorted(member.filename for member in members) != sorted(f"{name}.npy" for name in names):
                raise ValueError("members that a receipt does not have")
            return about, {name: _array(packed.read(f"{name}.npy"), column) for name, column in wanted.items()}
    except (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, OSError, RuntimeError) as error:
        raise ValueError(str(error)) from error


def _array(data: bytes, column: Column) -> npt.NDArray[Any]:
    """Read a column, which was written with one dimension (numpy.lib.format, version 1.0)."""
    dtype = np.dtype(column.dtype)
    length = int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + 2], "little")
    begin = len(_MAGIC) + 2 + length
    header = _HEADER.fullmatch(data[len(_MAGIC) + 2 : begin])
    if not data.startswith(_MAGIC) or header is None or header[1].decode() != dtype.str:
        raise ValueError(f"not a column of {dtype}")
    if int(header[2]) * dtype.itemsize != len(data) - begin:
        raise ValueError(f"{int(header[2]):,} rows in {len(data) - begin:,} bytes")
    found = np.frombuffer(data, dtype=dtype, offset=begin)
    if not column.shape:
        return found
    row = math.prod(column.shape)
    if row and len(found) % row:
        raise ValueError(f"{len(found):,} numbers in vectors of {row:,}")
    return found.reshape(len(found) // row if row else 0, *column.shape)


def _agree(columns: dict[str, npt.NDArray[Any]], shard: Shard) -> bool:
    """Return whether the columns can describe a shard: their lengths agree, and offsets and sizes are possible."""
    if any(len(column) != shard.samples for name, column in columns.items() if name != "key"):
        return False
    ends, size = columns["key_end"], columns["size"]
    if not shard.samples:
        return not len(columns["key"])
    return bool(
        ends[-1] == len(columns["key"])
        and ends[0] >= 0
        and (np.diff(ends) >= 0).all()
        and (size >= 0).all()
        and (size <= np.iinfo(np.int64).max // shard.samples).all()
        and (columns["offset"] >= 0).all()
        and (columns["label"] >= -1).all()
        and (columns["split"] >= -1).all()
    )
