"""Verify a store against its manifest and its source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np

from tiering.arrays import IndexArray, row_parts
from tiering.errors import StoreError, TieringError, UsageError, command
from tiering.packing.decoding_check import Decoding
from tiering.packing.progress import Progress, no_progress
from tiering.packing.source_comparison import Comparison
from tiering.packing.workspace import unfinished_append
from tiering.sources.account import Account
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
from tiering.store.zarr_metadata import index_problems
from tiering.text import display

_BATCH: Final = 1024
_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of tiering.verify.

    Attributes:
        store: Path or URL of the store.
        samples: Number of samples.
        image_bytes: Bytes of all samples.
        source: The source that was compared, or None.
        quick: Only structure and sizes were checked.
        problem_count: Number of problems.
        problems: The first hundred problems, a sentence each.
        damaged: Names of the shards that need repair.
        unfinished: A sentence about an append that is running or was killed, whose files do not belong to the store
            yet; None without one.
        account: Everything in the source as it is now, if it was compared; otherwise the account of the store.
        decoded: Every image was decoded.
        undecodable: Number of problems that are images with the right bytes that cannot be decoded.
        elsewhere: Number of samples that were not compared, because they were packed from other sources.
    """

    store: str
    samples: int
    image_bytes: int
    source: str | None
    quick: bool
    problem_count: int
    problems: list[str]
    damaged: list[str]
    unfinished: str | None = None
    account: Account | None = None
    decoded: bool = False
    undecodable: int = 0
    elsewhere: int = 0

    @property
    def ok(self) -> bool:
        """Whether the store holds exactly what it should."""
        return self.problem_count == 0


def verify(
    store: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    quick: bool = False,
    decode: bool = False,
    progress: Progress = no_progress,
) -> Verification:
    """Check every file of a store and the CRC-32C of every sample, and compare it with its source if that is given.

    Args:
        store: A packed store, its path or URL.
        source: The dataset that it was packed from. Every byte and every label is compared with it.
        quick: Check structure and sizes only.
        decode: Decode every image too. That takes as long as decoding one epoch in training.
        progress: Called with the samples checked, all samples, and the bytes checked.

    Returns:
        The problems, and the account of the source.

    Raises:
        StoreError: There is no finished store, or its manifest is damaged.
        UsageError: Both quick and decode are given.

    Example:
        >>> tiering.verify("photos.lmdb", source="photos").ok  # doctest: +SKIP
        True
    """
    if quick and decode:
        raise UsageError(
            "decode", expected="either `decode`, which reads every image, or `quick`, which reads none", found="both"
        )
    opened = open_damaged(store)
    if opened.manifest.kind == "folder":
        raise StoreError(
            str(store),
            expected="a packed store",
            found="a directory of images",
            action=f"Pack it first: {command('tiering', 'convert', store)} STORE",
        )
    problems = _Problems()
    # An extra shard is a sign of a failed copy.
    foreign = foreign_files(opened.location.names(), opened.manifest)
    problems.add([f"{name}: not part of the store by its manifest" for name in foreign])
    unfinished = unfinished_append(opened.location, opened.manifest)
    # With a damaged index, samples cannot be found. So the index is the only problem to report.
    undecodable = 0
    with scratch_directory() as scratch, Walker() as walker, Decoding(opened) as decoding:
        documents = _documents(opened, scratch, quick=quick, rewritten=unfinished is not None)
        sound = problems.add([*([] if quick else check_index(opened)), *documents])
        checked = 0
        first = 0
        for shard in opened.manifest.shards:
            found = [*check_shard_file(opened.location, shard, scratch, quick=quick)]
            if sound and not quick:
                rows = np.arange(first, first + shard.samples, dtype=np.int64)
                wanted = decoding if decode else None
                found += _samples(opened, shard, rows, None if found else walker, scratch, wanted)
            if not problems.add(found):
                problems.damaged.append(shard.name)
            failing = decoding.taken()
            undecodable += len(failing)
            problems.add(failing)
            checked += shard.bytes
            first += shard.samples
            progress(first, len(opened), checked)
        account = opened.manifest.account
        elsewhere = 0
        if source is not None and sound and not quick:
            comparison = Comparison(opened, source, scratch)
            problems.add(comparison.differences(progress))
            account, elsewhere = comparison.account, comparison.elsewhere
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
    )


class _Problems:
    """Counts what is wrong and keeps the first hundred."""

    def __init__(self) -> None:
        self.count = 0
        self.kept: list[str] = []
        self.damaged: list[str] = []

    def add(self, problems: Iterator[str] | list[str]) -> bool:
        """Add problems. Return whether there were none."""
        before = self.count
        for problem in problems:
            self.count += 1
            if len(self.kept) < _KEPT:
                self.kept.append(problem)
        return self.count == before


def check_index(store: Store) -> Iterator[str]:
    """Yield the problems of the index."""
    manifest, index = store.manifest, store.index
    with scratch_directory() as scratch:
        for name, crc in manifest.columns.items():
            location = column_location(store.location / manifest.index, name)
            if sound_file(location, scratch / "column", crc) is None:
                yield f"{manifest.index}/{name}: its CRC-32C is not the manifest's"
    yield from index_problems(store.location / manifest.index, index)
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
        yield from _batch(store, rows[part], decoding)


def _batch(store: Store, rows: IndexArray, decoding: Decoding | None) -> Iterator[str]:
    try:
        images = store.read(rows)
    except TieringError as error:
        yield f"samples {rows[0]:,} to {rows[-1]:,}: {error}"
        return
    sound = np.ones(len(rows), dtype=bool)
    for at, (row, image) in enumerate(zip(rows.tolist(), images, strict=True)):
        data = bytes(image)
        if len(data) != store.index.size[row] or google_crc32c.value(data) != store.index.crc32c[row]:
            key = display(store.index.keys(np.array([row]))[0])
            sound[at] = False
            yield f"sample {row:,} ({key}): its bytes do not have their CRC-32C"
    if decoding is not None:
        decoding.check(rows[sound], [images[at] for at in np.flatnonzero(sound).tolist()])
