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
from typing import Final

from tiering.advice.catalog import RANDOM_READ, Tier
from tiering.advice.cpu_costs import Costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.stored_size import ZSTD_RATIO, stored_bytes
from tiering.io_sizes import ANNOUNCED_BYTES, CHUNK_BYTES, JOINED_GAP_BYTES, PAGE_BYTES
from tiering.literals import Format

#: Samples of the batches that the model assumes.
BATCH_SAMPLES: Final = 256


def group_of(item: float) -> float:
    """Return how many samples of `item` bytes the loader announces with one call."""
    return BATCH_SAMPLES * max(1.0, ANNOUNCED_BYTES / (item * BATCH_SAMPLES))


def device_seconds(
    data: DatasetSizes, tier: Tier, store_format: Format, codec: str, costs: Costs, page_cache: float
) -> float:
    """Return the device's seconds for every sample of an epoch, once each, with nothing cached at the start.

    Each size of the distribution takes its own Tier.read_seconds. In a packed store that fits into page_cache (bytes),
    the share exp(-gap / mean distance) of a group's samples is read alone (a Poisson process), and the others cost
    their part of one pass over the store in requests of 128 KiB.
    """
    if store_format == "pixels":
        coding = costs.codings.get(codec)
        sizes: tuple[tuple[float, float], ...] = (
            (1.0, data.row_bytes if coding is None else data.row_bytes * coding.chunk * coding.ratio),
        )
    elif store_format == "zarr" and codec != "none":
        # A compressed chunk is read and decoded whole.
        sizes = tuple((share, max(size, CHUNK_BYTES) * ZSTD_RATIO) for share, size in data.spread)
    else:
        sizes = data.spread
    each = sum(share * tier.read_seconds(_at_least_a_page(size, tier)) for share, size in sizes)
    apart = data.samples * each
    stored = stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=costs)
    if store_format == "folder" or tier.access == "object" or page_cache < stored:
        return apart
    if store_format == "pixels" and codec in costs.codings:
        return data.samples / costs.codings[codec].chunk * each
    apart = min(apart, max(1.0, stored / PAGE_BYTES) * each)
    whole = max(1.0, stored / RANDOM_READ) * tier.read_seconds(min(stored, RANDOM_READ))
    alone = _share_alone(data, stored)
    return alone * apart + (1 - alone) * min(apart, whole)


def first_share(
    data: DatasetSizes, tier: Tier, store_format: Format, codec: str, costs: Costs, page_cache: float
) -> float:
    """Return the share of a cold epoch's reading that the first group of samples needs.

    No other stage overlaps with that reading. The share is 1 / groups, and more where neighbours come along and stay in
    memory.
    """
    stored = stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=costs)
    group = min(data.samples, group_of(stored / data.samples))
    own = group / data.samples
    if store_format == "folder" or tier.access == "object" or page_cache < stored:
        return own
    if store_format == "pixels" and codec in costs.codings:
        chunks = max(1.0, data.samples / costs.codings[codec].chunk)
        return max(own, 1 - math.exp(-group / chunks))
    return max(own, 1 - _share_alone(data, stored))


def _share_alone(data: DatasetSizes, stored: int) -> float:
    """Return the share of a group's samples that have no neighbour close enough to be read with them."""
    return math.exp(-JOINED_GAP_BYTES * min(data.samples, group_of(stored / data.samples)) / stored)


def _at_least_a_page(size: float, tier: Tier) -> float:
    return size if tier.access == "object" else max(PAGE_BYTES, size)
