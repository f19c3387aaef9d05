"""Finish a store: put the index together from the receipts, describe it, and write the manifest last."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import google_crc32c
import numpy.typing as npt

from tiering.convert.listing import Listing, blocks, source_of
from tiering.convert.quarantine import quarantine
from tiering.convert.receipt import Receipt
from tiering.convert.workspace import Workspace
from tiering.errors import DatasetError, UsageError
from tiering.storage.local import sync
from tiering.storage.location import Location
from tiering.store.base import Store
from tiering.store.checked import read_document
from tiering.store.index import COLUMNS, index_documents, index_writer
from tiering.store.layout import BAD_FILES
from tiering.store.manifest import MANIFEST, Manifest, Shard, encode_manifest
from tiering.store.parts import QUARANTINE
from tiering.store.zarr import array_documents
from tiering.text import as_field, display

OnError = Literal["fail", "skip", "quarantine"]

_SHOWN: Final = 10

Receipts = Callable[[], Iterable[Receipt]]


def finish(
    space: Workspace,
    listing: Listing,
    outline: Manifest,
    receipts: Receipts,
    base: Store | None,
    version: str | None,
    on_error: OnError,
) -> Manifest:
    """Write everything but the shards, the manifest last, and return it.

    outline: the manifest but for what only the receipts know; receipts: gives those of this plan, in order, as often
    as asked; base: the store that is appended to; version: of its manifest, which must still be there.
    Raises DatasetError for images that could not be packed, when on_error is "fail", or when none could.
    """
    target = space.target
    left_out = _bad_files(space, listing, receipts, on_error)
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
            action=f"See {space.work}/{BAD_FILES}.",
        )
    documents = index_documents(outline.index, columns.counts)
    if outline.kind == "zarr" and outline.settings is not None:
        documents |= array_documents(outline.settings, shards)
    if left_out:
        earlier = read_document(target, outline, BAD_FILES) if BAD_FILES in outline.documents else b""
        now = (space.work / BAD_FILES).read()
        documents[BAD_FILES] = earlier + now.split(b"\n", 1)[1] if earlier else now
    for name, content in documents.items():
        (target / name).write(content, space.work)
    manifest = outline.model_copy(
        update={
            "samples": samples,
            "image_bytes": size,
            "left_out": outline.left_out + left_out,
            "shards": shards,
            "columns": columns.crcs,
            "source": source_of(listing),
            "documents": outline.documents
            | {name: int(google_crc32c.value(content)) for name, content in documents.items()},
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


def _parts(base: Store) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the index of the store that is appended to, some rows at a time."""
    index = base.index
    for rows in blocks(len(index)):
        begin = int(index.key_end[rows[0] - 1]) if rows[0] else 0
        ends = index.key_end[rows]
        part = {name: getattr(index, name)[rows] for name in COLUMNS if not name.startswith("key")}
        yield part | {"key": index.key[begin : int(ends[-1])], "key_end": ends - begin}


def _bad_files(space: Workspace, listing: Listing, receipts: Receipts, on_error: OnError) -> int:
    """List the images that could not be packed, in bad-files.tsv, and return how many they are."""
    shown: list[str] = []
    count = 0
    with (space.work / BAD_FILES).writing() as file:
        file.write(b"key\treason\n")
        for receipt in receipts():
            for bad in receipt.bad:
                said = f"{display(bad.key)}: {bad.reason}"
                count += 1
                if len(shown) < _SHOWN:
                    shown.append(said)
                file.write(f"{as_field(display(bad.key))}\t{as_field(bad.reason)}\n".encode())
    if not count:
        (space.work / BAD_FILES).remove()
    elif on_error == "fail":
        raise _cannot_pack(space, listing, shown, count)
    elif on_error == "quarantine":
        bad_keys = {bad.key for receipt in receipts() for bad in receipt.bad}
        quarantine(listing, bad_keys, space.target / QUARANTINE, space.work)
    return count


def _cannot_pack(space: Workspace, listing: Listing, shown: list[str], count: int) -> DatasetError:
    images = "1 image" if count == 1 else f"{count:,} images"
    return DatasetError(
        listing.source.url,
        expected="images that can be read whole",
        found=f"{images} that cannot ({'; '.join(shown)}{'; ...' if count > len(shown) else ''})",
        action=f"All are listed in {space.work}/{BAD_FILES}. Mend them and convert again, or leave them out at no"
        " further cost: --on-error skip",
    )


def sync_directories(root: Path) -> None:
    """Make every directory entry durable before the manifest names what is there."""
    for directory, _, _ in os.walk(root):
        sync(Path(directory))
