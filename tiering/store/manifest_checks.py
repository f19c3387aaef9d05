"""Check a manifest against itself: find names, counts and sizes that cannot belong to one store.

Anyone who can write a manifest can also compute its CRC-32C. So a manifest is trusted only if its parts agree, and if,
when files are opened, their lengths agree with it. This costs a few microseconds per shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from tiering.errors import UsageError
from tiering.io_sizes import CHUNK_BYTES
from tiering.literals import PackedFormat
from tiering.store.changes import wrong_log
from tiering.store.codecs import NAMES, parse_codec
from tiering.store.index import index_columns
from tiering.store.layout import ENTRY_BYTES, TABLE_CRC_BYTES, index_name, is_document, shard_name
from tiering.store.schema import ORIGINAL, wrong_fields

if TYPE_CHECKING:
    from tiering.store.manifest import Manifest, Shard
    from tiering.store.settings import Settings

#: The largest sample that the codecs can encode.
_LONGEST_SAMPLE: Final = 1_900 << 20

#: The most bytes in the array over all shards: positions in it, and sums of two of them, must fit into int64.
_LONGEST_ARRAY: Final = 1 << 62

#: Numbers of shards are below this one.
_MOST_SHARDS: Final = 10**9

#: Splits are numbered in int8, labels in int32.
_MOST_SPLITS: Final = 127
_MOST_LABELS: Final = (1 << 31) - 1


def contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield the contradictions in the manifest of a packed store: the field, the expected value and the found one."""
    settings = manifest.settings
    if manifest.kind == "folder" or settings is None:
        yield f"kind: lmdb or zarr, with settings, found {manifest.kind} {'with' if settings else 'without'}"
        return
    if manifest.index != (expected := index_name(manifest.generation)):
        yield f"index: {expected} in generation {manifest.generation}, found {manifest.index!r}"
    wrong = [*wrong_fields(manifest.fields, len(manifest.shards))]
    yield from wrong
    if not wrong and manifest.columns.keys() != (columns := index_columns(manifest.fields)).keys():
        yield f"columns: {', '.join(columns)}, found {', '.join(manifest.columns) or 'none'}"
    for name in manifest.documents:
        if not is_document(name, manifest.generation):
            yield f"documents: no file of a store is called {name!r}"
    if len(manifest.labels) > _MOST_LABELS or len(manifest.splits) > _MOST_SPLITS:
        yield f"splits: at most {_MOST_SPLITS}, found {len(manifest.splits):,}"
    numbers = manifest.label_numbers
    if numbers and (len(numbers) != len(manifest.labels) or any(a >= b for a, b in pairwise(numbers))):
        yield f"label_numbers: one for each of {len(manifest.labels):,} labels, ascending, found {len(numbers):,}"
    yield from wrong_log(manifest.log, manifest)
    yield from _reencoded(manifest, settings)
    yield from _shards(manifest, settings)
    yield from _counts(manifest, settings)
    yield from _chunks(manifest, settings)


def _reencoded(manifest: Manifest, settings: Settings) -> Iterator[str]:
    """Yield the contradictions between re-encoding and the rest: pixels, what samples were made from, encoders."""
    if settings.reencoded is None:
        yield from (f"shards.{shard.name}.encoder: none, found one" for shard in manifest.shards if shard.encoder)
        return
    if settings.pixels:
        yield "settings: re-encoded images or pixels, found both"
    if settings.reencoded.max_side and settings.reencoded.short_side:
        yield "settings.reencoded: one limit, found two"
    fields = {field.name: field for field in manifest.fields}
    for own in ORIGINAL:
        found = fields.get(own.name)
        if found is None or (found.kind, found.dtype, found.nullable) != (own.kind, own.dtype, False):
            yield f"fields.{own.name}: {own.dtype} in every sample, found {found and found.dtype}"
    for position, shard in enumerate(manifest.shards):
        if not shard.encoder:
            yield f"shards.{position}.encoder: one, found none"


