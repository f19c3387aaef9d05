"""Export to Parquet as Hugging Face's datasets write it: images as bytes and path, labels as numbers with names.

`datasets.load_dataset` takes the features from the metadata "huggingface", and the split from the name of the file.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

import numpy as np
import polars as pl

from tiering.errors import StoreError
from tiering.images.encoding import extension_for
from tiering.packing.exports.batches import ExportBatch, checked_batches, sizes_of
from tiering.packing.exports.columns import IMAGE, images_of, number_type, series_of, type_of
from tiering.packing.exports.fields import exported_fields
from tiering.packing.exports.names import Extensions, check_each, check_text, name_of, names_of
from tiering.packing.exports.shards import ExportShard, planned_shards
from tiering.packing.exports.tables import Names
from tiering.progress import Progress
from tiering.sources.described_columns import DescribedColumn, TableDescription
from tiering.sources.records.parquet_images import PATH_OF
from tiering.storage.location import Location
from tiering.storage.parquet_file import ParquetFile
from tiering.store.protocol import Store, shape_of
from tiering.store.schema import Field

#: The most bytes and rows of a row group. Readers hold one of them in memory.
_GROUP_BYTES: Final = 32 << 20
_GROUP_ROWS: Final = 50_000

#: Where Hugging Face's hub keeps the files, so that any split has a name there.
_FOLDER: Final = "data"

_IMAGE: Final = "image"
_LABEL: Final = "label"

#: Types of numbers as Hugging Face names them.
_DTYPES: Final[dict[pl.DataType, str]] = {
    pl.Int8(): "int8", pl.Int16(): "int16", pl.Int32(): "int32", pl.Int64(): "int64", pl.UInt8(): "uint8",
    pl.UInt16(): "uint16", pl.UInt32(): "uint32", pl.UInt64(): "uint64", pl.Float32(): "float32",
    pl.Float64(): "float64",
}  # fmt: skip


class ParquetExport:
    """A store that becomes Parquet files."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fields = list(exported_fields(store.fields, store.location).all)
        self._names = Names(store)
        numbers = list(store.manifest.classes)
        #: ClassLabel numbers its classes without gaps. Otherwise the column holds their names.
        self._numbered = numbers == list(range(len(numbers)))
        #: A store that was made from such a file keeps the images' paths in a field.
        self._path = next((field for field in self._fields if field.description.startswith(PATH_OF)), None)
        self._image = self._path.description.removeprefix(PATH_OF) if self._path else _IMAGE
        self._columns = [field for field in self._fields if field is not self._path]
        if self._image in {_LABEL, *(field.name for field in self._columns)}:
            self._image = _IMAGE

    def check(self) -> None:
        """Raise StoreError for keys that are no text, and for pixels that no format of images holds."""
        shape = shape_of(self._store.manifest)
        if shape is not None and extension_for(shape) != b".png":
            raise StoreError(
                str(self._store.location), expected="images, or pixels that PNG can hold",
                found=f"{shape.channels} channels of {shape.dtype}", action="Export them as files, or to WebDataset.",
            )  # fmt: skip
        for names in names_of(self._store):
            check_each(self._store, names)
        check_text(self._store, "Parquet")

    def write(self, root: Location, progress: Progress) -> None:
        """Write all Parquet files into a directory."""
        store = self._store
        done = size = 0
        for shard in planned_shards(store, self._fields, 1, word="train", rest="rest"):
            name = f"{_FOLDER}/{shard.word}-{shard.number:05d}-of-{shard.of:05d}.parquet"
            rows = _group_rows(store, self._fields, shard)
            metadata = self._described(shard.split).metadata | {"huggingface": json.dumps(self._features())}
            with ParquetFile(
                root / name, self._schema(), metadata, rows=rows, compression="snappy", plain=True
            ) as file:
                for batch in checked_batches(store, self._fields, shard.parts(store)):
                    file.write(self._frame(batch))
                    done += len(batch.keys)
                    size += int(sizes_of(store, self._fields, batch.rows).sum())
                    progress(done, len(store), size)

    def _frame(self, batch: ExportBatch) -> pl.DataFrame:
        extensions = Extensions.of(self._store.manifest)
        paths: list[str | None] = [os.fsdecode(name_of(key, extensions)) for key in batch.keys]
        if self._path is not None:
            values = batch.fields[self._path.name]
            paths = [None if (path := values[at]) is None else bytes(path).decode() for at in range(len(batch.keys))]
        columns = [images_of(self._image, batch.images, paths)]
        if self._store.manifest.labels:
            if self._numbered:
                columns.append(pl.Series(_LABEL, self._store.index.label[batch.rows].astype(np.int64)))
            else:
                columns.append(pl.Series(_LABEL, self._names.labels(batch), pl.String))
        columns += [series_of(field.name, field, batch.fields[field.name]) for field in self._columns]
        return pl.DataFrame(columns)

    def _schema(self) -> dict[str, pl.DataType]:
        labels = {_LABEL: pl.Int64() if self._numbered else pl.String()} if self._store.manifest.labels else {}
        return {self._image: IMAGE, **labels, **{field.name: type_of(field) for field in self._columns}}

    def _features(self) -> dict[str, Any]:
        """Return the columns as Hugging Face describes them."""
        names = self._store.manifest.labels
        label = {"names": names, "_type": "ClassLabel"} if self._numbered else _value("string")
        features = {self._image: {"_type": "Image"}} | ({_LABEL: label} if names else {})
        return {"info": {"features": features | {field.name: _feature(field) for field in self._columns}}}

    def _described(self, split: int) -> TableDescription:
        fields = tuple(
            DescribedColumn(
                column=field.name, name=field.name, kind=field.kind,
                dtype=field.dtype if field.kind == "vector" else "", suffix=field.suffix, description=field.description,
            )
            for field in self._columns
        )  # fmt: skip
        return TableDescription(
            image=self._image, label=_LABEL if self._store.manifest.labels else None, fields=fields,
            whole_split=self._store.manifest.splits[split] if split >= 0 else "",
        )  # fmt: skip


def _feature(field: Field) -> dict[str, Any]:
    if not field.numeric:
        if field.kind == "image":
            return {"_type": "Image"}
        return _value("string" if field.kind in ("string", "json") else "binary")
    feature = _value(_DTYPES[number_type(field.dtype)])
    # datasets ignores a feature whose type in Arrow is not that of the file, so vectors are lists, not arrays.
    for _ in field.shape:
        feature = {"feature": feature, "_type": "Sequence"}
    return feature


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _group_rows(store: Store, fields: list[Field], shard: ExportShard) -> int:
    """Return how many rows of a file make groups of at most _GROUP_BYTES, at least one."""
    parts = [sizes_of(store, fields, rows) for rows in shard.parts(store)]
    ends = np.concatenate([[0], np.cumsum(np.concatenate(parts))])
    rows = min(_GROUP_ROWS, len(ends) - 1)
    while rows > 1:
        starts = ends[::rows]
        if int(np.diff(np.append(starts, ends[-1])).max()) <= _GROUP_BYTES:
            break
        rows = -(-rows // 2)
    return max(1, rows)
