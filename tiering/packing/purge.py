"""Purge: packs shards again without the samples that are to be gone.

A new shard gets a number that no shard of the store had before, so no file changes while a reader has it mapped. That
holds for Zarr stores too: the new chunk follows the last one, and the old one is missing, which the format allows. The
old files are deleted after the manifest was replaced. Workers pack the shards and leave receipts, from which a purge
that was killed goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from tiering.arrays import AnyArray, IndexArray
from tiering.errors import StoreError
from tiering.packing.changing import PURGING
from tiering.packing.documents import write_documents
from tiering.packing.earlier_generations import alive, earlier_manifests
from tiering.packing.executors import Workers, opener, run_tasks, tasks_ahead
from tiering.packing.generations import OpenChange
from tiering.packing.joined_fields import JoinedFields
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.receipts import Receipt
from tiering.packing.repack import RepackTask, opened_here, repack_shard
from tiering.packing.shard import packing_seconds
from tiering.packing.wanted_keys import WantedKeys
from tiering.progress import Progress
from tiering.storage.location import Location
from tiering.store.columns import map_column
from tiering.store.index import COLUMNS, Index, column_location, open_index
from tiering.store.layout import index_generation, index_name, run_place
from tiering.store.manifest import Manifest
from tiering.store.protocol import Store
from tiering.store.schema import Field
from tiering.store.zarr import array_documents


def concerned_shards(base: Store, kept: KeptSamples, wanted: WantedKeys, *, everything: bool) -> list[int]:
    """Return the positions of the shards that hold samples to purge, in this generation or in an earlier one.

    kept: the samples of the last generation that stay. everything: purge all samples that were removed before.
    """
    shards = base.manifest.shards
    if everything:
        return [at for at, shard in enumerate(shards) if shard.removed]
    names = {before.name for before, after in zip(shards, kept.shards, strict=True) if after.removed > before.removed}
    location = base.location
    for manifest in earlier_manifests(base):
        index = open_index(location / manifest.index, manifest.samples, manifest.columns)
        rows = np.flatnonzero(wanted.among(index))
        ends = np.cumsum([shard.samples for shard in manifest.shards])
        names |= {manifest.shards[at].name for at in np.unique(np.searchsorted(ends, rows, side="right")).tolist()}
    if any(wanted.among(index).any() for index in _unnamed_indexes(base)):
        # These do not tell which shard a sample is in, only that it is one from which samples were removed.
        names |= {shard.name for shard in shards if shard.removed}
    return [at for at, shard in enumerate(shards) if shard.name in names]


def ended_generations(base: Store, concerned: Sequence[int]) -> list[int]:
    """Return the generations that name one of these shards, the last one included."""
    if not concerned:
        return []
    gone = {base.manifest.shards[at].name for at in concerned}
    return [
        *(each.generation for each in earlier_manifests(base) if gone & {shard.name for shard in each.shards}),
        base.manifest.generation,
    ]


def purge_shards(
    change: OpenChange,
    kept: KeptSamples,
    concerned: Sequence[int],
    ended: Sequence[int],
    update: Callable[[], Mapping[str, Any]],
    workers: Workers,
    progress: Progress,
) -> tuple[Manifest, int, list[str]]:
    """Pack the kept samples of some shards again, and write the next generation, which names the new shards instead.

    If the same purge was killed or interrupted, it goes on with the shards that are finished.
    concerned: positions of the shards. ended: the generations that end. update: returns further fields of the
    manifest; called when the change has begun.
    Returns the manifest, how many samples are gone, and the names of the new shards. The old files are still there.
    """
    base, manifest = change.base, change.manifest
    settings = manifest.settings
    assert settings is not None  # noqa: S101 - for the type checker: changing() opens packed stores only
    there = np.ones(len(base), dtype=bool) if kept.there is None else kept.there.copy()
    ends = np.cumsum([shard.samples for shard in manifest.shards])
    to_pack: list[IndexArray] = []
    for at in concerned:
        rows = np.arange(int(ends[at]) - manifest.shards[at].samples, int(ends[at]), dtype=np.int64)
        if there[rows].any():
            to_pack.append(rows[there[rows]])
        there[rows] = False
    plan = _digest(change.version, concerned, to_pack)
    change.begin("purge", shards=len(to_pack), plan=plan)
    further = update()
    packed = _pack_again(change, to_pack, plan, workers, progress)
    others = KeptSamples(base, there)
    shards = [shard for at, shard in enumerate(others.shards) if at not in set(concerned)]
    joined = JoinedFields(_fields_without(manifest, concerned))
    made: list[str] = []
    for receipt in packed():
        joined.add(receipt)
        shards.append(receipt.shard)
        made.append(receipt.shard.name)

    def parts() -> Iterator[Mapping[str, AnyArray]]:
        yield from others.parts(manifest.fields)
        for receipt in packed():
            yield receipt.columns

    documents = joined.documents
    if made and manifest.kind == "zarr":
        documents |= array_documents(settings, shards)
    held = further.get("documents", manifest.documents)
    known = _documents_left(manifest, held, {shard.number for shard in shards}, ended)
    known |= write_documents(change.space.target, documents, change.space.work)
    total = sum(map(len, to_pack))
    gone = sum(manifest.shards[at].packed for at in concerned) - total
    changed = {
        "shards": shards, "fields": joined.joined, "documents": known, "next_shard": manifest.new_shard + len(made)
    }  # fmt: skip
    counts = {"purged": gone, "packed again": total}
    written = change.write("purge", counts, parts(), ended=ended, **{**further, **changed})
    return written, gone, made


def _digest(version: str, concerned: Sequence[int], to_pack: Sequence[IndexArray]) -> str:
    """Return the digest of a purge's plan: of the generation that it changes, and of the samples in each new shard."""
    digest = hashlib.sha256(json.dumps([version, list(concerned), list(map(len, to_pack))]).encode())
    for rows in to_pack:
        digest.update(rows.tobytes())
    return digest.hexdigest()


