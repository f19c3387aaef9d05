"""The fields of a listing: for each, its values or the places of its values as columns on disk.

A field may appear after some samples; then these have no value. The kind of a table's cells is known at the end, when
all values have been seen: they are integers if all of them are, else floats, else strings. The same holds for files
that should hold integers, which are read to decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.arrays import AnyArray, IndexArray, row_parts
from tiering.errors import DatasetError
from tiering.literals import FieldKind
from tiering.sources.cell_kinds import CellKind
from tiering.sources.fields import PLACE, FoundField, place_column, value_column
from tiering.sources.number_files import LONGEST_NUMBER, as_cells
from tiering.sources.source import Source, read_samples
from tiering.storage.location import Location
from tiering.store.columns import ColumnsWriter, keys_at, lay_end_to_end, map_column
from tiering.store.schema import Field, new_field
from tiering.text import display

#: size: bytes of a value, -1 for none. key, key_end: the values one after another, or the paths of their files.
_VALUES: Final = {"size": "<i8", "key": "|u1", "key_end": "<i8"}
_PLACES: Final = {"size": "<i8", "version": "<i8", "file": "<i4", "offset": "<i8", "key": "|u1", "key_end": "<i8"}

#: By the kind that a source gives its values: the other kinds of a store's field that may hold them, because the same
#: bytes can be such a value. Cells and bytes are not listed: they may be of any kind.
_FITTING: Final[Mapping[str, tuple[FieldKind, ...]]] = {
    "integer": ("float", "string", "json", "bytes"),
    "float": ("integer", "string", "json", "bytes"),
    "vector": ("array", "bytes"),
    "string": ("integer", "float", "json", "bytes"),
    "json": ("string", "bytes"),
    "image": ("bytes",),
    "array": ("vector", "bytes"),
}

#: What a sample has in place of a value that it lacks.
Found = bytes | None | OSError | DatasetError


@dataclass(frozen=True, slots=True)
class FieldRows:
    """One field of some samples in a requested order, as parallel columns that can be sent to a worker.

    size: int64 (n,), bytes; -1 for none. key: uint8, with key_end int64 (n,): the values, or the paths of their files.
    file: int32 (n,) and offset: int64 (n,): places in files of the source; empty if `key` holds values.
    """

    field: Field
    size: IndexArray
    key: npt.NDArray[np.uint8]
    key_end: IndexArray
    file: npt.NDArray[np.int32]
    offset: IndexArray

    def read(self, source: Source) -> Iterator[Found]:
        """Yield the bytes of each value, None for none, or the error that prevented reading it."""
        every = keys_at(self.key, self.key_end, np.arange(len(self.size)))
        if not len(self.file):
            yield from (value if size >= 0 else None for value, size in zip(every, self.size.tolist(), strict=True))
            return
        there = np.flatnonzero(self.size >= 0)
        keys = [every[at] for at in there.tolist()]
        found = read_samples(source, keys, self.file[there], self.offset[there], self.size[there])
        for key, size in zip(every, self.size.tolist(), strict=True):
            # A table names a file that is not there.
            missing = DatasetError(display(key), found=f"no such file: {display(key)}") if key and size < 0 else None
            yield next(found) if size >= 0 else missing


@dataclass(frozen=True, slots=True)
class ListedField:
    """A field of a listing. field: its schema. columns: those of _VALUES or _PLACES, mapped."""

    field: Field
    columns: Mapping[str, AnyArray]

    @property
    def value_bytes(self) -> int:
        """Bytes of all values."""
        sizes = self.columns["size"]
        return sum(int(np.maximum(sizes[part], 0).sum()) for part in row_parts(len(sizes)))

    @property
    def placed(self) -> bool:
        """Whether the values are in files of the source, and not in the columns."""
        return "file" in self.columns

    @property
    def names_classes(self) -> bool:
        """Whether these are .cls files with text, which names classes. Numbers in such files do not."""
        return self.field.kind == "string" and self.field.suffix.lower() == "cls" and self.placed

    def rows(self, rows: IndexArray) -> FieldRows:
        """Return the field of some samples in the given order."""
        columns = self.columns
        key, key_end = lay_end_to_end(keys_at(columns["key"], columns["key_end"], rows))
        nowhere = rows[:0]
        return FieldRows(
            self.field,
            np.ascontiguousarray(columns["size"][rows]),
            key,
            key_end,
            np.ascontiguousarray(columns["file"][rows]) if self.placed else nowhere.astype(np.int32),
            np.ascontiguousarray(columns["offset"][rows]) if self.placed else nowhere,
        )


@dataclass(slots=True)
class _Writing:
    found: FoundField
    placed: bool
    root: Location
    writer: ColumnsWriter
    cells: CellKind = field(default_factory=CellKind)
    missing: int = 0
    first: bytes = b""

    @property
    def by_files(self) -> bool:
        """Whether the contents of all its files decide its kind."""
        return self.placed and self.found.kind == "integer"

    @property
    def mapped(self) -> dict[str, AnyArray]:
        """Its columns, once they are complete."""
        return {name: map_column(self.root / name, dtype) for name, dtype in _columns(self.placed).items()}


def _columns(placed: bool) -> dict[str, str]:
    return _PLACES if placed else _VALUES


class FieldsWriter:
    """Writes the fields of a source's frames. The columns appear when the `with` block ends without an error."""

    def __init__(self, root: Location, source: Source) -> None:
        self._root, self._source = root, source
        self._open = ExitStack()
        self._fields: dict[str, _Writing] = {}
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, failure, trace)

    def append(self, frame: pl.DataFrame, fields: Mapping[str, FoundField]) -> None:
        """Append the fields of some samples. fields: all that the source has announced so far."""
        for name, found in fields.items():
            placed = place_column(name, "key") in frame.columns
            if not placed and value_column(name) not in frame.columns:
                if (known := self._fields.get(name)) is not None:
                    _skip(known, len(frame))
                continue
            if (writing := self._fields.get(name)) is None:
                writing = self._begin(found, placed=placed)
            elif writing.placed != placed:
                raise ValueError(f"the field {name} has values in some frames, and places in others")
            _append(writing, frame, self._source)
        self._rows += len(frame)

    def _begin(self, found: FoundField, *, placed: bool) -> _Writing:
        root = self._root / found.name
        writer = self._open.enter_context(ColumnsWriter(lambda column: root / column, _columns(placed)))
        writing = self._fields[found.name] = _Writing(found, placed, root, writer)
        for rows in row_parts(self._rows):
            _skip(writing, len(rows))
        return writing

    def listed(self, known: Mapping[str, Field]) -> list[ListedField]:
        """Return the fields, in the order in which they were announced.

        known: fields of a store that decide the kinds of those with the same name.
        Raises DatasetError for a field whose values cannot be of that kind.
        """
        for name, each in self._fields.items():
            if name in known:
                _refuse_other_kind(each.found, known[name])
        return [ListedField(_schema(each, known.get(name)), each.mapped) for name, each in self._fields.items()]


