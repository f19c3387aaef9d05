"""Relabel: gives samples of a finished store the classes, splits and fields of a table. No image is written again."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.arrays import IndexArray, MaskArray
from tiering.errors import DatasetError
from tiering.packing.class_maps import class_map
from tiering.packing.generations import OpenChange, changing
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.key_lookup import NOWHERE, KeyLookup
from tiering.packing.label_columns import NumberedNames
from tiering.packing.listed_fields import FieldsWriter, ListedField
from tiering.packing.new_fields import NewFields
from tiering.sources.fields import place_column
from tiering.sources.labels.classes import LabelsWarning, classes_of
from tiering.sources.labels.numbering import ClassNumbering
from tiering.sources.source import Source
from tiering.sources.tables.table import TableForm, as_images, columns_of, is_table_name, opened_table
from tiering.sources.tables.table_fields import TableField
from tiering.storage.location import Location
from tiering.storage.urls import parent_of
from tiering.store.manifest import Manifest, SourceRecord
from tiering.store.schema import Field
from tiering.text import display, first_few, without_secrets
from tiering.units import counted

#: How many keys to list that the store lacks.
_LISTED: Final = 100
_SHOWN: Final = 10

#: The code of a sample to which the table gives nothing.
_NOTHING: Final = -1


@dataclass(frozen=True, slots=True)
class Relabelled:
    """The result of a relabel.

    Attributes:
        manifest: The manifest of the store. It is the old one if nothing changed.
        rows: Number of rows in the table.
        labels: Number of samples whose class changed.
        splits: Number of samples whose split changed.
        fields: Number of samples with a new value, by name of the field.
        new_classes: Names of classes that the store did not have before.
        new_splits: Names of splits that the store did not have before.
        new_fields: Names of fields that the store did not have before.
        unknown: Number of rows whose key the store lacks.
        unknown_keys: The first hundred of these keys.
        kept: Number of samples that the table does not name. They keep their values.
    """

    manifest: Manifest
    rows: int
    labels: int
    splits: int
    fields: dict[str, int]
    new_classes: list[str]
    new_splits: list[str]
    new_fields: list[str]
    unknown: int
    unknown_keys: list[str]
    kept: int


def relabel(
    store: str | os.PathLike[str],
    table: str | os.PathLike[str],
    *,
    columns: str | Mapping[str, str] | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Relabelled:
    """Give the samples of a store new classes, splits and values of fields by key, as a new generation.

    No image is read or written. Open readers keep the generation that they opened. Samples that the table does not
    name keep their values, and so do those with an empty cell; the class -1 is no class. Names of classes that the
    store lacks become new classes, with numbers after the existing ones. Further columns of the table become fields, as
    tiering.convert takes them; those that the store has already keep their kind. Values in files, such as masks, are
    copied into the store.

    Args:
        store: A finished store, its path or URL.
        table: A table of any format that tiering.convert takes, with a column of keys or paths.
        columns: The table's columns of path, label, split and fields, as for TableSource; by default all of them.
            `"path=image,mask:image=mask_path"` takes masks from the files that a column names.
        root: The directory that the paths of such files are relative to, by default the table's own. Keys are paths
            relative to the dataset.

    Returns:
        What changed, in counts, and the manifest.

    Raises:
        DatasetError: The table names no sample of the store, has no value to set, names a key twice, or names a file
            that is not there.
        StoreError: There is no finished store.
        UsageError: An append to the store is unfinished.

    Example:
        >>> tiering.relabel("photos.lmdb", "corrected.csv").labels  # doctest: +SKIP
        120
    """
    form = TableForm.of(columns, root)
    url = Location.of(table).url
    source = Source(url, "table", form=form)
    with changing(Location.of(store)) as change:
        base, manifest = change.base, change.manifest
        found = _read(source, change)
        names, known = found.label.names.names, class_map(manifest)
        if not known.names_measurements(names):
            classes_of(names, found.where)  # refuses labels that are no classes
        classes, numbers = ClassNumbering(known, grows=True, by_number=False).number(names, found.where)
        splits = [*manifest.splits, *(name for name in found.split.names.names if name not in set(manifest.splits))]
        if len(splits) > np.iinfo(np.int8).max:
            raise DatasetError(
                f"{found.where}, splits",
                rule=f"must be at most {np.iinfo(np.int8).max} different names, with the store's",
                found=f"{len(splits):,}",
            )  # fmt: skip
        label = found.label.values([numbers[name] for name in names], base.index.label)
        split = found.split.values([splits.index(name) for name in found.split.names.names], base.index.split)
        counts = {
            "labels": int(np.count_nonzero(label != base.index.label)),
            "splits": int(np.count_nonzero(split != base.index.split)),
        }
        fields = NewFields(change, source, found.fields, found.row)
        values = sum(fields.counts.values())
        if any(counts.values()) or values:
            kept = KeptSamples(base, label=label.astype(np.int32), split=split.astype(np.int8))
            change.begin("relabel")
            update: dict[str, Any] = {
                "labels": list(classes.names),
                "label_numbers": list(classes.numbers),
                "splits": splits,
            }
            manifest = change.write(
                "relabel", counts | {"values": values}, fields.parts(kept), **update, fields=fields.fields,
                finish=lambda: fields.finished(change.manifest.documents),
            )  # fmt: skip
    before = change.manifest
    return Relabelled(
        manifest=manifest,
        rows=found.rows,
        **counts,
        fields=fields.counts,
        new_classes=[name for name in manifest.labels if name not in set(before.labels)],
        new_splits=manifest.splits[len(before.splits) :],
        new_fields=[field.name for field in manifest.fields[len(before.fields) :]],
        unknown=found.unknown,
        unknown_keys=found.unknown_keys,
        kept=int(np.count_nonzero(found.row == NOWHERE)),
    )


@dataclass(slots=True)
class _NewNames:
    """The class or split that a table gives to each sample: a code for each name, int32 (n,)."""

    names: NumberedNames
    codes: npt.NDArray[np.int32]

    def values(self, numbers: list[int], before: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Return the number of each sample. numbers: of each name. before: the numbers until now."""
        if not numbers:
            return before.astype(np.int32)
        of_code = np.array([*numbers, 0], dtype=np.int32)
        return np.where(self.codes == _NOTHING, before, of_code[self.codes])


