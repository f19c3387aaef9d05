"""Verify a store against its manifest and its source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from tiering.arrays import IndexArray, row_parts
from tiering.errors import StoreError, UsageError, command
from tiering.packing.changing import unfinished_change
from tiering.packing.decoding_check import Decoding
from tiering.packing.earlier_generations import generation_problems
from tiering.packing.problems import Problems
from tiering.packing.sample_check import check_samples
from tiering.packing.source_comparison import Comparison
from tiering.packing.verification import Verification
from tiering.packing.verify_selection import verify_selection
from tiering.packing.workspace import unfinished_append
from tiering.progress import Progress, no_progress
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory
from tiering.store.columns import sound_bytes, sound_file
from tiering.store.index import column_location
from tiering.store.layout import MANIFEST, REWRITTEN, foreign_files, is_left_out
from tiering.store.lmdb_format import OURS, format_of
from tiering.store.lmdb_walk import Walker
from tiering.store.manifest import Shard
from tiering.store.open import open_damaged
from tiering.store.protocol import Store
from tiering.store.selection import Selection
from tiering.store.zarr_metadata import index_problems

_BATCH: Final = 1024


def verify(
    store: Store | str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    quick: bool = False,
    decode: bool = False,
    progress: Progress = no_progress,
) -> Verification:
    """Check every file of a store and the CRC-32C of every sample, and compare it with its source if that is given.

    Args:
        store: A packed store, or its path or URL. Of a selection, only the CRC-32Cs of its samples are checked.
        source: The dataset that it was packed from. Every byte and every label is compared with it. Re-encoded samples
            are made again: those of the same build of the encoder must be equal to the last byte, those of another
            build look alike.
        quick: Check structure and sizes only.
        decode: Decode every image too. That takes as long as decoding one epoch in training.
        progress: Called with the samples checked, all samples, and the bytes checked.

    Returns:
        The problems, and the account of the source.

    Raises:
        StoreError: There is no finished store, or its manifest is damaged.
        UsageError: Both quick and decode are given, or quick or a source for a selection.

    Example:
        >>> tiering.verify("photos.lmdb", source="photos").ok  # doctest: +SKIP
        True
    """
    if quick and decode:
        raise UsageError(
            "decode", rule="takes either `decode`, which reads every image, or `quick`, which reads none", found="both"
        )
    if isinstance(store, Selection):
        if quick or source is not None:
            raise UsageError(
                "quick" if quick else "source", expected="a whole store to check like this",
                found="a selection from one",
            )  # fmt: skip
        return verify_selection(store, decode=decode, progress=progress)
    if not isinstance(store, str | os.PathLike):
        store = store.location.url
    opened = open_damaged(store)
    if opened.manifest.kind == "folder":
        raise StoreError(
            str(store),
            expected="a packed store",
            found="a directory of images",
            action=f"Pack it first: {command('tiering', 'convert', store)} STORE",
        )
    problems = Problems()
    # An extra shard is a sign of a failed copy.
    foreign = foreign_files(opened.location.names(), opened.manifest)
    problems.add([f"{name}: not part of the store by its manifest" for name in foreign])
    of = opened.location, opened.manifest
    unfinished = unfinished_append(*of) or unfinished_change(*of)
    # With a damaged index, samples cannot be found. So the index is the only problem to report.
    undecodable = 0
    with scratch_directory() as scratch, Walker() as walker, Decoding(opened) as decoding:
        documents = _documents(opened, scratch, quick=quick, rewritten=unfinished is not None)
        problems.add(generation_problems(opened, scratch, quick=quick))
        sound = problems.add([*([] if quick else check_index(opened)), *documents])
        checked = first = 0
        progress(0, len(opened), 0)
        for number, shard in enumerate(opened.manifest.shards):
            found = [*check_shard_file(opened.location, shard, scratch, quick=quick)]
            if sound and not quick:
                rows = np.arange(first, first + shard.samples, dtype=np.int64)
                wanted = decoding if decode else None
                found += _samples(opened, shard, rows, None if found else walker, scratch, wanted)
            found += _fields(opened, number, first, scratch, quick=quick or not sound)
            if not problems.add(found):
                problems.damaged.append(shard.name)
            failing = decoding.taken()
            undecodable += len(failing)
            problems.add(failing)
            checked += shard.bytes
            first += shard.samples
            progress(first, len(opened), checked)
        account = opened.manifest.account
        elsewhere = relabelled = alike = 0
        further: list[str] = []
        if source is not None and sound and not quick:
            comparison = Comparison(opened, source, scratch, progress)
            problems.add(comparison.differences(progress))
            account, elsewhere = comparison.account, comparison.elsewhere
            relabelled, alike = comparison.relabelled, comparison.alike
            further = comparison.further_fields
    return Verification(
        store=str(store),
        samples=len(opened),
        image_bytes=opened.manifest.image_bytes,
        source=None if source is None else str(source),
        quick=quick,
        problem_count=problems.count,
        problems=problems.kept,
        damaged=problems.damaged,
        unfinished=unfinished,
        account=account,
        decoded=decode,
        undecodable=undecodable,
        elsewhere=elsewhere,
        relabelled=relabelled,
        reencoded=bool(opened.manifest.settings and opened.manifest.settings.reencoded),
        alike=alike,
        further_fields=further,
    )


def check_index(store: Store) -> Iterator[str]:
    """Yield the problems of the index."""
    manifest, index = store.manifest, store.index
    with scratch_directory() as scratch:
        for name, crc in manifest.columns.items():
            location = column_location(store.location / manifest.index, name)
            if sound_file(location, scratch / "column", crc) is None:
                yield f"{manifest.index}/{name}: its CRC-32C is not the manifest's"
    yield from index_problems(store.location / manifest.index, index, manifest.fields)
    for name, known in (("label", list(manifest.classes)), ("split", list(range(len(manifest.splits))))):
        if not np.isin(np.unique(getattr(index, name)), [-1, *known]).all():
            yield f"{manifest.index}/{name}: a {name} that the manifest does not name"
    begins = np.concatenate([[0], index.key_end[:-1]])
    if (begins > index.key_end).any() or (index.size < 0).any() or (index.size > manifest.image_bytes).any():
        yield f"{manifest.index}: keys that end before they begin, or sizes of no image"
    elif int(index.size.sum()) != manifest.image_bytes:
        yield f"{MANIFEST}: {manifest.image_bytes:,} bytes of images, {int(index.size.sum()):,} indexed"


def _documents(store: Store, scratch: Path, *, quick: bool, rewritten: bool) -> Iterator[str]:
    """Yield the problems of the files that describe the store to other readers.

    rewritten: an unfinished append may already have written those of the next generation.
    """
    for name, crc in store.manifest.documents.items():
        if rewritten and (name in REWRITTEN or is_left_out(name)):
            continue
        try:
            if not quick and not _is_sound(store.location / name, crc, scratch):
                yield f"{name}: its CRC-32C is not the manifest's"
            elif quick and not (store.location / name).exists():
                yield f"{name}: missing"
        except FileNotFoundError:
            yield f"{name}: missing"
        except StoreError as error:
            yield f"{name}: {error.found}"


def _is_sound(location: Location, crc: int, scratch: Path) -> bool:
    if is_left_out(location.name):  # as long as the source has files
        return sound_file(location, scratch / "document", crc) is not None
    return sound_bytes(location, crc) is not None


def check_shard_file(store: Location, shard: Shard, scratch: Path, *, quick: bool) -> Iterator[str]:
    """Yield the problems of a shard's file: missing, of the wrong size, or unless quick with the wrong CRC-32C."""
    location = store / shard.name
    try:
        size = location.size()
    except FileNotFoundError:
        yield f"{shard.name}: missing"
        return
    except StoreError as error:
        yield f"{shard.name}: {error.found}"
        return
    if size != shard.bytes:
        yield f"{shard.name}: {shard.bytes:,} bytes by the manifest, {size:,} found"
    elif not quick and sound_file(location, scratch / "shard", shard.crc32c) is None:
        yield f"{shard.name}: its CRC-32C is not the manifest's"


