"""New values of fields for the samples of a finished store, from the rows of a table and the files that they name.

Numbers become columns of the next index. Other values are written shard by shard, in files of the next generation. A
shard whose samples get no new value keeps its file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c
import numpy as np

from tiering.arrays import AnyArray, IndexArray, row_parts
from tiering.errors import DatasetError
from tiering.packing.documents import write_documents
from tiering.packing.generations import OpenChange
from tiering.packing.joined_fields import array_of, field_documents, lacking
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.key_lookup import NOWHERE
from tiering.packing.listed_fields import ListedField
from tiering.packing.shard_fields import checked_value, checks_of, number_columns, write_run
from tiering.sources.source import Source
from tiering.store.layout import FIELDS, RunPlace, run_name
from tiering.store.manifest import Shard
from tiering.store.schema import CRC, OFFSET, SIZE, VALID, Field, FieldFile
from tiering.text import display

#: Old values to read at a time.
_BATCH: Final = 256

_Columns = dict[str, AnyArray]


@dataclass(frozen=True, slots=True)
class _InShard:
    """The new values of a field in one shard.

    listed: the field of the table. field: its schema in the next generation. held: whether the store has it already.
    samples: int64 (n,), those of the shard, numbered within the store. at: int64 (m,), the samples that get a value,
    numbered within the shard. row: int64 (m,), their rows of the table.
    """

    listed: ListedField
    field: Field
    held: bool
    shard: Shard
    samples: IndexArray
    at: IndexArray
    row: IndexArray


class NewFields:
    """The fields of a store that a table changes, and the columns of its next index.

    change: of the store. source: the table. listed: its fields, by row. row: int64 (n,), the row of each sample.
    """

    def __init__(self, change: OpenChange, source: Source, listed: Sequence[ListedField], row: IndexArray) -> None:
        self._change, self._source, self._row = change, source, row
        held = {field.name: field for field in change.manifest.fields}
        #: Number of samples that get a value, by name of the field.
        self.counts = {each.field.name: _values_for(each, row) for each in listed}
        self._listed = {each.field.name: each for each in listed if self.counts[each.field.name]}
        self._held = set(held)
        self._shards = change.manifest.shards
        new = [
            _new(each, self.counts[name] == len(row), len(self._shards))
            for name, each in self._listed.items()
            if name not in held
        ]
        #: The schema of the next generation, still with the files of this one.
        self.fields = [*change.manifest.fields, *new]
        self._files: dict[str, list[FieldFile | None]] = {field.name: list(field.files) for field in self.fields}
        self._arrays: dict[str, dict[str, Any]] = {}

    def parts(self, kept: KeptSamples) -> Iterator[_Columns]:
        """Yield the rows of the next index. Writes the files of values on the way.

        Raises DatasetError for a value that its field cannot have.
        """
        begin = 0
        for position, shard in enumerate(self._shards):
            samples = np.arange(begin, begin + shard.samples, dtype=np.int64)
            begin += shard.samples
            changed: _Columns = {}
            for name in self._listed:
                changed |= self._in_shard(name, position, samples)
            for part in row_parts(len(samples)):
                yield kept.part(samples[part], self.fields) | {name: data[part] for name, data in changed.items()}

    def finished(self, documents: dict[str, int]) -> dict[str, Any]:
        """Write the documents of the new files. Return the fields of the manifest that differ, after all parts.

        documents: of the store, by name, with their CRC-32C.
        """
        fields = [field.model_copy(update={"files": self._files[field.name]}) for field in self.fields]
        space = self._change.space
        written = write_documents(space.target, field_documents(self._arrays), space.work)
        return {"fields": fields, "documents": documents | written}

    def _in_shard(self, name: str, position: int, samples: IndexArray) -> _Columns:
        """Return the columns of a field for the samples of one shard; none if they do not change."""
        listed, field = self._listed[name], next(each for each in self.fields if each.name == name)
        row = self._row[samples]
        at = np.flatnonzero(row != NOWHERE)
        at = at[listed.columns["size"][row[at]] >= 0]
        if not len(at):
            return {}
        there = _InShard(listed, field, name in self._held, self._shards[position], samples, at, row[at])
        columns = lacking([field], len(samples))
        if there.held:
            index = self._change.base.index.fields
            columns |= {f"{FIELDS}/{each}": index[each][samples] for each in index if f"{FIELDS}/{each}" in columns}
        if not field.numeric:
            return columns | self._run(there, position)
        new = self._numbers(there)
        columns[f"{FIELDS}/{name}"][at] = new
        if field.nullable:
            columns[f"{FIELDS}/{name}{VALID}"][at] = 1
        return columns

    def _numbers(self, there: _InShard) -> AnyArray:
        """Return the new values of a field of numbers, (m, *shape)."""
        bad: dict[int, DatasetError] = {}
        columns = number_columns(there.listed.rows(there.row), self._source, bad)
        if bad:
            first = min(bad)
            raise self._wrong(there, int(there.at[first]), bad[first].found)
        return columns[there.field.name]

    def _run(self, there: _InShard, position: int) -> _Columns:
        """Write the values of a shard, old and new. Returns the columns that tell where they are."""
        name, number = there.field.name, there.shard.number
        generation = self._change.manifest.generation + 1
        size = np.zeros(len(there.samples), dtype=np.int64)
        crc = np.zeros(len(there.samples), dtype=np.uint32)
        offset = np.full(len(there.samples), -1, dtype=np.int64)
        if there.held:
            index = self._change.base.runs[name].index
            rows = there.samples
            size, crc, offset = index.size[rows].copy(), index.crc32c[rows].copy(), index.offset[rows].copy()
        size[there.at], offset[there.at] = there.listed.columns["size"][there.row], 0
        values = np.flatnonzero(offset >= 0)
        planned = int(size[values].sum())
        written = self._values(there, values, crc)
        file: FieldFile | None = None
        if planned:
            place = RunPlace(name, generation, number)
            target, work = self._change.space.target, self._change.space.work
            file, offset[values] = write_run(target, work, place, planned, written)
            self._arrays[run_name(name, number, generation)] = array_of(file)
        else:
            deque(written, maxlen=0)  # only checks them
        self._files[name][position] = file
        return {f"{FIELDS}/{name}{OFFSET}": offset, f"{FIELDS}/{name}{SIZE}": size, f"{FIELDS}/{name}{CRC}": crc}

    def _values(self, there: _InShard, values: IndexArray, crc: AnyArray) -> Iterator[bytes]:
        """Yield the bytes of values, each of which is read once.

        values: int64 (m,), their samples, numbered within the shard. crc: uint32 (n,), gets the CRC-32C of new ones.
        """
        row = np.full(len(there.samples), NOWHERE, dtype=np.int64)
        row[there.at] = there.row
        check = checks_of(there.field)
        for part in row_parts(len(values), _BATCH):
            at = values[part]
            old = at[row[at] == NOWHERE]
            fresh = there.listed.rows(row[at[row[at] != NOWHERE]]).read(self._source)
            kept = iter(self._change.base.runs[there.field.name].read(there.samples[old]) if len(old) else ())
            for sample in at.tolist():
                if row[sample] == NOWHERE:
                    yield bytes(next(kept))
                    continue
                try:
                    value = checked_value(next(fresh), check)
                except DatasetError as error:
                    raise self._wrong(there, sample, f"{there.field.name}: {error.found}") from error
                crc[sample] = google_crc32c.value(value)
                yield value

    def _wrong(self, there: _InShard, sample: int, found: str) -> DatasetError:
        """Return the error for a value that its field cannot have. sample: numbered within the shard."""
        (key,) = self._change.base.index.keys(there.samples[[sample]])
        return DatasetError(
            f"{self._source.url}, {display(key)}", expected=f"a value of kind {there.field.kind}", found=found,
            action="Mend the table, or name the columns to use: `columns` path=NAME,label=NAME",
        )  # fmt: skip


def _values_for(listed: ListedField, row: IndexArray) -> int:
    """Return how many samples get a value. row: int64 (n,), the row of each sample; NOWHERE for none."""
    size = listed.columns["size"]
    there = (row[part][row[part] != NOWHERE] for part in row_parts(len(row)))
    return sum(int(np.count_nonzero(size[rows] >= 0)) for rows in there)


def _new(listed: ListedField, complete: bool, shards: int) -> Field:
    """Return the schema of a field that the store does not have yet. complete: whether all samples get a value."""
    files: list[FieldFile | None] = [] if listed.field.numeric else [None] * shards
    return listed.field.model_copy(update={"nullable": not complete, "files": files})
