"""Finish a store: put the index together from the receipts, describe it, and write the manifest last."""

from __future__ import annotations

import os
from pathlib import Path

import google_crc32c

from tiering.errors import DatasetError, UsageError
from tiering.literals import OnBadImage
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.left_out_file import Receipts, Written, write_left_out
from tiering.packing.listing import Listing
from tiering.packing.workspace import Workspace
from tiering.sources.account import Account
from tiering.storage.local import sync
from tiering.storage.location import Location
from tiering.store.index import index_documents, index_writer
from tiering.store.layout import MANIFEST, is_left_out, left_out_name
from tiering.store.manifest import Manifest, Shard, encode_manifest
from tiering.store.zarr import array_documents


def finish(
    space: Workspace,
    listing: Listing,
    outline: Manifest,
    receipts: Receipts,
    base: KeptSamples | None,
    version: str | None,
    on_error: OnBadImage,
    offered: int,
) -> Manifest:
    """Write everything but the shards, the manifest last, and return it; of a store that gains nothing, the old one.

    outline: the manifest but for what only the receipts know; receipts: gives those of this plan, in order, as often
    as asked, which is twice; base: what is kept of the store that grows; version: of its manifest, which must still be
    there; offered: bytes in the source of what was to be packed.
    Raises DatasetError for what could not be packed or read, when on_error is "fail", or when nothing could.
    """
    target = space.target
    written = write_left_out(space, listing, outline, base, receipts, on_error)
    if base is not None and not _gains(base, written):
        return base.store.manifest
    shards: list[Shard] = list(outline.shards)
    samples, size = outline.samples, outline.image_bytes
    with index_writer(target / outline.index, space.work) as columns:
        if base is not None:
            for part in base.parts():
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
            action=f"See {target}/{left_out_name(outline.generation)}.",
        )
    documents = _documents(outline, shards, columns.counts)
    for name, content in documents.items():
        (target / name).write(content, space.work)
    known = {name: crc for name, crc in outline.documents.items() if not is_left_out(name)}
    known |= {name: int(google_crc32c.value(content)) for name, content in documents.items()}
    known |= {} if written.crc32c is None else {left_out_name(outline.generation): written.crc32c}
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
            "documents": known,
        }
    )
    if target.local:
        sync_directories(target.local)
    _commit(target, encode_manifest(manifest), version, space.work)
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


def _documents(outline: Manifest, shards: list[Shard], counts: dict[str, int]) -> dict[str, bytes]:
    """Return the files that describe a store to readers: name -> contents. counts: elements of each column."""
    documents = index_documents(outline.index, counts)
    if outline.kind == "zarr" and outline.settings is not None:
        documents |= array_documents(outline.settings, shards)
    return documents


def _gains(base: KeptSamples, written: Written) -> bool:
    """Return whether a store gets new samples, loses some, or leaves out other files than before.

    Images that cannot be packed are tried again by every run: they alone make no generation.
    """
    if not base.unchanged or written.samples:
        return True
    before = [crc for name, crc in base.store.manifest.documents.items() if is_left_out(name)]
    return before != ([] if written.crc32c is None else [written.crc32c])


def sync_directories(root: Path) -> None:
    """Make every directory entry durable before the manifest names what is there."""
    for directory, _, _ in os.walk(root):
        sync(Path(directory))
