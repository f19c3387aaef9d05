"""Encode rows as Parquet with NumPy alone, for processes in which Polars cannot run.

Polars hangs in a process that was forked after another thread had used it, as PyTorch forks the workers of a
DataLoader. This module starts no thread and needs no engine: `row_group` turns columns into bytes, and `parquet_file`
puts row groups between the magic number and a footer. The format: https://parquet.apache.org/docs/file-format/.

The footer and the page headers are Thrift structures in its compact protocol. Numbers in them are zigzag varints, which
is all that `_struct` knows beside texts, lists and further structures.

A column is either a dictionary of its distinct values with a number for each row, or plain numbers, and may lack some.
Codes have 8, 16 or 32 bits, so packing them is a change of type. Each page is compressed by Zstandard.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import zstandard

from tiering.arrays import AnyArray

_MAGIC: Final = b"PAR1"
#: Numbers of the format: types, converted types, encodings, the codec, kinds of pages.
_INT32, _INT64, _DOUBLE, _TEXT = 1, 2, 5, 6
_UTF8, _UINT64 = 0, 14
_REQUIRED, _OPTIONAL = 0, 1
_PLAIN, _RLE, _DICTIONARY, _SPLIT = 0, 3, 8, 9
_ZSTD: Final = 6
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2

#: The type and the converted type of a column by the type of its NumPy array.
_TYPES: Final = {
    np.dtype(np.int32): (_INT32, None),
    np.dtype(np.int64): (_INT64, None),
    np.dtype(np.uint64): (_INT64, _UINT64),
    np.dtype(np.float64): (_DOUBLE, None),
    np.dtype(object): (_TEXT, _UTF8),
}


@dataclass(frozen=True, slots=True)
class Column:
    """The values of a column in a row group.

    Attributes:
        values: The values of all rows, (n,); or the distinct ones, if there are codes. int32, int64, uint64, float64;
            or object for texts, which need codes.
        codes: (n,), the number of each row's value; None if `values` has one for each row.
        valid: bool (n,), whether each row has a value; None for a column that always has. All row groups of a file
            agree on which columns those are.
    """

    values: AnyArray
    codes: AnyArray | None = None
    valid: AnyArray | None = None


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Encoded rows.

    Attributes:
        rows: How many.
        data: The pages of all columns.
        chunks: For each column, where its pages begin and end in `data`, the bytes of its dictionary page, and its
            bytes before compression.
        columns: The type, the converted type, and whether rows may lack a value, by name.
    """

    rows: int
    data: bytes
    chunks: tuple[tuple[int, int, int, int], ...]
    columns: Mapping[str, tuple[int, int | None, bool]]


def row_group(columns: Mapping[str, Column], rows: int) -> RowGroup:
    """Encode some rows.

    Args:
        columns: The columns by name, in order.
        rows: How many rows each of them has.
    """
    compress = zstandard.ZstdCompressor(level=1).compress
    data, chunks = bytearray(), []
    for column in columns.values():
        begin, plain, dictionary, levels = len(data), 0, 0, b""
        values, codes = column.values, column.codes
        if (valid := column.valid) is not None:
            packed = np.packbits(valid, bitorder="little").tobytes()
            run = _varint(len(packed) << 1 | 1) + packed
            levels = struct.pack("<I", len(run)) + run
            if not valid.all():
                values, codes = (values[valid], None) if codes is None else (values, codes[valid])
        if codes is None:
            page, encoding = levels + _split(values), _SPLIT
        else:
            distinct = _plain(values)
            header = {1: _DICTIONARY_PAGE, 7: {1: len(values), 2: _PLAIN}}
            plain += _add_page(data, header, distinct, compress(distinct))
            dictionary, page, encoding = len(data) - begin, levels + _packed(codes), _DICTIONARY
        header = {1: _DATA_PAGE, 5: {1: rows, 2: encoding, 3: _RLE, 4: _RLE}}
        plain += _add_page(data, header, page, compress(page))
        chunks.append((begin, len(data), dictionary, plain))
    types = {name: (*_TYPES[each.values.dtype], each.valid is not None) for name, each in columns.items()}
    return RowGroup(rows, bytes(data), tuple(chunks), types)


