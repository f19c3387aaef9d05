"""Export to files: the images with their original names, fields in files beside them, and the rest in a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

from tiering.arrays import row_parts
from tiering.packing.exports.batches import ExportBatch, checked_batches
from tiering.packing.exports.fields import exported_fields, file_of
from tiering.packing.exports.names import (
    Extensions,
    are_distinct,
    base_of,
    check_each,
    check_names,
    check_text,
    clash,
    find_twin,
    name_of,
    names_of,
)
from tiering.packing.exports.tables import METADATA, Names, table_name, writing_table
from tiering.progress import Progress
from tiering.storage.location import Location
from tiering.store.protocol import Store

#: More bytes than the extension of an image has, for a suffix that its contents decide.
_EXTENSION: Final = 6


class FolderExport:
    """A store that becomes files."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fields = exported_fields(store.fields, store.location)
        self._table = table_name(store.manifest, self._fields)
        #: Whether the files of fields continue the whole name of the image: several images differ in their extensions.
        self._whole = False

    def check(self) -> None:
        """Raise StoreError for samples that cannot become files. Takes 9 bytes of memory per sample."""
        check_names(self._store, self._table)
        if self._table == METADATA:
            check_text(self._store, METADATA)
        if self._fields.files:
            longest = max(len(each.suffix.encode()) + _EXTENSION * each.by_content for each in self._fields.files)
            self._whole = not are_distinct(self._bases(), len(self._store))
            for bases in self._bases():
                check_each(self._store, (base + b"." + b"x" * longest for base in bases if len(base) + longest > 254))

    def write(self, root: Location, progress: Progress) -> None:
        """Write all files below a directory."""
        store = self._store
        done = size = 0
        batches = checked_batches(store, self._fields.all, row_parts(len(store)))
        with writing_table(self._table, root, store.manifest, self._fields, Names(store)) as table:
            for batch in batches:
                paths: list[str] = []
                values: dict[str, list[str | None]] = {each.field.name: [] for each in self._fields.files}
                for at, name in enumerate(self._names(batch.keys)):
                    size += self._create(root, name, batch.images[at])
                    paths.append(os.fsdecode(name))
                    for field, path, data in self._files(batch, at, name):
                        values[field].append(None if path is None else os.fsdecode(path))
                        size += self._create(root, path, data) if path is not None else 0
                    done += 1
                    progress(done, len(store), size)
                table.add(batch, paths, values)

    def _files(self, batch: ExportBatch, at: int, name: bytes) -> Iterator[tuple[str, bytes | None, bytes]]:
        """Yield name, path and contents of each field that becomes a file; no path if there is no value."""
        base = base_of(name, whole=self._whole)
        for each in self._fields.files:
            value = batch.fields[each.field.name][at]
            if value is None:
                yield each.field.name, None, b""
            else:
                data = file_of(each.field, value)
                yield each.field.name, base + b"." + each.suffix_of(data).encode(), data

    def _create(self, root: Location, name: bytes, data: bytes) -> int:
        try:
            (root / os.fsdecode(name)).create(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            twin = find_twin(self._all_names(), name) or b"something"
            raise clash(self._store, [name, twin], "one file on this file system") from error
        return len(data)

    def _names(self, keys: Sequence[bytes]) -> list[bytes]:
        extensions = Extensions.of(self._store.manifest)
        return [name_of(key, extensions) for key in keys]

    def _bases(self) -> Iterator[list[bytes]]:
        for names in names_of(self._store):
            yield [base_of(name, whole=self._whole) for name in names]

    def _all_names(self) -> Iterator[list[bytes]]:
        suffixes = [each.suffix.encode() for each in self._fields.files if not each.by_content]
        yield from names_of(self._store, self._table)
        for bases in self._bases():
            yield [base + b"." + suffix for base in bases for suffix in suffixes]
