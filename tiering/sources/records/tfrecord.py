"""TFRecord files of tf.Examples, plain or compressed by gzip.

A record is its length (8 bytes, little-endian), the masked CRC-32C of these, the Example, and its masked CRC-32C:
https://www.tensorflow.org/tutorials/load_data/tfrecord. So the bytes of an image are a range of a plain file.

Examples have no schema. A first pass over all records finds the features, and what all values of each have in common;
for plain local files it does not touch the images.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import google_crc32c

from tiering.errors import DatasetError
from tiering.images.formats import HEAD
from tiering.images.image import LARGEST_BYTES
from tiering.sources.fields import FoundField
from tiering.sources.records.example_schema import Schema, SeenFeature, value_of
from tiering.sources.records.files import mapped, opened
from tiering.sources.records.record import Part, Record, Sink
from tiering.sources.records.tf_example import Feature, parse_example
from tiering.text import display

_HEADER: Final = 12
_FOOTER: Final = 4
_GZIP: Final = b"\x1f\x8b"


def masked_crc(data: Any) -> int:
    """Return the masked CRC-32C of TFRecord: rotated right by 15 bits, plus a constant."""
    crc = int(google_crc32c.value(bytes(data)))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFF_FFFF


def begins_as_tfrecord(url: str) -> bool:
    """Return whether a file begins with a record, plain or compressed. url: path or URL."""
    with opened(url) as (file, _):
        head = file.read(_HEADER)
        if _is_gzip(head):
            file.seek(0)
            try:
                head = gzip.GzipFile(fileobj=file).read(_HEADER)
            except (OSError, EOFError, zlib.error):
                return False
    return _is_header(head)


def is_compressed(url: str) -> bool:
    """Return whether a file is compressed by gzip. url: path or URL."""
    with opened(url) as (file, _):
        return _is_gzip(file.read(_HEADER))


def _is_gzip(head: bytes) -> bool:
    # The length of a plain record may begin with the same two bytes.
    return head[:2] == _GZIP and not _is_header(head)


def _is_header(head: bytes) -> bool:
    return len(head) == _HEADER and struct.unpack("<I", head[8:])[0] == masked_crc(head[:8])


class TFRecords:
    """TFRecord files. compressed: at least one of them is."""

    def __init__(self, files: tuple[str, ...], *, compressed: bool) -> None:
        self._files = files
        self._compressed = compressed

    @property
    def classes(self) -> tuple[str, ...]:
        """None: Examples have numbers or names."""
        return ()

    @property
    def notes(self) -> list[str]:
        """A sentence for each feature that is left out."""
        return self._schema.notes

    @property
    def fields(self) -> list[FoundField]:
        """Every feature except the image and the label."""
        return [field for field, _ in self._schema.fields.values()]

    @cached_property
    def _schema(self) -> Schema:
        seen: dict[str, SeenFeature] = {}
        for number, path in enumerate(self._files):
            for data, _ in self._frames(number, check=False):
                for name, feature in _parsed(data, path).items():
                    seen.setdefault(name, SeenFeature(feature.kind)).add(name, feature, data, path)
        return Schema(seen, self._files[0])

    def records(self, number: int, out: Sink) -> Iterator[Record]:
        """Yield the Examples of a file, and unpack their images if it is compressed."""
        schema = self._schema
        path = self._files[number]
        for data, begin in self._frames(number, check=True):
            found = _parsed(data, path)

            def part(where: Part, data: memoryview = data, begin: int = begin) -> Part:
                first, size = where
                return out.add(bytes(data[first : first + size])) if self._compressed else (begin + first, size)

            image = found.get(schema.image)
            if image is None or not image.parts:
                yield Record(None, lacking=f"the record has no {schema.image}")
                continue
            values: dict[str, bytes | None] = {}
            parts: dict[str, Part] = {}
            for name, (field, _) in schema.fields.items():
                feature = found.get(name)
                if feature is None or not len(feature):
                    continue
                if field.kind in ("image", "bytes"):
                    parts[field.name] = part(feature.parts[0])
                else:
                    values[field.name] = value_of(field, feature, data)
            first, size = image.parts[0]
            head = bytes(data[first : first + min(size, HEAD)])
            yield Record(part(image.parts[0]), head, schema.label_of(found, data), None, values, parts)

    def _frames(self, number: int, *, check: bool) -> Iterator[tuple[memoryview, int]]:
        """Yield each Example and its first byte in the file. check: verify its CRC-32C, which reads all of it."""
        path = self._files[number]
        with opened(path) as (file, size):
            if file.read(2) == _GZIP and self._compressed:
                file.seek(0)
                yield from _streamed(gzip.GzipFile(fileobj=file), LARGEST_BYTES, path, check=check)
            elif "://" in path or not size:
                file.seek(0)
                yield from _streamed(file, size, path, check=check)
            else:
                with mapped(file) as data:
                    yield from _ranges(data, path, check=check)


def _ranges(data: memoryview, path: str, *, check: bool) -> Iterator[tuple[memoryview, int]]:
    at = 0
    while at < len(data):
        length = _length(bytes(data[at : at + _HEADER]), path, at)
        begin = at + _HEADER
        at = begin + length + _FOOTER
        if at > len(data):
            raise _cut(path, begin)
        with data[begin : begin + length] as example:
            if check:
                _compare(example, bytes(data[at - _FOOTER : at]), path, begin)
            yield example, begin


def _streamed(file: Any, most: int, path: str, *, check: bool) -> Iterator[tuple[memoryview, int]]:
    at = 0
    try:
        while head := file.read(_HEADER):
            length = _length(head, path, at)
            if length > most:
                raise _cut(path, at)
            body = file.read(length + _FOOTER)
            if len(body) < length + _FOOTER:
                raise _cut(path, at)
            example = memoryview(body)[:length]
            if check:
                _compare(example, body[length:], path, at + _HEADER)
            yield example, at + _HEADER
            at += _HEADER + length + _FOOTER
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetError(
            display(path), expected="a whole gzip file", found=str(error) or "a cut one", action="Copy it again."
        ) from error


def _length(head: bytes, path: str, at: int) -> int:
    if len(head) < _HEADER:
        raise _cut(path, at)
    if not _is_header(head):
        raise _damaged(path, at, "the CRC-32C of a record's length does not match")
    return int(struct.unpack("<Q", head[:8])[0])


def _compare(example: memoryview, crc: bytes, path: str, at: int) -> None:
    if struct.unpack("<I", crc)[0] != masked_crc(example):
        raise _damaged(path, at, "the CRC-32C of a record does not match")


def _parsed(data: memoryview, path: str) -> dict[str, Feature]:
    try:
        return parse_example(data)
    except ValueError as error:
        raise DatasetError(
            display(path), expected="records that are tf.Examples", found=str(error),
            action="Write the images as files, with a table of their paths and labels, and use that table.",
        ) from error  # fmt: skip


def _cut(path: str, at: int) -> DatasetError:
    return DatasetError(
        display(path), expected="whole records", found=f"one that is cut at byte {at:,}", action="Copy the file again."
    )


def _damaged(path: str, at: int, how: str) -> DatasetError:
    return DatasetError(
        display(path), expected="a whole TFRecord file", found=f"damage at byte {at:,}: {how}",
        action="Copy the file again.",
    )  # fmt: skip
