"""Pack samples of a store again, as a new shard of it: their images, and the runs of their fields.

A worker packs one shard per task and leaves a receipt of it, as in a conversion.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import google_crc32c
import numpy as np

from tiering.arrays import AnyArray, IndexArray, row_parts
from tiering.errors import StoreError, command, from_os_error
from tiering.packing.changing import shard_of
from tiering.packing.executors import end_if_unwanted
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.receipts import Receipt, receipt_location, write_receipt
from tiering.packing.shard import PackedShard, write_images
from tiering.packing.shard_fields import write_run
from tiering.storage.location import Location
from tiering.store.layout import FIELDS, RunPlace
from tiering.store.manifest import Shard, read_manifest
from tiering.store.open import open_packed
from tiering.store.protocol import Store
from tiering.store.schema import OFFSET, Field, FieldFile
from tiering.store.settings import Settings
from tiering.text import display

#: Samples to read at a time.
_BATCH: Final = 64

#: The store that this process packs from, by URL and version of its manifest: a worker opens it once for all its tasks.
_opened: Final[dict[tuple[str, str], Store]] = {}


@dataclass(frozen=True, slots=True)
class RepackTask:
    """Everything a worker needs to pack samples of a store again.

    target: the store. work: directory for temporary files and receipts. version: of the store's manifest. plan: digest
    of the purge. number: of the new shard. rows: its samples, int64 (n,), ascending.
    """

    target: Location
    work: Location
    version: str
    plan: str
    number: int
    rows: IndexArray


@contextmanager
def opened_here(store: Store, version: str) -> Iterator[None]:
    """Let tasks that run in this process use a store that is already open. version: of its manifest."""
    _opened[store.location.url, version] = store
    try:
        yield
    finally:
        _opened.clear()


def repack_shard(task: RepackTask) -> PackedShard:
    """Pack samples of the last generation as a new shard, and leave a receipt of it.

    Raises StoreError for a damaged sample or value, so that it never gets a new CRC-32C.
    """
    try:
        base = _base_of(task)
        settings = base.manifest.settings
        assert settings is not None  # noqa: S101 - for the type checker: only packed stores are changed
        shard, offset = _images(task, base, settings)
        fields, places = _fields(task, base)
        columns = KeptSamples(base).part(task.rows, base.manifest.fields) | places | {"offset": offset}
        write_receipt(receipt_location(task.work, task.number), Receipt(task.plan, shard, columns, [], fields))
    except OSError as error:
        raise from_os_error(error, task.target) from error
    return PackedShard(task.number, shard.samples, int(columns["size"].sum()))


def _base_of(task: RepackTask) -> Store:
    key = task.target.url, task.version
    if key not in _opened:
        _opened.clear()
        _opened[key] = open_packed(task.target, read_manifest(task.target))
    return _opened[key]


def _images(task: RepackTask, base: Store, settings: Settings) -> tuple[Shard, IndexArray]:
    """Write the shard. Returns its entry for the manifest, and where each sample begins."""
    name, rows = shard_of(base.manifest, task.number), task.rows
    kind = base.manifest.kind
    assert kind != "folder"  # noqa: S101 - for the type checker: only packed stores are changed
    place, sound = task.target / name, _sound(base, rows)
    offset, size, crc = write_images(place, task.work, kind, settings, sound, task.number)
    # All samples of a task are from one shard.
    ends = np.cumsum([shard.samples for shard in base.manifest.shards])
    encoder = base.manifest.shards[int(np.searchsorted(ends, rows[0], side="right"))].encoder
    return Shard(name=name, samples=len(rows), bytes=size, crc32c=crc, encoder=encoder), offset


def _fields(task: RepackTask, base: Store) -> tuple[list[Field], dict[str, AnyArray]]:
    """Write the runs of fields. Returns the schema with the files of the shard, and where each value begins."""
    places: dict[str, AnyArray] = {}
    fields = []
    for field in base.manifest.fields:
        files: list[FieldFile | None] = []
        if not field.numeric:
            run = base.runs[field.name]
            began = run.index.offset[task.rows].copy()
            there = np.flatnonzero(began >= 0)
            planned = int(run.index.size[task.rows].sum())
            files.append(None)
            if planned:
                place = RunPlace(field.name, base.manifest.generation + 1, task.number)
                values = _sound(run, task.rows[there])
                files[0], began[there] = write_run(task.target, task.work, place, planned, values)
            places[f"{FIELDS}/{field.name}{OFFSET}"] = began
        fields.append(field.model_copy(update={"files": files}))
    return fields, places


def _sound(store: Store, rows: IndexArray) -> Iterator[bytes]:
    """Yield the bytes of samples, or of values of a field. store: the samples, or the runs of the field."""
    for part in row_parts(len(rows), _BATCH):
        end_if_unwanted()
        for row, image in zip(rows[part].tolist(), store.read(rows[part]), strict=True):
            data = bytes(image) if isinstance(image, bytes | memoryview) else image.tobytes()
            if google_crc32c.value(data) != store.index.crc32c[row]:
                key = display(store.index.keys(np.array([row]))[0])
                raise StoreError(
                    f"{store.location}: sample {row:,} ({key})", expected="bytes with the CRC-32C of the index",
                    found="other bytes",
                    action="Nothing was changed. Repair the store first: "
                    + command("tiering", "repair", store.location, "--source", "DATASET"),
                )  # fmt: skip
            yield data
