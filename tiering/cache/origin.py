"""Origin: fetches verified samples of the store behind a cache, local or remote."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING

import google_crc32c
import numpy as np

from tiering.arrays import IndexArray
from tiering.cache.fetcher import Fetcher, Span
from tiering.errors import StoreError
from tiering.storage.location import Location
from tiering.store.columns import damaged
from tiering.store.generation import explain
from tiering.store.manifest import encode_manifest
from tiering.store.protocol import Buffer, Store, samples_in

if TYPE_CHECKING:
    from tiering.store.folder_store import FolderStore

#: Neighbours are one request unless the gap between them is more than this share of one: packed formats put headers
#: and the rest of a page there, and other samples are not to be paid for.
_GAP_SHARE = 4
_GAP_BYTES = 64


def _as_folder(store: Store) -> FolderStore | None:
    if store.manifest.kind != "folder":
        return None
    # Imported here: a machine that only serves packed stores needs no Polars.
    from tiering.store.folder_store import FolderStore  # noqa: PLC0415

    return store if isinstance(store, FolderStore) else None


class Origin:
    """The store that a cache fetches from.

    Packed samples are fetched as byte ranges of their shards, and plain files whole. A store of compressed chunks reads
    its samples itself, on threads.

    store: any Store that is not a cache.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._folder = _as_folder(store)
        self.fetcher = Fetcher(store.location.url)

    @property
    def identity(self) -> str:
        """Differs between origins, and between the states of one: SHA-256 of its manifest, or of its listing."""
        listing = self._folder.listing if self._folder else ""
        # As it was read, so that caches of older stores are still known.
        manifest = encode_manifest(self.store.manifest, as_read=True)
        return hashlib.sha256(manifest + listing.encode()).hexdigest()[:32]

    def samples_in(self, size: int) -> int:
        """Return how many samples of the mean size lie in that many bytes, at least one."""
        return samples_in(size, self.store.manifest)

    async def read(self, samples: IndexArray) -> list[Buffer]:
        """Fetch samples, in the order asked for.

        Raises StoreError for samples that do not match the index, MachineError if the origin does not answer.
        """
        spans = self._spans(samples)
        if spans is None:
            found = await self.fetcher.in_thread(self.store.read, samples)
            return [self._checked(each, at) for each, at in zip(found, samples.tolist(), strict=True)]
        parts: list[Buffer] = [b""] * len(samples)
        await asyncio.gather(*(self._part(span, members, samples, parts) for span, members in spans))
        return parts

    async def _part(
        self, span: Span, members: list[tuple[int, int, int]], samples: IndexArray, parts: list[Buffer]
    ) -> None:
        # A folder's file may have grown: its span asks for one byte more than there should be.
        length = members[0][2] if self._folder else span[2] - span[1]

        def sound(data: memoryview) -> bool:
            parts = ((data[at : at + size], int(samples[slot])) for slot, at, size in members)
            return len(data) == length and all(self._sound(part, sample) for part, sample in parts)

        try:
            data = await self.fetcher.get(span, sound)
        except FileNotFoundError as error:
            raise await self._explained(
                damaged(Location.of(span[0]), "what was there at opening", "nothing")
            ) from error
        except StoreError as error:
            raise await self._explained(error) from error
        for slot, at, size in members:
            # A copy, so that the sample does not keep the whole response alive.
            parts[slot] = data if len(members) == 1 and size == len(data) else bytes(data[at : at + size])

    async def _explained(self, error: StoreError) -> StoreError:
        """Return an error that says so if the origin was replaced; otherwise the error as it is."""
        if self._folder:
            return error
        return await self.fetcher.in_thread(explain, self.store.location, self.store.manifest, error)

    def _spans(self, samples: IndexArray) -> list[tuple[Span, list[tuple[int, int, int]]]] | None:
        """Return the ranges to ask for, and which samples (number in the list, place, bytes) each of them holds."""
        sizes = self.store.index.size[samples]
        if self._folder:
            place = self.store.location
            keys = map(os.fsdecode, self.store.index.keys(samples))
            return [
                (((place / key).url, 0, size + 1), [(slot, 0, size)])
                for slot, (key, size) in enumerate(zip(keys, sizes.tolist(), strict=True))
                if size
            ]
        ranges = self.store.byte_ranges(samples)
        if ranges is None:
            return None
        spans: list[tuple[Span, list[tuple[int, int, int]]]] = []
        file, begin, end = -1, 0, 0
        members: list[tuple[int, int, int]] = []
        for slot in np.lexsort((ranges.offset, ranges.file)).tolist():
            number, offset, size = int(ranges.file[slot]), int(ranges.offset[slot]), int(ranges.size[slot])
            if not size:
                continue
            if number != file or offset > end + size // _GAP_SHARE + _GAP_BYTES:
                file, begin, end, members = number, offset, offset, []
                spans.append((((self.store.location / self.store.manifest.shards[number].name).url, 0, 0), members))
            members.append((slot, offset - begin, size))
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
                str(self.store.location), expected=f"sample {sample:,} with the CRC-32C of the index", found="another",
                action="The origin changed or is damaged: run tiering verify.",
            )  # fmt: skip
        return plain