def parquet_file(groups: Sequence[RowGroup], metadata: Mapping[str, str]) -> bytes:
    """Return a Parquet file.

    Args:
        groups: Row groups of the same columns, at least one.
        metadata: Texts for the file's end, by name.
    """
    begins = np.cumsum([len(_MAGIC), *(len(group.data) for group in groups)]).tolist()
    schema = [{4: "schema", 5: len(groups[0].columns)}]
    for name, (kind, converted, optional) in groups[0].columns.items():
        schema.append({1: kind, 3: _OPTIONAL if optional else _REQUIRED, 4: name, 6: converted})
    footer = _struct(
        {
            1: 1,
            2: schema,
            3: _Long(sum(group.rows for group in groups)),
            4: [_described(group, begin) for group, begin in zip(groups, begins, strict=False)],
            5: [{1: name, 2: value} for name, value in metadata.items()],
            6: "tiering",
        }
    )
    return b"".join([_MAGIC, *(group.data for group in groups), footer, struct.pack("<I", len(footer)), _MAGIC])


def _described(group: RowGroup, at: int) -> dict[int, Any]:
    """Return the footer's description of a row group that begins at a byte of the file."""
    chunks = []
    for (begin, end, dictionary, plain), (name, (kind, _, _)) in zip(group.chunks, group.columns.items(), strict=True):
        about = {
            1: kind, 2: [_PLAIN, _RLE, _DICTIONARY, _SPLIT], 3: [name], 4: _ZSTD, 5: _Long(group.rows),
            6: _Long(plain), 7: _Long(end - begin), 9: _Long(at + begin + dictionary),
            11: _Long(at + begin) if dictionary else None,
        }  # fmt: skip
        chunks.append({2: _Long(at + begin), 3: about})
    return {1: chunks, 2: _Long(sum(plain for *_, plain in group.chunks)), 3: _Long(group.rows)}


def _add_page(data: bytearray, header: dict[int, Any], page: bytes, compressed: bytes) -> int:
    """Append a page with its header. Return its bytes before compression, with the header."""
    told = _struct(header | {2: len(page), 3: len(compressed)})
    data += told + compressed
    return len(told) + len(page)


def _plain(values: AnyArray) -> bytes:
    if values.dtype != object:
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [text.encode("utf-8", "backslashreplace") for text in values]
    return b"".join([part for text in texts for part in (struct.pack("<I", len(text)), text)])


def _split(values: AnyArray) -> bytes:
    """Return numbers with all their first bytes together, then all second ones, and so on: most upper ones are 0."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(-1, little.itemsize).T.tobytes()


def _packed(codes: AnyArray) -> bytes:
    """Return codes as one bit-packed run: their width in bits, the number of eights, and the codes, padded with 0."""
    width = 8 if (most := int(codes.max(initial=0))) < 1 << 8 else 16 if most < 1 << 16 else 32
    padded = np.zeros(-(-len(codes) // 8) * 8, f"<u{width // 8}")
    padded[: len(codes)] = codes
    return bytes([width]) + _varint(len(padded) // 8 << 1 | 1) + padded.tobytes()


class _Long(int):
    """A number that the format stores with 64 bits."""


def _struct(fields: Mapping[int, Any]) -> bytes:
    """Encode a structure: its fields by number. One that is None is left out."""
    out, last = bytearray(), 0
    for number in sorted(fields):
        if (value := fields[number]) is not None:
            kind, encoded = _value(value)
            out += bytes([number - last << 4 | kind]) + encoded
            last = number
    return bytes(out) + b"\0"


def _value(value: Any) -> tuple[int, bytes]:
    """Return the type of a value, and its bytes."""
    if isinstance(value, int):
        return 6 if isinstance(value, _Long) else 5, _varint(value << 1)
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace")
        return 8, _varint(len(text)) + text
    if isinstance(value, Mapping):
        return 12, _struct(value)
    items = [_value(each) for each in value]
    kind = items[0][0] if items else 12
    head = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return 9, head + b"".join(encoded for _, encoded in items)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
