"""Origin: fetches verified samples of the store behind a cache, local or remote."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from typing import TYPE_CHECKING

import google_crc32c
import numpy as np

from tiering.arrays import IndexArray
from tiering.cache.cached_datasets import DatasetNotes
from tiering.cache.fetcher import Fetcher, Span
from tiering.cache.origin_record import OriginRecord
from tiering.errors import StoreError, UsageError
from tiering.storage.location import Location
from tiering.store.columns import damaged
from tiering.store.concat import ConcatStore
from tiering.store.generation import explain
from tiering.store.manifest import encode_manifest, read_kept
from tiering.store.protocol import Store
from tiering.store.runs import RunStore
from tiering.store.sample import Buffer
from tiering.store.selection import Selection, selection_of, unselected

if TYPE_CHECKING:
    from tiering.cache.level import CacheUnits
    from tiering.store.folder_store import FolderStore

#: Neighbours are read by one request unless the gap between them exceeds this share of a sample, plus some bytes.
#: Packed formats have headers and the rest of a page there; reading other samples would waste bandwidth.
_GAP_SHARE = 4
_GAP_BYTES = 64


def _as_folder(store: Store) -> FolderStore | None:
    if store.manifest.kind != "folder":
        return None
    # Imported here: a machine that only serves packed stores needs no Polars.
    from tiering.store.folder_store import FolderStore  # noqa: PLC0415

    return store if isinstance(store, FolderStore) else None


def refuse_concatenation(store: object) -> None:
    """Raise UsageError for a concatenation of stores, or a selection from one: each store has a cache of its own."""
    whole = store.origin if isinstance(store, Selection) else store
    if isinstance(whole, ConcatStore):
        raise UsageError(
            "origin", expected="a single store", found=f"a concatenation of {len(whole.parts):,}",
            action="Put a cache in front of each store, and concatenate the caches. They can share one directory.",
        )  # fmt: skip


class Origin:
    """The store that a cache fetches from.

    Packed samples are fetched as byte ranges of their shards, and plain files as a whole. A store of compressed chunks
    reads its samples itself, on threads.

    Args:
        store: Any Store that is not a cache.
        trace: A directory in which to record what is read.
    """

    def __init__(self, store: Store, trace: str | os.PathLike[str] | None = None) -> None:
        self.store = store
        self._record = OriginRecord(store, trace) if trace is not None else None
        self._whole = unselected(store)
        self._folder = _as_folder(self._whole)
        self.fetcher = Fetcher(store.location.url, self._record.add_range if self._record else None)

    def close(self) -> None:
        """Finish the trace."""
        if self._record:
            self._record.close()

    def notes(self, units: CacheUnits) -> DatasetNotes:
        """Return the notes of a new cache of this store, whose samples are cached in `units`."""
        return DatasetNotes(
            origin=str(self.store.location),
            samples=len(self.store),
            image_bytes=self.store.manifest.image_bytes,
            unit_samples=units.samples,
            units=len(units),
        )

    @property
    def identity(self) -> str:
        """32 hexadecimal digits of the SHA-256 of the manifest, or of a folder's listing: another one if it changes.

        A relabel changes no image, so its generation has the identity of the one before, and finds the same samples. It
        may change the values of a field, though. A selection has an identity of its own.
        """
        listing = self._folder.listing if self._folder else ""
        found = self._whole.manifest
        while not isinstance(self._whole, RunStore) and found.log and found.log[-1].action == "relabel":
            before = read_kept(self.store.location, found.generation - 1)
            if before is None:
                break
            found = before
        # Encoded as it was read, so that existing caches of older stores stay valid.
        manifest = encode_manifest(found, as_read=True)
        return hashlib.sha256(manifest + listing.encode() + (selection_of(self.store) or "").encode()).hexdigest()[:32]

    async def read(self, samples: IndexArray) -> list[Buffer]:
        """Fetch samples, in the given order.

        Args:
            samples: int64 (n,), their numbers.

        Raises:
            StoreError: For samples that do not match the index.
            MachineError: If the origin does not answer.
        """
        spans = self._spans(samples)
        if spans is None:
            began = time.monotonic()
            found = await self.fetcher.in_thread(self.store.read, samples)
            if self._record:
                self._record.add_samples(samples, time.monotonic() - began)
            return [self._checked(each, at) for each, at in zip(found, samples.tolist(), strict=True)]
        parts: list[Buffer] = [b""] * len(samples)
        await asyncio.gather(*(self._part(span, members, samples, parts) for span, members in spans))
        return parts

    async def _part(
        self, span: Span, members: list[tuple[int, int, int]], samples: IndexArray, parts: list[Buffer]
    ) -> None:
        # The file of a folder may have grown, so its span requests one byte more than there should be.
        length = members[0][2] if self._folder else span[2] - span[1]

        def sound(data: memoryview) -> bool:
            parts = ((data[at : at + size], int(samples[nth])) for nth, at, size in members)
            return len(data) == length and all(self._sound(part, sample) for part, sample in parts)

        try:
            data = await self.fetcher.get(span, sound)
        except FileNotFoundError as error:
            raise await self._explained(
                damaged(Location.of(span[0]), "a file, as when the store was opened", "nothing")
            ) from error
        except StoreError as error:
            raise await self._explained(error) from error
        for nth, at, size in members:
            # A copy, so that the sample does not keep the whole response alive.
            parts[nth] = data if len(members) == 1 and size == len(data) else bytes(data[at : at + size])

    async def _explained(self, error: StoreError) -> StoreError:
        """Return an error that says that the origin was replaced, if it was; otherwise the error as it is."""
        if self._folder:
            return error
        return await self.fetcher.in_thread(explain, self.store.location, self._whole.manifest, error)

    def _spans(self, samples: IndexArray) -> list[tuple[Span, list[tuple[int, int, int]]]] | None:
        """Return the ranges to request, and the samples in each: position in `samples`, offset in the range, bytes.

        None for a store that reads its samples itself.
        """
        sizes = self.store.index.size[samples]
        if self._folder:
            folder = self.store.location
            keys = map(os.fsdecode, self.store.index.keys(samples))
            return [
                (((folder / key).url, 0, size + 1), [(nth, 0, size)])
                for nth, (key, size) in enumerate(zip(keys, sizes.tolist(), strict=True))
                if size
            ]
        ranges = self.store.byte_ranges(samples)
        if ranges is None:
            return None
        spans: list[tuple[Span, list[tuple[int, int, int]]]] = []
        file, begin, end = -1, 0, 0
        members: list[tuple[int, int, int]] = []
        for nth in np.lexsort((ranges.offset, ranges.file)).tolist():
            number, offset, size = int(ranges.file[nth]), int(ranges.offset[nth]), int(ranges.size[nth])
            if not size:
                continue
            if number != file or offset > end + size // _GAP_SHARE + _GAP_BYTES:
                file, begin, end, members = number, offset, offset, []
                spans.append((((self.store.location / self._whole.manifest.shards[number].name).url, 0, 0), members))
            members.append((nth, offset - begin, size))
            end = max(end, offset + size)
            spans[-1] = ((spans[-1][0][0], begin, end), members)
        return spans

    def _sound(self, data: Buffer, sample: int) -> bool:
        crcs = self.store.index.crc32c
        return not len(crcs) or google_crc32c.value(bytes(data)) == int(crcs[sample])

    def _checked(self, data: Buffer | np.ndarray, sample: int) -> Buffer:
        plain = data.tobytes() if isinstance(data, np.ndarray) else data
        if not self._sound(plain, sample):
            raise StoreError(
                str(self.store.location),
                found=f"sample {sample:,} does not have the CRC-32C of the index",
                action="The origin changed or is damaged: run tiering verify.",
            )
        return plain
