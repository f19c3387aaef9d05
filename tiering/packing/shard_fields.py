"""Pack the fields of one shard: numbers into columns of the index, other values into one file for each field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, cast

import google_crc32c
import numpy as np

from tiering.arrays import AnyArray, IndexArray
from tiering.errors import DatasetError
from tiering.images.image import check_image
from tiering.images.npy import parse_npy
from tiering.io_sizes import CHUNK_BYTES
from tiering.packing.executors import end_if_unwanted
from tiering.packing.listed_fields import FieldRows, Found
from tiering.sources.source import Source
from tiering.storage.direct_file import DirectFile
from tiering.storage.json_text import parse_foreign_json
from tiering.storage.location import Location
from tiering.store import zarr
from tiering.store.field_values import MISSING, number_from
from tiering.store.layout import RunPlace, run_file
from tiering.store.schema import CRC, OFFSET, SIZE, VALID, Field, FieldFile
from tiering.store.settings import Settings

#: The chunks of a small file: a page, or a few.
_PAGE: Final = 4096

#: Raises ValueError for bytes that are not a value of a kind.
_CHECKS: Final[dict[str, Callable[[bytes], object]]] = {
    "string": lambda data: str(data, "utf-8"),
    "json": parse_foreign_json,
    "bytes": len,
    "image": lambda data: check_image(data, ""),
    "array": parse_npy,
}


@dataclass(slots=True)
class PackedFields:
    """The fields of a shard.

    columns: of all its rows, by name. files: of each field whose values are bytes, None where there is none. bad: for
    rows with a value that cannot be packed, why.
    """

    columns: dict[str, AnyArray] = field(default_factory=dict)
    files: dict[str, FieldFile | None] = field(default_factory=dict)
    bad: dict[int, DatasetError] = field(default_factory=dict)


def pack_fields(
    fields: tuple[FieldRows, ...], source: Source, target: Location, work: Location, number: int, generation: int
) -> PackedFields:
    """Write the files of a shard's fields, and return their columns.

    target: the store. work: directory for temporary files. number: of the shard. generation: of the store.
    """
    packed = PackedFields()
    for rows in fields:
        if rows.field.numeric:
            packed.columns |= number_columns(rows, source, packed.bad)
        else:
            _run(rows, source, packed, target, work, number, generation)
    return packed


def run_settings(planned: int) -> Settings:
    """Return the settings of a run's array, which has one shard. planned: bytes of its values, at least 1."""
    chunk = min(CHUNK_BYTES, -(-planned // _PAGE) * _PAGE)
    return Settings(shard_bytes=-(-planned // chunk) * chunk, chunk_bytes=chunk)


def write_run(
    target: Location, work: Location, place: RunPlace, planned: int, values: Iterator[bytes]
) -> tuple[FieldFile, IndexArray]:
    """Write a run of bytes. Returns the file, and where each value begins, int64 (n,).

    target: the store. work: directory for temporary files. planned: bytes of the values, at least 1.
    """
    settings = run_settings(planned)
    run = target / run_file(place.field, place.number, place.generation)
    with run.writing(work) as file, DirectFile(file, local=target.local is not None) as written:
        offsets = zarr.write_shard(cast("BinaryIO", written), values, settings, 0)
        written.finish()
        end_if_unwanted()
    return FieldFile(
        generation=place.generation, bytes=written.size, crc32c=written.crc, chunk_bytes=settings.chunk_bytes,
        chunks=settings.shard_bytes // settings.chunk_bytes,
    ), offsets  # fmt: skip


def _run(
    rows: FieldRows,
    source: Source,
    packed: PackedFields,
    target: Location,
    work: Location,
    number: int,
    generation: int,
) -> None:
    name = rows.field.name
    offset = np.full(len(rows.size), -1, dtype=np.int64)
    size, crc = np.zeros(len(rows.size), dtype=np.int64), np.zeros(len(rows.size), dtype=np.uint32)
    values = _sound(rows, source, packed.bad, checks_of(rows.field))

    def written() -> Iterator[bytes]:
        for row, value in values:
            end_if_unwanted()
            offset[row], size[row], crc[row] = 0, len(value), google_crc32c.value(value)
            yield value

    planned = int(np.maximum(rows.size, 0).sum())
    packed.files[name] = None
    if planned:
        packed.files[name], offsets = write_run(target, work, RunPlace(name, generation, number), planned, written())
        offset[offset == 0] = offsets
    else:
        for _ in written():
            pass
    packed.columns |= {name + OFFSET: offset, name + SIZE: size, name + CRC: crc}


def number_columns(rows: FieldRows, source: Source, bad: dict[int, DatasetError]) -> dict[str, AnyArray]:
    """Return the columns of a field of numbers, by name. Rows whose value is not sound are named in `bad`."""
    found = rows.field
    column = np.full((len(rows.size), *found.shape), MISSING, dtype=found.dtype)
    valid = np.zeros(len(rows.size), dtype=np.uint8)

    def parsed(data: bytes) -> Any:
        return number_from(data, found)

    for row, value in _sound(rows, source, bad, parsed):
        if found.kind == "vector" or value.strip():
            column[row], valid[row] = parsed(value), 1
    return {found.name: column} | ({found.name + VALID: valid} if found.nullable else {})


def _sound(
    rows: FieldRows, source: Source, bad: dict[int, DatasetError], check: Callable[[bytes], object]
) -> Iterator[tuple[int, bytes]]:
    """Yield row and bytes of each value that is there and sound. The others are named in `bad`."""
    for row, value in enumerate(rows.read(source)):
        if value is None:
            continue
        try:
            yield row, checked_value(value, check)
        except DatasetError as error:
            bad.setdefault(row, DatasetError(rows.field.name, found=f"{rows.field.name}: {error.found}"))


def checks_of(field: Field) -> Callable[[bytes], object]:
    """Return a function that raises ValueError for bytes that are not a value of a field. field: not of numbers."""
    return _CHECKS[field.kind]


def checked_value(value: Found, check: Callable[[bytes], object]) -> bytes:
    """Return the bytes of a value. Raises DatasetError for one that is not sound, or could not be read."""
    if isinstance(value, DatasetError):
        raise value
    if isinstance(value, OSError):
        raise DatasetError("", found=(value.strerror or str(value)).lower()) from value
    try:
        check(value or b"")
    except ValueError as error:
        raise DatasetError("", found=str(error)[:200]) from error
    return value or b""
