"""The requests to an origin behind tiering's cache: units while the cache fills, and neighbours together after that.

The cache fetches and keeps units: neighbouring samples of 128 KiB in all, with one request each. So as long as it has
space, a cold epoch costs one request for each unit. Samples that found no space are fetched one by one. But of those
that the loader announces together, neighbours in a unit share a request. A node announces its n samples in groups of g,
and what is left over in a last one. A sample and the one before it are both in a group of s with probability (s / n)^2.

    filling     1 / u requests for each sample, with u samples in a unit
    full        1 - t (1 - 1 / u), where t is the sum of (s / n)^2 over the groups

Example: samples of 12 kB, 10 in a unit. A cache that holds all of them fills with a tenth of a request each. For one
that is full, with 350 samples in a group and 100,000 on a node, a miss costs 0.997 requests. With 400 samples of 33 kB,
3 in a unit and announced as 256 and 144, t is 0.54, and a miss costs 0.64 requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.device_time import group_of
from tiering.io_sizes import CACHE_UNIT_BYTES
from tiering.literals import Format


@dataclass(frozen=True, slots=True)
class CachedRequests:
    """Requests for each sample that the cache fetches.

    Attributes:
        filling: Where the sample is kept.
        full: Where there is no space for it.
    """

    filling: float = 1.0
    full: float = 1.0

    def cold(self, kept: float) -> float:
        """Return the requests for each sample of a cold epoch, in which a share `kept` of them is kept."""
        return kept * self.filling + (1 - kept) * self.full


def cached_requests(data: DatasetSizes, store_format: Format, codec: str, nodes: int) -> CachedRequests:
    """Return the requests that a cache on each node sends for a sample.

    Plain files are requests of their own, and compressed chunks are read by the store, not by the cache.
    """
    if store_format == "folder" or codec != "none":
        return CachedRequests()
    item = data.row_bytes if store_format == "pixels" else data.mean
    unit = min(max(1.0, CACHE_UNIT_BYTES // item), float(data.samples))
    together = _together(group_of(item), data.samples / nodes)
    return CachedRequests(1 / unit, (1 - together) + together / unit)


def _together(group: float, samples: float) -> float:
    """Return the probability that a group holds both of two samples, of a node's `samples` in groups of `group`."""
    whole = samples // group
    return (whole * group**2 + (samples - whole * group) ** 2) / samples**2


def joined(data: DatasetSizes, requests: float) -> DatasetSizes:
    """Return the sizes of requests that are larger than samples, because there are only `requests` for each sample."""
    if requests == 1:
        return data
    return replace(
        data,
        bytes=math.ceil(data.bytes / requests),
        sizes=tuple((share, size / requests) for share, size in data.sizes),
        row_bytes=math.ceil(data.row_bytes / requests),
    )
