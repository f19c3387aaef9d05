"""Parquet files that hold the images themselves, as Hugging Face writes them: columns of bytes and path.

Pages of Parquet are compressed, so the images are unpacked (`unpacked.py`). One column of images is the image of a
sample; further ones are fields of kind image. The metadata of Hugging Face name the classes of a label.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from tiering.errors import DatasetError
from tiering.images.formats import HEAD, format_of, is_image_name
from tiering.literals import FieldKind
from tiering.sources.described_columns import DescribedColumn, TableDescription, description_of
from tiering.sources.fields import FoundField, field_name
from tiering.sources.packed_datasets import is_embedded
from tiering.sources.records.files import fetched
from tiering.sources.records.record import Part, Record, Sink
from tiering.sources.tables.column_names import recognised
from tiering.sources.tables.table_fields import TableField, as_bytes, fields_of, nested_columns, values_of
from tiering.text import display

#: How many rows are in memory at once.
_ROWS: Final = 256

#: The description of the field that holds the images' paths begins so; the name of their column follows.
PATH_OF: Final = "the path in column "

#: Columns of images by the extension of their files, as datasets in WebDataset's layout have them on Hugging Face.
_BY_EXTENSION: Final = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, slots=True)
class _ImageColumn:
    """A column of files. struct: of bytes and path. field: the field it becomes; None for the image of a sample."""

    name: str
    struct: bool
    field: FoundField | None = None

    def of(self, value: Any) -> bytes | None:
        data: bytes | None = value["bytes"] if self.struct and value is not None else value
        return data


class ParquetImages:
    """Parquet files with images.

    Raises DatasetError if the files are no Parquet, or hold no images.
    """

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        with _scanned(files[0]) as frame:
            self._schema: Mapping[str, pl.DataType] = frame.collect_schema()
            features = _features(files[0])
            binary = _binary_columns(frame, self._schema, features)
        # Files that tiering wrote say themselves what their columns are.
        self._own = own = _description(files[0])
        described = {each.column: each for each in own.fields} if own else {}
        kinds = {name: "image" if each.kind == "image" else "bytes" for name, each in described.items()}
        binary |= {name: kind for name, kind in kinds.items() if name in binary}
        if "image" not in binary.values():
            raise DatasetError(display(files[0]), expected="a column of images", found=", ".join(self._schema))
        names = list(self._schema)
        known = recognised(names)
        if own:
            self._image, self._label, self._split = own.image, own.label, None
            self.classes = _class_names(features.get(own.label or ""))
        else:
            self._image = _image_of(names, binary, known)
            self._label, self.classes = _label_of(names, self._schema, features, known)
            split = names[known["split"]] if "split" in known else None
            self._split = split if split and self._schema[split] == pl.String else None
        self._columns = _file_columns(self._image, binary, self._schema, described)
        rest = [name for name in names if name not in binary and name not in (self._label, self._split)]
        lists = [name for name in rest if _holds_bytes(self._schema[name])]
        self.notes = [f"the column {name} is left out: it holds lists of files" for name in lists]
        rest = [name for name in rest if name not in lists]
        self._plain = _plain_fields(rest, self._schema, files, described)
        self._names = [rest[field.position] for field in self._plain]
        taken = [each.field.name for each in self._columns if each.field] + [each.found.name for each in self._plain]
        self._paths = field_name("path", taken) if self._columns[0].struct else ""

    @property
    def fields(self) -> list[FoundField]:
        """The further columns, and the name that the image had."""
        named = [FoundField(self._paths, "string", description=f"{PATH_OF}{self._image}")] if self._paths else []
        images = [column.field for column in self._columns if column.field is not None]
        return [*images, *(field.found for field in self._plain), *named]

    def records(self, number: int, out: Sink) -> Iterator[Record]:
        """Yield the rows of a file, and unpack its images."""
        path = self._files[number]
        own = _description(path) if self._own else None
        split = own.whole_split if own else None
        with _scanned(path) as frame:
            there = frame.collect_schema()
            self._check(there, path)
            columns = [pl.col(each.name) for each in self._columns if each.name in there]
            columns += [
                values_of(field, name, self._schema[name], spaced=False)
                for field, name in zip(self._plain, self._names, strict=True)
                if name in there
            ]
            columns += [pl.col(self._label).cast(pl.String).alias("label")] if self._label in there else []  # type: ignore[arg-type]
            columns += [pl.col(self._split).alias("split")] if self._split in there else []  # type: ignore[arg-type]
            for rows in frame.select(columns).collect_batches(chunk_size=_ROWS, maintain_order=True):
                for part in rows.iter_slices(_ROWS):
                    yield from self._of_rows(part, out, split)

    def _of_rows(self, rows: pl.DataFrame, out: Sink, split: str | None) -> Iterator[Record]:
        values = {
            field.found.name: as_bytes(field, rows[field.column]).to_list()
            for field in self._plain
            if field.column in rows.columns
        }
        labels = rows["label"].to_list() if "label" in rows.columns else [None] * len(rows)
        splits = rows["split"].to_list() if "split" in rows.columns else [split] * len(rows)
        files = [(column, rows[column.name].to_list()) for column in self._columns if column.name in rows.columns]
        for row in range(len(rows)):
            image: Part | None = None
            head = b""
            lacking = "the row has no image"
            parts: dict[str, Part] = {}
            inline = {name: each[row] for name, each in values.items()}
            for column, cells in files:
                cell, cells[row] = cells[row], None
                data = column.of(cell)
                if column.field is None and column.struct and cell is not None:
                    inline[self._paths] = None if cell.get("path") is None else str(cell["path"]).encode()
                    lacking = f"the row has only its path, {display(str(cell.get('path')))}"
                if data is None:
                    continue
                where = out.add(data)
                if column.field is None:
                    image, head = where, data[:HEAD]
                else:
                    parts[column.field.name] = where
            yield Record(image, head, self._class(labels[row]), splits[row], inline, parts, lacking=lacking)

    def _class(self, label: str | None) -> str | None:
        if label is None or not self.classes:
            return label
        number = int(label) if label.lstrip("-").isdigit() else -1
        # -1 is Hugging Face's label of an unlabelled test split.
        return self.classes[number] if 0 <= number < len(self.classes) else None

    def _check(self, there: Mapping[str, pl.DataType], path: str) -> None:
        for name, kind in there.items():
            if self._schema.get(name, kind) != kind or self._image not in there:
                raise DatasetError(
                    display(path), expected=f"the columns of {display(self._files[0])}",
                    found=f"{name} of type {kind} instead of {self._schema.get(name)}",
                    action="Convert files of different columns one by one, or move them to directories of their own.",
                )  # fmt: skip


def _image_of(names: list[str], binary: Mapping[str, str], known: Mapping[str, int]) -> str:
    """Return the column of the images of samples. binary: the columns of files. known: columns with known names."""
    images = [name for name, kind in binary.items() if kind == "image"]
    if "path" in known and names[known["path"]] in images:
        return names[known["path"]]
    return next((name for name in images if name.lower() in _BY_EXTENSION), images[0])


def _file_columns(
    image: str, binary: Mapping[str, str], schema: Mapping[str, pl.DataType], described: Mapping[str, DescribedColumn]
) -> list[_ImageColumn]:
    """Return the columns of files, that of the images first. binary: their kinds by name."""
    columns = [_ImageColumn(image, is_embedded(schema[image]))]
    taken: list[str] = []
    for name, kind in binary.items():
        if name == image:
            continue
        if name in described:
            found = described[name].found
        else:
            whole: FieldKind = "image" if kind == "image" else "bytes"
            found = FoundField(field_name(name, taken), whole, description=f"column {name}")
        taken.append(found.name)
        columns.append(_ImageColumn(name, is_embedded(schema[name]), found))
    return columns


def _plain_fields(
    names: list[str],
    schema: Mapping[str, pl.DataType],
    files: tuple[str, ...],
    described: Mapping[str, DescribedColumn],
) -> list[TableField]:
    """Return the fields of columns that hold no files. Lists are read once, because their lengths decide the kinds."""
    with ExitStack() as stack:
        looked_at = files if _has_lists(schema, names) else files[:1]
        frames = [stack.enter_context(_scanned(path)) for path in looked_at]
        nested = nested_columns([frame.select(names) for frame in frames]) if names else {}
    fields = fields_of(names, schema, nested, {}, named=False, where=display(files[0]))
    return [
        replace(field, found=described[name].found, nested=described[name].dtype) if name in described else field
        for field, name in zip(fields, names, strict=True)
    ]


def _has_lists(schema: Mapping[str, pl.DataType], names: list[str]) -> bool:
    return any(isinstance(schema[name], pl.List | pl.Array) for name in names)


def _holds_bytes(kind: pl.DataType) -> bool:
    """Return whether nested values hold bytes, which JSON does not."""
    if isinstance(kind, pl.List | pl.Array):
        return _holds_bytes(kind.inner)  # type: ignore[arg-type] # an instance, whatever its annotation says
    return kind == pl.Binary or (isinstance(kind, pl.Struct) and any(_holds_bytes(each.dtype) for each in kind.fields))  # type: ignore[arg-type]


def _binary_columns(
    frame: pl.LazyFrame, schema: Mapping[str, pl.DataType], features: Mapping[str, Any]
) -> dict[str, str]:
    """Return the columns that hold files, each with "image" or "bytes".

    Hugging Face's metadata tell images from sounds and films. Without them, the first values do.
    """
    found: dict[str, str] = {}
    for name, kind in schema.items():
        struct = is_embedded(kind)
        if not struct and kind != pl.Binary:
            continue
        told = features.get(name, {}).get("_type") if isinstance(features.get(name), dict) else None
        if told in ("Image", "Audio", "Video", "Pdf"):
            found[name] = "image" if told == "Image" else "bytes"
            continue
        value = pl.col(name).struct.field("bytes") if struct else pl.col(name)
        first = frame.filter(value.is_not_null()).select(name).head(1).collect()[name].to_list()
        found[name] = "image" if any(_is_image(each, struct=struct) for each in first) else "bytes"
    return found


def _is_image(value: Any, *, struct: bool) -> bool:
    """Return whether a value is an image by its first bytes, or by the name of its file, since it may be damaged."""
    data = value["bytes"] if struct else value
    named = struct and is_image_name(os.fsencode(str(value.get("path") or "")))
    return named or format_of(data[:HEAD]) is not None


def _label_of(
    names: list[str], schema: Mapping[str, pl.DataType], features: Mapping[str, Any], known: Mapping[str, int]
) -> tuple[str | None, tuple[str, ...]]:
    """Return the column of labels and, if Hugging Face's metadata have them, the names of its classes."""
    classes = {name: each for name in names if (each := _class_names(features.get(name)))}
    column = names[known["label"]] if "label" in known else None
    if column is None and len(classes) == 1:
        (column,) = classes
    if column is None or schema[column].is_nested() or schema[column] == pl.Binary:
        return None, ()
    return column, classes.get(column, ())


def _class_names(feature: Any) -> tuple[str, ...]:
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return ()
    names = feature.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return ()
    return tuple(names)


def _description(path: str) -> TableDescription | None:
    """Return what a file that tiering wrote says about its columns."""
    with fetched(path) as local:
        return description_of(local)


def _features(path: str) -> Mapping[str, Any]:
    """Return Hugging Face's description of the columns, {} if there is none."""
    try:
        with fetched(path) as local:
            text = pl.read_parquet_metadata(local).get("huggingface", "{}")
        features = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError, PolarsError, PanicException):
        return {}
    return features if isinstance(features, dict) else {}


@contextmanager
def _scanned(path: str) -> Iterator[pl.LazyFrame]:
    try:
        with fetched(path) as local:
            yield pl.scan_parquet(local, glob=False)
    # Polars panics on some damaged files.
    except (PolarsError, PanicException) as error:
        message = str(error).split("\n", 1)[0]
        raise DatasetError(display(path), expected="a Parquet file", found=message, action="Copy it again.") from error
