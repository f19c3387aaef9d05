"""Adds fields to a packed store as its format describes them, for tests of what reads fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from tiering.packing.shard_fields import run_settings
from tiering.storage.location import Location
from tiering.store import zarr
from tiering.store.index import column_location
from tiering.store.layout import MANIFEST, run_file
from tiering.store.manifest import encode_manifest, read_manifest
from tiering.store.schema import CRC, OFFSET, SIZE, VALID, Field, FieldFile


def add_fields(store: Path, values: Mapping[str, Sequence[Any]]) -> None:
    """Write further fields into a store.

    values: by name, one for each sample in the order of the store: numbers, lists of numbers, texts or bytes; None for
    a sample without a value.
    """
    root = Location.of(store)
    manifest = read_manifest(root)
    fields, columns = list(manifest.fields), dict(manifest.columns)
    for name, each in values.items():
        field, written = _number(name, each) if _is_number(each) else _run(root, name, each, manifest.shards)
        fields.append(field)
        for column, data in written.items():
            path = Path(column_location(root / manifest.index, f"fields/{column}").url)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.tobytes())
            columns[f"fields/{column}"] = google_crc32c.value(data.tobytes())
    changed = manifest.model_copy(update={"fields": fields, "columns": columns})
    (store / MANIFEST).write_bytes(encode_manifest(changed))


def _is_number(values: Sequence[Any]) -> bool:
    return not any(isinstance(each, str | bytes) for each in values)


def _number(name: str, values: Sequence[Any]) -> tuple[Field, dict[str, Any]]:
    there = [each for each in values if each is not None]
    found = np.array(there)
    kind = "vector" if found.ndim > 1 else "integer" if found.dtype.kind in "iu" else "float"
    column = np.zeros((len(values), *found.shape[1:]), dtype="<i8" if found.dtype.kind in "iu" else "<f8")
    valid = np.array([each is not None for each in values])
    column[valid] = found
    nullable = not valid.all()
    field = Field(name=name, kind=kind, dtype=column.dtype.str, shape=list(found.shape[1:]), nullable=nullable)
    return field, {name: column} | ({name + VALID: valid.astype(np.uint8)} if nullable else {})


def _run(root: Location, name: str, values: Sequence[Any], shards: Sequence[Any]) -> tuple[Field, dict[str, Any]]:
    is_text = any(isinstance(each, str) for each in values)
    encoded = [each.encode() if isinstance(each, str) else each for each in values]
    offset = np.full(len(encoded), -1, dtype=np.int64)
    files: list[FieldFile | None] = []
    begin = 0
    for number, shard in enumerate(shards):
        there = [at for at in range(begin, begin + shard.samples) if encoded[at] is not None]
        begin += shard.samples
        offset[there] = 0
        if not (size := sum(len(encoded[at]) for at in there)):
            files.append(None)
            continue
        settings = run_settings(size)
        path = Path((root / run_file(name, number, 1)).url)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            offset[there] = zarr.write_shard(file, (encoded[at] for at in there), settings, 0)
        data = path.read_bytes()
        chunks = settings.shard_bytes // settings.chunk_bytes
        files.append(
            FieldFile(
                generation=1, bytes=len(data), crc32c=google_crc32c.value(data), chunk_bytes=settings.chunk_bytes,
                chunks=chunks,
            )
        )  # fmt: skip
    field = Field(name=name, kind="string" if is_text else "bytes", nullable=None in encoded, files=files)
    sizes = np.array([len(each or b"") for each in encoded], dtype=np.int64)
    crcs = np.array([google_crc32c.value(each or b"") for each in encoded], dtype=np.uint32)
    return field, {name + OFFSET: offset, name + SIZE: sizes, name + CRC: crcs}