def _samples(
    store: Store, shard: Shard, rows: IndexArray, walker: Walker | None, scratch: Path, decoding: Decoding | None
) -> Iterator[str]:
    """Yield the samples of a shard with a wrong CRC-32C. If the file is sound, LMDB checks its own view of it too."""
    if walker is not None and store.manifest.kind == "lmdb":
        local = (store.location / shard.name).local or scratch / "shard"
        if (found := format_of(local)) in (None, OURS):
            yield from walker.problems(local, shard.name, store.index.crc32c[rows], shard.removed)
        else:
            yield f"{shard.name}: of the format of LMDB {found}, where that of LMDB {OURS} is expected"
    try:
        whole = (store.location / shard.name).size() == shard.bytes
    except (FileNotFoundError, StoreError):
        return  # check_shard_file has reported this.
    for part in row_parts(len(rows), _BATCH) if whole else ():
        yield from check_samples(store, rows[part], decoding)


def _fields(store: Store, number: int, first: int, scratch: Path, *, quick: bool) -> Iterator[str]:
    """Yield the problems of the fields of one shard. number: of the shard; first: its first sample."""
    for name, run in store.runs.items():
        shard = run.manifest.shards[number]
        if shard.bytes:
            yield from check_shard_file(store.location, shard, scratch, quick=quick)
        rows = np.arange(first, first + shard.samples, dtype=np.int64)
        for part in () if quick else row_parts(len(rows), _BATCH):
            yield from check_samples(run, rows[part], None, f"field {name} of ")