def _shards(manifest: Manifest, settings: Settings) -> Iterator[str]:
    """Yield the contradictions of the shards. Only a purge leaves out numbers, and it never uses one again."""
    purged = any(change.action == "purge" for change in manifest.log)
    kind: PackedFormat = "lmdb" if manifest.kind == "lmdb" else "zarr"
    least = 0
    for position, shard in enumerate(manifest.shards):
        number = max(shard.number, least) if purged else least
        expected = shard_name(kind, number, pixels=settings.pixels is not None)
        if shard.name != expected or number >= _MOST_SHARDS:
            yield f"shards.{position}.name: {expected}, found {shard.name!r}"
            return
        least = number + 1
        yield from (f"shards.{position}.{problem}" for problem in _of_shard(shard, settings))
    if manifest.next_shard > (_MOST_SHARDS if purged else 0):
        yield f"next_shard: 0 before a purge, and at most {_MOST_SHARDS:,}, found {manifest.next_shard:,}"


def _of_shard(shard: Shard, settings: Settings) -> Iterator[str]:
    if not settings.chunk_bytes:
        if shard.packed > shard.bytes:
            yield f"samples: at most one per byte of {shard.bytes:,}, found {shard.packed:,}"
        return
    sample = settings.pixels.shape.nbytes if settings.pixels else 1
    if shard.packed * sample > settings.shard_bytes:
        yield f"samples: as many as fit into {settings.shard_bytes:,} bytes, found {shard.packed:,}"
    table = settings.shard_bytes // settings.chunk_bytes * ENTRY_BYTES + TABLE_CRC_BYTES
    most = settings.shard_bytes + table if settings.codec == "none" else shard.bytes
    if not table <= shard.bytes <= most:
        yield f"bytes: room for a table of {table:,}, and at most {most:,}, found {shard.bytes:,}"


def _counts(manifest: Manifest, settings: Settings) -> Iterator[str]:
    samples = sum(shard.samples for shard in manifest.shards)
    if samples != manifest.samples:
        yield f"samples: {samples:,} in its shards, found {manifest.samples:,}"
    account = manifest.account
    if account and (account.packed, account.failed) != (manifest.samples, manifest.left_out):
        found = f"{account.packed:,} and {account.failed:,}"
        yield f"account: {manifest.samples:,} packed and {manifest.left_out:,} that failed, found {found}"
    room = sum(shard.bytes for shard in manifest.shards)
    if manifest.kind == "zarr":
        room = len(manifest.shards) * settings.shard_bytes
    if not manifest.samples:
        yield "samples: at least 1, found 0"
    if not manifest.samples <= manifest.image_bytes <= room:
        yield f"image_bytes: from {manifest.samples:,} to {room:,}, found {manifest.image_bytes:,}"
    if settings.pixels and manifest.image_bytes != (size := manifest.samples * settings.pixels.shape.nbytes):
        yield f"image_bytes: {size:,} of pixels, found {manifest.image_bytes:,}"


def _chunks(manifest: Manifest, settings: Settings) -> Iterator[str]:
    if manifest.kind == "lmdb":
        if settings.codec != "none" or settings.chunk_bytes or settings.pixels:
            yield "settings: an LMDB store with a codec, chunks or pixels"
        return
    try:
        if parse_codec(settings.codec).name != settings.codec:
            yield f"settings.codec: {parse_codec(settings.codec).name}, found {settings.codec!r}"
    except UsageError as error:
        yield f"settings.codec: one of {', '.join(NAMES)}, found {settings.codec!r} ({error.found})"
    sample = settings.pixels.shape.nbytes if settings.pixels else 1
    longest = max(CHUNK_BYTES, sample)  # a sample of pixels is never divided
    chunk = settings.chunk_bytes
    if not sample <= chunk <= longest or chunk % sample or sample > _LONGEST_SAMPLE:
        yield f"settings.chunk_bytes: whole samples, from {sample:,} to {longest:,} bytes, found {chunk:,}"
    elif settings.shard_bytes % chunk or manifest.new_shard * settings.shard_bytes > _LONGEST_ARRAY:
        yield f"settings.shard_bytes: a multiple of {chunk:,}, found {settings.shard_bytes:,}"
