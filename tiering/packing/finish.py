"""Finish a store: join the receipts into its index, describe it to other readers, and write the manifest last."""

from __future__ import annotations

from tiering.errors import DatasetError, UsageError
from tiering.literals import OnBadImage
from tiering.packing.documents import write_documents
from tiering.packing.generations import commit_manifest, with_log
from tiering.packing.job import PackingJob
from tiering.packing.joined_fields import JoinedFields
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.left_out_file import Receipts, Written, write_left_out
from tiering.sources.account import Account
from tiering.storage.location import Location
from tiering.store.changes import Action
from tiering.store.index import index_documents, index_writer
from tiering.store.layout import MANIFEST, is_left_out, left_out_name
from tiering.store.manifest import Manifest, Shard, encode_manifest
from tiering.store.zarr import array_documents


def finish(job: PackingJob, receipts: Receipts, on_error: OnBadImage) -> Manifest:
    """Write everything except the shards, with the manifest last, and return it.

    receipts: yields the receipts of the job's shards in order. It is called twice.
    Returns the old manifest of a store that gains nothing.
    Raises DatasetError if images could not be packed or read and on_error is "fail", or if no image could be packed.
    """
    space, outline, base = job.space, job.outline, job.base
    target = space.target
    written = write_left_out(space, job.listing, outline, base, receipts, on_error)
    if base is not None and not _gains(base, written):
        return base.store.manifest
    shards: list[Shard] = list(outline.shards)
    samples, size = outline.samples, outline.image_bytes
    fields = JoinedFields(outline.fields)
    with index_writer(target / outline.index, space.work, outline.fields) as columns:
        if base is not None:
            for part in base.parts(outline.fields):
                columns.append(part)
        for receipt in receipts():
            columns.append(receipt.columns | fields.add(receipt))
            shards.append(receipt.shard)
            samples, size = samples + receipt.shard.samples, size + int(receipt.columns["size"].sum())
    if not samples:
        raise DatasetError(
            job.listing.source.url,
            found="no image can be packed",
            action=f"See {target}/{left_out_name(outline.generation)}.",
        )
    documents = index_documents(outline.index, columns.counts, outline.fields) | fields.documents
    if outline.kind == "zarr" and outline.settings is not None:
        documents |= array_documents(outline.settings, shards)
    known = {name: crc for name, crc in outline.documents.items() if not is_left_out(name)}
    known |= write_documents(target, documents, space.work)
    known |= {} if written.crc32c is None else {left_out_name(outline.generation): written.crc32c}
    account = Account.of(samples, job.source_bytes - written.failed_bytes, written.left_out)
    manifest = outline.model_copy(
        update={
            "samples": samples,
            "image_bytes": size,
            "left_out": account.failed,
            "account": account,
            "shards": shards,
            "fields": fields.joined,
            "columns": columns.crcs,
            "documents": known,
        }
    )
    if base is not None:
        action: Action = "append" if base.there is None else "sync"
        manifest = with_log(manifest, target, base.store.manifest, action, {"added": written.samples, **base.changes})
    _commit(target, manifest, job.version, space.work)
    return manifest


def _commit(target: Location, manifest: Manifest, version: str | None, work: Location) -> None:
    """Write the manifest. version: of the manifest that it replaces; None for a new store."""
    if target.local or version is not None:
        commit_manifest(target, manifest, version, work)
        return
    try:
        (target / MANIFEST).create(encode_manifest(manifest))
    except FileExistsError:
        raise UsageError(
            str(target), found="another converter has finished a store there",
            action="Choose another URL.",
        ) from None  # fmt: skip


def _gains(base: KeptSamples, written: Written) -> bool:
    """Return whether a store gets new samples, loses some, or leaves out different files than before.

    Every append tries again to pack images that failed before. These alone do not make a new generation.
    """
    if not base.unchanged or written.samples:
        return True
    before = [crc for name, crc in base.store.manifest.documents.items() if is_left_out(name)]
    return before != ([] if written.crc32c is None else [written.crc32c])