def _append(writing: _Writing, frame: pl.DataFrame, source: Source) -> None:
    name = writing.found.name
    part: dict[str, AnyArray] = {}
    if writing.placed:
        keys = frame[place_column(name, "key")]
        nulls = keys.is_null()
        for column in PLACE:
            if column != "key":
                part[column] = frame[place_column(name, column)].fill_null(0).to_numpy()
        part["size"] = np.where(nulls.to_numpy(), -1, part["size"])
        if writing.by_files and not writing.cells.settled:
            _look(writing.cells, source, keys, part)
    else:
        keys = frame[value_column(name)]
        nulls = keys.is_null()
        part["size"] = np.where(nulls.to_numpy(), -1, keys.bin.size().cast(pl.Int64).fill_null(0).to_numpy())
        if writing.found.kind == "cell":
            writing.cells.update(keys)
        elif not writing.first and len(there := keys.drop_nulls()):
            writing.first = there[0]
    writing.missing += int(nulls.sum())
    part["key"], part["key_end"] = lay_end_to_end(keys.fill_null(b"").to_list())
    writing.writer.append(part)


def _look(cells: CellKind, source: Source, keys: pl.Series, part: Mapping[str, AnyArray]) -> None:
    """Look at files that should hold integers. The packer will report one that cannot be read."""
    there = np.flatnonzero(part["size"] >= 0)
    short = there[part["size"][there] <= LONGEST_NUMBER]
    if len(short) < len(there):
        cells.update(as_cells([b"a text"]))  # a longer file is text, and need not be read
    found = read_samples(source, keys[short].to_list(), part["file"][short], part["offset"][short], part["size"][short])
    cells.update(as_cells(data for data in found if isinstance(data, bytes)))


def _skip(writing: _Writing, rows: int) -> None:
    """Append samples without a value."""
    nothing = np.zeros(rows, dtype=np.int64)
    part: dict[str, AnyArray] = dict.fromkeys(_PLACES, nothing)
    writing.writer.append(part | {"size": nothing - 1, "key": np.empty(0, np.uint8)})
    writing.missing += rows


def _refuse_other_kind(found: FoundField, known: Field) -> None:
    """Raise DatasetError for a field of a source whose values cannot be those of a store's field."""
    if found.kind in _FITTING and known.kind not in (found.kind, *_FITTING[found.kind]):
        what = found.description or (f"files .{found.suffix}" if found.suffix else "its values")
        raise DatasetError(
            f"field {found.name}", expected=f"values of kind {known.kind}, as the store has them",
            found=f"{found.kind} ({what})", action="Give the field of the new samples another name.",
        )  # fmt: skip


def _schema(writing: _Writing, known: Field | None) -> Field:
    found = writing.found
    if known is not None:
        nullable = known.nullable or writing.missing > 0 or (known.numeric and writing.cells.empty)
        return known.model_copy(update={"nullable": nullable, "files": []})
    kind = writing.cells.kind if found.kind == "cell" or writing.by_files else found.kind
    nullable = writing.missing > 0 or (kind in ("integer", "float") and writing.cells.empty)
    return new_field(found, kind, nullable=nullable, first=writing.first)


def state_of_fields(state: str, listed: Sequence[ListedField]) -> str:
    """Return a digest of a state and of all fields: of their schema, and their values or places."""
    if not listed:
        return state
    digest = hashlib.sha256(state.encode())
    for each in listed:
        digest.update(each.field.model_dump_json().encode())
        for column in each.columns.values():
            for rows in row_parts(len(column)):
                digest.update(column[rows].tobytes())
    return digest.hexdigest()
