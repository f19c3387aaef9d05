"""The table beside the files of an export: metadata.parquet with the fields, or labels.csv if there are none."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

import polars as pl

from tiering.packing.exports.batches import ExportBatch
from tiering.packing.exports.columns import series_of, type_of
from tiering.packing.exports.fields import ExportedFields
from tiering.sources.described_columns import DescribedColumn, TableDescription
from tiering.storage.location import Location
from tiering.storage.parquet_file import ParquetFile
from tiering.store.manifest import Manifest
from tiering.store.protocol import Store

#: Labels and splits that cannot be read from the files' paths.
LABELS: Final = "labels.csv"
#: The same with fields. Hugging Face's imagefolder reads it, too.
METADATA: Final = "metadata.parquet"

#: Layouts whose labels and splits can be read from the paths.
_IN_PATHS: Final = ("class folders", "split and class folders", "splits", "flat")

_PATH: Final = "file_name"
_ROWS: Final = 1 << 16


class Table(Protocol):
    """A table that is being written."""

    def add(self, batch: ExportBatch, paths: Sequence[str], values: dict[str, list[str | None]]) -> None:
        """Append samples. paths: of the images' files. values: of the files of fields, by the name of the field."""
        ...


def table_name(manifest: Manifest, fields: ExportedFields) -> str:
    """Return the name of the table that an export to files needs, "" for none."""
    if fields.columns:
        return METADATA
    if manifest.layout in _IN_PATHS and not any(change.action == "relabel" for change in manifest.log):
        return ""
    return METADATA if fields.files else LABELS


@contextmanager
def writing_table(
    name: str, root: Location, manifest: Manifest, fields: ExportedFields, labels: Names
) -> Iterator[Table]:
    """Write a table while the block runs. labels: names the labels and splits of samples."""
    if name == METADATA:
        described, schema = _described(manifest, fields)
        with ParquetFile(root / name, schema, described.metadata, rows=_ROWS, compression="zstd") as file:
            yield _MetadataTable(file, described, schema, fields, labels)
    elif name == LABELS:
        with (
            (root / name).creating() as raw,
            io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="") as text,
        ):
            yield _LabelsTable(text, labels)
    else:
        yield _NoTable()


class Names:
    """Names the labels and the splits of samples."""

    def __init__(self, store: Store) -> None:
        self._index, self._splits, self._classes = store.index, store.manifest.splits, store.manifest.classes

    def labels(self, batch: ExportBatch) -> list[str | None]:
        """Return the name of the class of each sample, None for none."""
        return [self._classes.get(number) for number in self._index.label[batch.rows].tolist()]

    def splits(self, batch: ExportBatch) -> list[str | None]:
        """Return the name of the split of each sample, None for none."""
        return [self._splits[number] if number >= 0 else None for number in self._index.split[batch.rows].tolist()]


class _NoTable:
    def add(self, batch: ExportBatch, paths: Sequence[str], values: dict[str, list[str | None]]) -> None:
        """Append nothing."""


class _LabelsTable:
    def __init__(self, text: io.TextIOWrapper, names: Names) -> None:
        self._table, self._names = csv.writer(text), names
        self._table.writerow(["path", "label", "split"])

    def add(self, batch: ExportBatch, paths: Sequence[str], values: dict[str, list[str | None]]) -> None:  # noqa: ARG002 - of Table
        """Append samples."""
        self._table.writerows(
            [path, label or "", split or ""]
            for path, label, split in zip(paths, self._names.labels(batch), self._names.splits(batch), strict=True)
        )


class _MetadataTable:
    def __init__(
        self,
        file: ParquetFile,
        described: TableDescription,
        schema: dict[str, pl.DataType],
        fields: ExportedFields,
        names: Names,
    ) -> None:
        self._file, self._described, self._schema, self._names = file, described, schema, names
        self._fields = {field.name: field for field in fields.all}

    def add(self, batch: ExportBatch, paths: Sequence[str], values: dict[str, list[str | None]]) -> None:
        """Append samples."""
        columns = [pl.Series(_PATH, paths, pl.String)]
        if self._described.label is not None:
            columns.append(pl.Series(self._described.label, self._names.labels(batch), pl.String))
        if self._described.split is not None:
            columns.append(pl.Series(self._described.split, self._names.splits(batch), pl.String))
        for each in self._described.fields:
            if each.paths:
                columns.append(pl.Series(each.column, values[each.name], pl.String))
            else:
                columns.append(series_of(each.column, self._fields[each.name], batch.fields[each.name]))
        self._file.write(pl.DataFrame(columns))


def _described(manifest: Manifest, fields: ExportedFields) -> tuple[TableDescription, dict[str, pl.DataType]]:
    schema: dict[str, pl.DataType] = {_PATH: pl.String()}
    label = "label" if manifest.labels else None
    split = "split" if manifest.splits else None
    schema |= dict.fromkeys((each for each in (label, split) if each is not None), pl.String())
    found = []
    for field in fields.all:
        placed = any(each.field is field for each in fields.files)
        # Hugging Face loads the images that columns called NAME_file_name name.
        column = f"{field.name}_{_PATH}" if placed and field.kind == "image" else field.name
        while column in schema:
            column += "_"
        schema[column] = pl.String() if placed else type_of(field)
        found.append(
            DescribedColumn(
                column=column, name=field.name, kind=field.kind, dtype=field.dtype if field.kind == "vector" else "",
                suffix=field.suffix, description=field.description, paths=placed,
            )
        )  # fmt: skip
    return TableDescription(image=_PATH, label=label, split=split, fields=tuple(found)), schema
