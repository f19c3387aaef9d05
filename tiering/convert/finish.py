"""Finish a store: put the index together from the receipts, describe it, and write the manifest last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy.typing as npt

from tiering.convert.leaving_out import OnError, Receipts, write_left_out
from tiering.convert.listing import Listing, blocks, source_of
from tiering.convert.workspace import Workspace
from tiering.errors import DatasetError, UsageError
from tiering.sources.account import Account
from tiering.storage.local import sync
from tiering.storage.location import Location
from tiering.store.base import Store
from tiering.store.index import COLUMNS, index_documents, index_writer
from tiering.store.layout import BAD_FILES, LEFT_OUT
from tiering.store.manifest import MANIFEST, Manifest, Shard, encode_manifest
from tiering.store.zarr import array_documents


def finish(
    space: Workspace,
    listing: Listing,
    outline: Manifest,
    receipts: Receipts,
    base: Store | None,
    version: str | None,
    on_error: OnError,
    offered: int,
) -> Manifest:
    """Write everything but the shards, the manifest last, and return it.

    outline: the manifest but for what only the receipts know; receipts: gives those of this plan, in order, as often
    as asked; base: the store that is appended to; version: of its manifest, which must still be there; offered: bytes
    in the source of what was to be packed.
    Raises DatasetError for what could not be packed or read, when on_error is "fail", or when nothing could.
    """
    target = space.target
    written = write_left_out(space, listing, outline, receipts, on_error)
    shards: list[Shard] = list(outline.shards)
    samples, size = outline.samples, outline.image_bytes
    with index_writer(target / outline.index, space.work) as columns:
        if base is not None:
            for part in _parts(base):
                columns.append(part)
        for receipt in receipts():
            columns.append(receipt.columns)
            shards.append(receipt.shard)
            samples, size = samples + receipt.shard.samples, size + int(receipt.columns["size"].sum())
    if not samples:
        raise DatasetError(
            listing.source.url,
            expected="an image that can be packed",
            found="none",
            action=f"See {target}/{LEFT_OUT}.",
        )
    documents = index_documents(outline.index, columns.counts)
    if outline.kind == "zarr" and outline.settings is not None:
        documents |= array_documents(outline.settings, shards)
    for name, content in documents.items():
        (target / name).write(content, space.work)
    known = {name: crc for name, crc in outline.documents.items() if name not in (LEFT_OUT, BAD_FILES)}
    known |= {name: int(google_crc32c.value(content)) for name, content in documents.items()}
    known |= {} if written.crc32c is None else {LEFT_OUT: written.crc32c}
    before = outline.account.packed_bytes if outline.account else outline.image_bytes
    account = Account.of(samples, before + offered - written.failed_bytes, written.left_out)
    manifest = outline.model_copy(
        update={
            "samples": samples,
            "image_bytes": size,
            "left_out": account.failed,
            "account": account,
            "shards": shards,
            "columns": columns.crcs,
            "source": source_of(listing, images_only=outline.source.images_only),
            "documents": known,
        }
    )
    if target.local:
        sync_directories(target.local)
    _commit(target, encode_manifest(manifest), version, space.work)
    if BAD_FILES in outline.documents:
        (target / BAD_FILES).remove()  # what it said is in the new list
    if target.local:
        sync(target.local)
    return manifest


def _commit(target: Location, manifest: bytes, version: str | None, work: Location) -> None:
    """Write the manifest, which makes everything else count: a new one, or in place of the one that was read before."""
    if version is not None:
        (target / MANIFEST).write_if(manifest, version, work)
    elif target.local:
        (target / MANIFEST).write(manifest, work)  # into a directory of our own, which has no name yet
    else:
        try:
            (target / MANIFEST).create(manifest)
        except FileExistsError:
            raise UsageError(
                str(target), expected="no store yet", found="a store that somebody else finished",
                action="Choose another URL.",
            ) from None  # fmt: skip


def _parts(base: Store) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the index of the store that is appended to, some rows at a time."""
    index = base.index
    for rows in blocks(len(index)):
        begin = int(index.key_end[rows[0] - 1]) if rows[0] else 0
        ends = index.key_end[rows]
        part = {name: getattr(index, name)[rows] for name in COLUMNS if not name.startswith("key")}
        yield part | {"key": index.key[begin : int(ends[-1])], "key_end": ends - begin}


def sync_directories(root: Path) -> None:
    """Make every directory entry durable before the manifest names what is there."""
    for directory, _, _ in os.walk(root):
        sync(Path(directory))