@dataclass(slots=True)
class _Values:
    """The values of a table. row: int64 (n,), the row of each sample of the store; NOWHERE if it does not name it."""

    where: str
    label: _NewNames
    split: _NewNames
    row: IndexArray
    fields: list[ListedField] = field(default_factory=list)
    rows: int = 0
    unknown: int = 0
    unknown_keys: list[str] = field(default_factory=list)

    def add(self, frame: pl.DataFrame, found: IndexArray, keys: list[bytes]) -> None:
        """Take some rows. found: int64 (m,), their samples."""
        first, self.rows = self.rows, self.rows + len(frame)
        unknown = np.flatnonzero(found == NOWHERE)
        self.unknown += len(unknown)
        self.unknown_keys += [display(keys[at]) for at in unknown[: _LISTED - len(self.unknown_keys)].tolist()]
        here = np.flatnonzero(found != NOWHERE)
        samples = found[here]
        ordered = np.sort(samples)
        twice = np.concatenate([samples[self.row[samples] != NOWHERE], ordered[1:][ordered[1:] == ordered[:-1]]])
        if len(twice):
            key = keys[here[int(np.flatnonzero(samples == twice[0])[-1])]]
            raise DatasetError(
                self.where, expected="each key once", found=f"{display(key)} twice", action="Remove one of the rows."
            )
        self.row[samples] = first + here
        for name, values in (("label", self.label), ("split", self.split)):
            values.codes[samples] = values.names.number(frame[name].gather(here))


def _read(source: Source, change: OpenChange) -> _Values:
    """Read a table. Takes 40 bytes of memory per sample of the store, and a part of the table at a time."""
    where, base = display(without_secrets(source.url)), change.base
    n = len(base)
    values = _Values(
        where,
        _NewNames(NumberedNames("label", where), np.full(n, _NOTHING, np.int32)),
        _NewNames(NumberedNames("split", where), np.full(n, _NOTHING, np.int32)),
        np.full(n, NOWHERE, dtype=np.int64),
    )
    held = KeyLookup(n, base.index.keys)
    writer = FieldsWriter(Location.of(change.space.scratch / "fields"), source)
    schema = {each.name: each for each in base.manifest.fields}
    with warnings.catch_warnings(), opened_table(source.url, source.form) as table, writer:
        warnings.simplefilter("ignore", LabelsWarning)  # of columns that may hold labels
        fields: list[TableField] | None = None
        for frame in table.batches(_root_of(base.manifest.source)):
            if fields is None:
                fields = [_as_held(each, schema.get(each.found.name), frame, source.base) for each in table.fields]
            keys = frame["key"].cast(pl.Binary).to_list()
            found = held.find(keys)
            values.add(frame, found, keys)
            columns = pl.DataFrame(columns_of(fields, frame, source.base, where))
            _refuse_missing(fields, columns, found != NOWHERE, source)
            writer.append(columns, {each.found.name: each.found for each in fields})
    values.fields = writer.listed(schema)
    if values.rows == values.unknown:
        raise DatasetError(
            where, expected=f"keys of {base.location}",
            found=f"{counted(values.rows, 'row')}, none with such a key ({first_few(values.unknown_keys, _SHOWN)})",
            action="Keys are paths relative to the dataset, as Sample.key has them.",
        )  # fmt: skip
    if not (values.label.names or values.split.names or values.fields):
        raise DatasetError(
            where, found="no column holds labels, splits or fields with values",
            action="Give the columns to use: `columns` path=NAME,label=NAME",
        )  # fmt: skip
    return values


def _as_held(field: TableField, held: Field | None, frame: pl.DataFrame, base: str) -> TableField:
    """Return a field of a table with the kind that its cells have: paths of files, or values.

    held: the field of the store. frame: the first rows. base: the directory of the files.
    """
    if held is None:
        return as_images(field, frame, base)
    # No text is an image or an array.
    return field.in_files(held.kind) if field.guess and held.kind in ("image", "array") else field


def _refuse_missing(fields: Sequence[TableField], columns: pl.DataFrame, there: MaskArray, source: Source) -> None:
    """Raise DatasetError if a table names files that are not there. there: bool (n,), rows that the store has."""
    for name in (each.found.name for each in fields if each.paths):
        key, size = place_column(name, "key"), place_column(name, "size")
        lacking = columns.filter(pl.Series(there) & pl.col(key).is_not_null() & (pl.col(size) < 0))
        if len(lacking):
            keys = [display(each) for each in lacking[key].head(_SHOWN)]
            raise DatasetError(
                f"{display(without_secrets(source.url))}, column of {name}",
                expected=f"files below {display(without_secrets(source.base))}",
                found=f"{counted(len(lacking), 'file')} missing ({first_few(keys, _SHOWN, of=len(lacking))})",
                action="Say which directory the paths are relative to: `root` DIRECTORY",
            )


def _root_of(source: SourceRecord) -> str:
    """Return the directory that absolute paths in a table are relative to."""
    if source.root:
        return source.root
    listed = is_table_name(source.url) or ("://" not in source.url and os.path.isfile(source.url))  # noqa: PTH113
    return parent_of(source.url) if listed else source.url
