"""Export to tar files in WebDataset's layout: the members of a sample follow each other, with one name up to the dot.

000.jpg is the image, 000.cls the number of its class, 000.mask.png the field with the suffix mask.png, and 000.json an
object with the fields that have no suffix. The same samples give the same bytes: members have no time and no owner.
"""

from __future__ import annotations

import json
import math
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

import numpy as np

from tiering.errors import StoreError
from tiering.images.formats import is_image_name
from tiering.packing.exports.batches import ExportBatch, checked_batches
from tiering.packing.exports.fields import exported_fields, extension_of_image, file_of
from tiering.packing.exports.names import Extensions, are_distinct, base_of, check_each, name_of, names_of
from tiering.packing.exports.shards import planned_shards
from tiering.progress import Progress
from tiering.storage.location import Location
from tiering.store.manifest import Manifest
from tiering.store.protocol import Store
from tiering.store.schema import Field

#: The names of the classes by their numbers.
CLASSES: Final = "classes.json"

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_BLOCK: Final = 512
#: tar fills files up to a multiple of this.
_RECORD: Final = 20 * _BLOCK
#: What a member takes beside its bytes: a header, and on average half a block.
_MEMBER: Final = 768

#: As Protocol Buffers write numbers that JSON does not have.
_NOT_FINITE: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}


class WebDatasetExport:
    """A store that becomes tar files."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._label = _label_text(store.manifest)
        self._fields = exported_fields(store.fields, store.location, ["cls"] if self._label else [])
        used = {each.suffix.casefold() for each in self._fields.files}
        self._json = next(each for each in ("json", "fields.json", "table_fields.json") if each not in used)
        #: Whether the whole name of an image, and not only the part before its extension, names the sample.
        self._whole = False

    def check(self) -> None:
        """Raise StoreError for samples that would have one name. Takes 8 bytes of memory per sample."""
        for names in names_of(self._store):
            check_each(self._store, names)
        for self._whole in (False, True):
            if are_distinct(self._bases(), len(self._store)):
                return
        raise StoreError(
            str(self._store.location), expected="samples whose names differ in more than dots, for WebDataset",
            found="samples of the same name", action="Export them as files, or to Parquet.",
        )  # fmt: skip

    def write(self, root: Location, progress: Progress) -> None:
        """Write all tar files into a directory."""
        store = self._store
        done = size = 0
        members = 2 + len(self._fields.files) + bool(self._fields.columns)
        for shard in planned_shards(store, self._fields.all, members * _MEMBER, word="samples", rest="samples"):
            with (root / f"{shard.word}-{shard.number:06d}.tar").creating() as file:
                for batch in checked_batches(store, self._fields.all, shard.parts(store)):
                    for at in range(len(batch.keys)):
                        for name, data in self._members(batch, at):
                            _add(file, name, data)
                            size += len(data)
                        done += 1
                        progress(done, len(store), size)
                file.write(b"\0" * (2 * _BLOCK))
                file.write(b"\0" * (-file.tell() % _RECORD))
        if self._label is not None and not _are_numbers(store.manifest):
            classes = {str(number): name for number, name in store.manifest.classes.items()}
            (root / CLASSES).create(json.dumps(classes, ensure_ascii=False, indent=1).encode("utf-8", "replace"))

    def _members(self, batch: ExportBatch, at: int) -> Iterator[tuple[bytes, bytes]]:
        image = batch.images[at]
        name = self._image_name(batch.keys[at])
        base = _plain(base_of(name, whole=self._whole))
        yield base + b"." + _extension(name, image), image
        if self._label is not None:
            number = int(self._store.index.label[batch.rows[at]])
            if number >= 0:
                yield base + b".cls", self._label(number).encode()
        for each in self._fields.files:
            value = batch.fields[each.field.name][at]
            if value is not None:
                data = file_of(each.field, value)
                yield base + b"." + each.suffix_of(data).encode(), data
        if self._fields.columns:
            texts = (
                f"{json.dumps(field.name)}: {_json_text(field, batch.fields[field.name][at])}"
                for field in self._fields.columns
            )
            yield base + b"." + self._json.encode(), f"{{{', '.join(texts)}}}".encode()

    def _image_name(self, key: bytes) -> bytes:
        return name_of(key, Extensions.of(self._store.manifest))

    def _bases(self) -> Iterator[list[bytes]]:
        for names in names_of(self._store):
            yield [_plain(base_of(name, whole=self._whole)) for name in names]


def _plain(base: bytes) -> bytes:
    """Return a name without dots, since WebDataset lets a name end at its first dot."""
    folder, slash, last = base.rpartition(b"/")
    return folder + slash + last.replace(b".", b"_")


def _extension(name: bytes, image: bytes) -> bytes:
    """Return the extension of an image: that of its name, or one by its content if that is no image's."""
    found = os.fsencode(extension_of_image(image))
    if not is_image_name(name) and found != b"bin":
        return found
    _, dot, own = name.rpartition(b"/")[2].rpartition(b".")
    return own if dot else found


def _label_text(manifest: Manifest) -> Callable[[int], str] | None:
    """Return the contents of a .cls member by the number of a class; None if there are no classes.

    WebDataset reads them as integers, so they are names only where all of these are integers.
    """
    if not manifest.labels:
        return None
    classes = manifest.classes
    return classes.__getitem__ if _are_numbers(manifest) else str


def _are_numbers(manifest: Manifest) -> bool:
    return all(_INTEGER.fullmatch(name) for name in manifest.labels)


def _json_text(field: Field, value: Any) -> str:
    """Return a value as JSON. A JSON document stays as it is."""
    if value is None:
        return "null"
    if field.kind == "json":
        return bytes(value).decode()
    if field.kind == "string":
        return json.dumps(bytes(value).decode(), ensure_ascii=False)
    return json.dumps(_finite(np.asarray(value).tolist()))


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return _NOT_FINITE.get(value, "NaN")
    return value


def _add(file: BinaryIO, name: bytes, data: bytes) -> None:
    """Append a member to a tar file. tarfile's own addfile takes twice as long for small members."""
    member = tarfile.TarInfo(os.fsdecode(name))
    member.size, member.mode = len(data), 0o644
    file.write(member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    file.write(data)
    file.write(b"\0" * (-len(data) % _BLOCK))
