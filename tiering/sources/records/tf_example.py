"""Parses tf.Example, the protocol buffer in TFRecord files.

An Example is a map from names to features; a feature is a list of bytes, of float32 or of int64. In the wire format,
each member is a varint of its number and type, and then a varint, four or eight bytes, or a length and that many bytes:

    Example  { Features features = 1; }
    Features { map<string, Feature> feature = 1; }       an entry is { string key = 1; Feature value = 2; }
    Feature  { BytesList = 1 | FloatList = 2 | Int64List = 3; }, each { repeated value = 1; }

https://protobuf.dev/programming-guides/encoding, and tensorflow/core/example/{example,feature}.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

#: Types on the wire.
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_LONGEST_VARINT: Final = 10

#: Number and type of each value in a list of bytes.
_VALUE: Final = (1, _BYTES)

FeatureKind = Literal["bytes", "float", "int"]
_KINDS: Final[dict[int, FeatureKind]] = {1: "bytes", 2: "float", 3: "int"}


@dataclass(frozen=True, slots=True)
class Feature:
    """A list of values of one kind.

    parts: first byte and size of each, for bytes, from the beginning of the Example. numbers: for the others.
    """

    kind: FeatureKind
    parts: list[tuple[int, int]] = field(default_factory=list)
    numbers: list[float] | list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.parts) or len(self.numbers)


def parse_example(data: memoryview) -> dict[str, Feature]:
    """Return the features of an Example, without looking at the bytes of its bytes features.

    Raises ValueError for anything else. The last of two features of one name counts, as protocol buffers define it.
    About 3 us a feature (one core).
    """
    found: dict[str, Feature] = {}
    for number, wire, begin, end in _members(data, 0, len(data)):
        if number == 2 and wire == _BYTES:
            raise ValueError("a SequenceExample, with lists of features")
        if number != 1 or wire != _BYTES:
            continue
        for number_, wire_, begin_, end_ in _members(data, begin, end):
            if number_ == 1 and wire_ == _BYTES:
                name, feature = _entry(data, begin_, end_)
                if feature is not None:
                    found[name] = feature
    return found


def _entry(data: memoryview, begin: int, end: int) -> tuple[str, Feature | None]:
    name, feature = "", None
    for number, wire, first, last in _members(data, begin, end):
        if number == 1 and wire == _BYTES:
            name = str(data[first:last], "utf-8")  # UnicodeDecodeError is a ValueError
        elif number == 2 and wire == _BYTES:
            for kind, wire_, first_, last_ in _members(data, first, last):
                if kind in _KINDS and wire_ == _BYTES:
                    feature = _list(data, _KINDS[kind], first_, last_)
    return name, feature


def _list(data: memoryview, kind: FeatureKind, begin: int, end: int) -> Feature:
    if kind == "bytes":
        members = _members(data, begin, end)
        return Feature(
            kind, [(first, last - first) for number, wire, first, last in members if (number, wire) == _VALUE]
        )
    floats: list[float] = []
    integers: list[int] = []
    for number, wire, first, last in _members(data, begin, end):
        if number != 1:
            continue
        if kind == "float" and wire in (_BYTES, _FOUR):
            if (last - first) % 4:
                raise ValueError("packed floats that are cut")
            floats += struct.unpack(f"<{(last - first) // 4}f", data[first:last])
        elif kind == "int" and wire == _BYTES:
            at = first
            while at < last:
                value, at = _varint(data, at, last)
                integers.append(_signed(value))
        elif kind == "int" and wire == _VARINT:
            integers.append(_signed(_varint(data, first, last)[0]))
    return Feature(kind, numbers=floats if kind == "float" else integers)


def _members(data: memoryview, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number and type of each member of a message, and where its value begins and ends."""
    while begin < end:
        tag, begin = _varint(data, begin, end)
        wire = tag & 7
        if wire == _VARINT:
            first = begin
            _, begin = _varint(data, begin, end)
        elif wire == _BYTES:
            size, first = _varint(data, begin, end)
            begin = first + size
        elif wire in (_FOUR, _EIGHT):
            first, begin = begin, begin + (4 if wire == _FOUR else 8)
        else:
            raise ValueError(f"a member of the unknown type {wire}")
        if begin > end:
            raise ValueError("a member that ends behind its message")
        yield tag >> 3, wire, first, begin


def _varint(data: memoryview, begin: int, end: int) -> tuple[int, int]:
    """Return a varint, and where it ends."""
    value = shift = 0
    for at in range(begin, min(end, begin + _LONGEST_VARINT)):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1
        shift += 7
    raise ValueError("a number that does not end")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
