"""Seconds that the storage device needs to deliver a dataset once, with nothing cached.

The idea: every sample is one random read, unless its neighbours are read with it. The loader announces samples in
groups, and joins ranges that lie closer than 16 KiB. In a packed store that the page cache holds whole, no page is
fetched twice. So the more samples of a group lie close together, the more the reading resembles one sequential pass.

Example: 60,000 samples of 921 B in LMDB fill 56 MB. A group of 4 MiB has 4,476 random samples, on average 12.6 kB
apart, so exp(-16 KiB / 12.6 kB) = 27 % of them have no close neighbour and are read alone. The other 73 % cost their
part of one pass over the store in requests of 128 KiB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from tiering.advice.catalog import RANDOM_READ, Tier
from tiering.advice.cpu_costs import Coding, Costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.stored_size import ZSTD_RATIO, stored_on
from tiering.advice.tier_requests import requests_of
from tiering.io_sizes import (
    ANNOUNCE_THREADS,
    ANNOUNCED_BYTES,
    BLOCK_BYTES,
    CHUNK_BYTES,
    JOINED_GAP_BYTES,
    LITTLE_BYTES,
    PAGE_BYTES,
    WINDOW_BLOCKS,
)
from tiering.literals import Format, ReadOrder

#: Samples of the batches that the model assumes.
BATCH_SAMPLES: Final = 256


def group_of(item: float, order: ReadOrder = "global") -> float:
    """Return the number of samples of `item` bytes that the loader announces at once: a window in a block order."""
    if order == "block":
        return WINDOW_BLOCKS * max(1.0, BLOCK_BYTES / item)
    return BATCH_SAMPLES * max(1.0, ANNOUNCED_BYTES / (item * BATCH_SAMPLES))


@dataclass(frozen=True, slots=True)
class DevicePass:
    """One pass over a dataset: every sample once, with nothing cached at the start.

    Attributes:
        data: The dataset.
        tier: Where it is.
        store_format: How it is kept.
        codec: Of the format.
        costs: Source of the chunks and ratios of codecs of pixels.
        page_cache: Bytes of memory that keep what was read.
        order: The order in which samples are read.
        ranks: Processes that share the pass.
    """

    data: DatasetSizes
    tier: Tier
    store_format: Format
    codec: str
    costs: Costs
    page_cache: float
    order: ReadOrder = "global"
    ranks: int = 1

    def seconds(self) -> float:
        """Return the seconds that the device works.

        Each size of the distribution takes its own Tier.read_seconds. In a packed store that fits into page_cache, the
        share exp(-gap / mean distance) of a group's samples is read alone (a Poisson process), and the others cost
        their part of one pass over the store in requests of 128 KiB. In a block order neighbours are read with one
        request, and each of `ranks` processes reads blocks of its own (tier_requests.py).
        """
        data, tier = self.data, self.tier
        if self._in_blocks:
            found = requests_of(data, self.store_format, self.codec, self.costs, self.order, self.ranks)
            return found.count * self._read_seconds(found.bytes / found.count)
        coding = self._coding
        if self.store_format == "pixels":
            sizes: tuple[tuple[float, float], ...] = (
                (1.0, data.row_bytes if coding is None else data.row_bytes * coding.chunk * coding.ratio),
            )
        elif self.store_format == "zarr" and self.codec != "none":
            # A compressed chunk is read and decoded whole.
            sizes = tuple((share, max(size, CHUNK_BYTES) * ZSTD_RATIO) for share, size in data.spread)
        else:
            sizes = data.spread
        each = sum(share * self._read_seconds(size) for share, size in sizes)
        apart = data.samples * each
        stored = self._stored
        if not self._keeps_pages(stored):
            return apart
        if coding is not None:
            return data.samples / coding.chunk * each
        apart = min(apart, max(1.0, stored / PAGE_BYTES) * each)
        whole = max(1.0, stored / RANDOM_READ) * tier.read_seconds(min(stored, RANDOM_READ))
        alone = self._share_alone(stored)
        return alone * apart + (1 - alone) * min(apart, whole)

    def first_share(self) -> float:
        """Return the share of the reading that the first samples need.

        They are one group of plain files, and two groups of a packed store, which are announced at the same time. No
        other stage overlaps with that reading. The share is 1 / groups, and more where neighbours come along and stay
        in memory. In a block order, all of `ranks` processes read their first windows at the same time. A small packed
        store is read as a whole first.
        """
        samples, stored = self.data.samples, self._stored
        if is_read_whole(stored, self.tier, self.store_format):
            return 1.0
        together = 1 if self.store_format == "folder" else ANNOUNCE_THREADS
        if self._in_blocks:
            return min(1.0, together * group_of(stored / samples, "block") * self.ranks / samples)
        group = min(samples, together * group_of(stored / samples))
        own = group / samples
        if not self._keeps_pages(stored):
            return own
        coding = self._coding
        if coding is not None:
            return max(own, 1 - math.exp(-group / max(1.0, samples / coding.chunk)))
        return max(own, 1 - self._share_alone(stored))

    @property
    def _stored(self) -> int:
        return stored_on(self.tier, self.data, self.store_format, self.codec, self.costs)

    @property
    def _coding(self) -> Coding | None:
        return self.costs.codings.get(self.codec) if self.store_format == "pixels" else None

    @property
    def _in_blocks(self) -> bool:
        """Whether neighbours are read with one request: plain files have none."""
        return self.order == "block" and self.store_format != "folder"

    def _keeps_pages(self, stored: int) -> bool:
        """Return whether the page cache holds a packed store whole, so that no page is fetched twice."""
        return self.store_format != "folder" and self.tier.access != "object" and self.page_cache >= stored

    def _share_alone(self, stored: int) -> float:
        """Return the share of a group's samples that have no neighbour close enough to be read with them."""
        samples = self.data.samples
        return math.exp(-JOINED_GAP_BYTES * min(samples, group_of(stored / samples)) / stored)

    def _read_seconds(self, size: float) -> float:
        """Return the seconds of one random read. A file system reads at least a page."""
        return self.tier.read_seconds(size if self.tier.access == "object" else max(PAGE_BYTES, size))


def is_read_whole(stored: float, tier: Tier, store_format: Format) -> bool:
    """Return whether the loader reads a packed store of `stored` bytes as a whole before its first samples."""
    return store_format != "folder" and tier.access == "file" and stored <= LITTLE_BYTES