def _pack_again(
    change: OpenChange, to_pack: Sequence[IndexArray], plan: str, workers: Workers, progress: Progress
) -> Callable[[], Iterator[Receipt]]:
    """Pack the shards that have no receipt yet. Returns a function that yields all receipts in order.

    to_pack: the samples of each new shard.
    """
    work, first = change.space.work / PURGING, change.manifest.new_shard
    notes = replace(change.space, work=work)
    size = change.base.index.size
    tasks = [
        RepackTask(change.space.target, work, change.version, plan, number, rows)
        for number, rows in enumerate(to_pack, first)
    ]
    for name in work.names():
        if name.endswith(".tmp"):
            (work / name).remove()  # of a purge that was killed
    missing = [task for task in tasks if notes.receipt(task.number, plan) is None]
    total, left = sum(map(len, to_pack)), sum(len(task.rows) for task in missing)
    bytes_left = sum(int(size[task.rows].sum()) for task in missing)
    done, packed = total - left, sum(int(size[rows].sum()) for rows in to_pack) - bytes_left
    progress(done, total, packed)
    if missing:
        make = opener(workers, len(missing), packing_seconds(left, bytes_left, decoded=False), decoded=False)
        run = run_tasks(make, repack_shard, missing, ahead=tasks_ahead(workers))
        with opened_here(change.base, change.version), closing(run):
            for each in run:
                done, packed = done + each.samples, packed + each.size
                progress(done, total, packed)
    return lambda: notes.receipts((task.number for task in tasks), plan)


def _fields_without(manifest: Manifest, concerned: Sequence[int]) -> list[Field]:
    """Return the fields of a store without the files of some shards."""
    gone = set(concerned)
    return [
        field.model_copy(update={"files": [file for at, file in enumerate(field.files) if at not in gone]})
        for field in manifest.fields
    ]


def _documents_left(
    manifest: Manifest, documents: Mapping[str, int], shards: set[int], ended: Sequence[int]
) -> dict[str, int]:
    """Return the documents of a store without those of the indexes and the runs that go.

    shards: the numbers of the shards that stay.
    """
    there = alive(manifest) - set(ended)

    def stays(name: str) -> bool:
        of, run = index_generation(name), run_place(name)
        return (of is None or of in there) and (run is None or run.number in {-1, *shards})

    return {name: crc for name, crc in documents.items() if stays(name)}


def _unnamed_indexes(base: Store) -> Iterator[Index]:
    """Yield the indexes of generations whose manifests are not kept, because tiering up to 0.1 wrote them."""
    location, there = base.location, alive(base.manifest)
    numbers = {of for name in location.names() if (of := index_generation(name)) is not None}
    for generation in sorted(numbers - there):
        if generation < base.manifest.generation:
            with suppress(StoreError):  # only some of its columns are left
                yield _keys_of(location / index_name(generation))


def _keys_of(index: Location) -> Index:
    columns: dict[str, AnyArray] = {name: map_column(column_location(index, name), COLUMNS[name]) for name in COLUMNS}
    return Index(
        label=columns["label"], split=columns["split"], size=columns["size"], key=columns["key"],
        key_end=columns["key_end"],
    )  # fmt: skip
