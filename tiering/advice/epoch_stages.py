"""The stages of an epoch: the seconds that the device, the opens, the threads and the cores each need, alone.

The idea: the loader reads ahead, so the stages work at the same time and the slowest one sets the pace. A steady epoch
takes the largest of these numbers. In a cold epoch the first group of samples passes through the stages one after the
other, before anything overlaps; `cold_seconds` adds that.

Example: 1,000 files, 10 ms of device time each, 2 ms to open each with 2 threads, 4 ms of decoding in 4 threads.
Device 10 s, open latency 1 s, decoding 1 s: the epoch takes 10 s, and faster decoding would change nothing. Move the
files to a device of 0.5 ms: now the opens and the decoding set the pace, and the epoch takes 1 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

from tiering.advice.cached_requests import joined
from tiering.advice.catalog import Tier
from tiering.advice.cpu_costs import Coding, Costs, Work
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.device_time import DevicePass, group_of, is_read_whole
from tiering.advice.loading import Loading
from tiering.advice.shared_limits import for_all_nodes, for_one_node
from tiering.advice.tier_requests import Requests, requests_of
from tiering.io_sizes import ANNOUNCE_THREADS, CHUNK_BYTES, HELD_BYTES, NETWORK_ANNOUNCE_THREADS, PREFETCH_BYTES
from tiering.literals import Bottleneck, Format, ReadOrder

#: Seconds that each stage of an epoch would take alone.
Stages = dict[Bottleneck, float]

#: Small reads of a local disk for a cold open (name and inode); requests to a server for one (look-up, open, close).
_OPEN_READS, _OPEN_REQUESTS = 2, 3
#: Seconds that a sample out of tiering's cache takes above one out of a mapped store: docs/benchmarks.md, "Caching".
CACHE_SECONDS: Final = 2e-6
#: Seconds for each sample, and B/s, of data from a socket. It is copied like a file; nothing can map it.
SOCKET_SECONDS: Final = 12e-6
SOCKET_RATE: Final = 1.3e9
#: Plain B/s that one core decodes of zstd. An assumption for encoded files that compress.
ZSTD_RATE: Final = 1e9


@dataclass(frozen=True, slots=True)
class EpochModel:
    """One dataset on one tier in one format, and the job that reads it."""

    data: DatasetSizes
    tier: Tier
    store_format: Format
    codec: str
    loading: Loading
    costs: Costs
    order: ReadOrder = "global"

    def stages(
        self,
        *,
        miss: float,
        cached: float,
        page_cache: float,
        local: float = 0.0,
        first: bool = False,
        requests: float = 1.0,
    ) -> Stages:
        """Return the seconds of each stage of an epoch, on one node.

        Args:
            miss: Share of the samples read from the tier.
            cached: Share of the samples read from tiering's cache.
            page_cache: Bytes of memory that keep what was read.
            local: The part of `cached` that comes from the cache's disk.
            first: Whether nothing is decoded or mapped yet.
            requests: Requests to the tier for each sample read from it; below 1 where tiering's cache joins neighbours.
        """
        how = self.loading
        samples = self.data.samples / how.nodes
        announcing = miss * self._announce_s
        threads = how.threads_at_work
        read, decode = self._read(cached, threads, first=first), self._decode()
        fill = (miss + local) * self.costs.fill * self._item if self.tier.access == "file" else 0.0
        # Announcing a file holds the GIL, and so the threads of its process.
        paced = read.on(threads) + decode.on(threads) + announcing
        faults = self._page_faults if first else 0.0
        if self._viewed:
            # The consumer itself takes the views; threads do not help.
            paced = read.seconds + faults
        else:
            paced += faults / threads
        everywhere = (read.seconds + decode.seconds + fill + announcing + faults) / how.cores_at_work
        decoding = self.store_format != "pixels" and decode.seconds > self._plain_read(first=first).seconds
        cpu: Bottleneck = "decoding" if decoding else "CPU copy"
        stages: Stages = {
            "device": miss * self.device(page_cache, requests),
            "open latency": max(samples * self._open_seconds(miss), miss * self._shared_opens),
            cpu: samples / how.processes * paced,
            "all cores": samples * everywhere,
        }
        if self.tier.network and how.network is not None:
            stages["network"] = miss * self.requests.bytes / how.nodes / how.network
        return stages

    def cold_seconds(self, stages: Stages, page_cache: float) -> float:
        """Return the seconds of a cold epoch.

        That is the worst sum of one whole stage and the time that the first samples spend in the others: nothing
        overlaps until they are read and decoded. Two threads announce a group of a packed store each, and both groups
        share the device, so that they arrive together. A small packed store arrives as a whole.
        """
        group = group_of(self._item, self._order) * (1 if self.store_format == "folder" else ANNOUNCE_THREADS)
        groups = max(1.0, self.data.samples / self.loading.ranks / group)
        if is_read_whole(self.data.samples * self._item, self.tier, self.store_format):
            groups = 1.0
        alone: Stages = {
            name: time
            * (self._one_pass(self.data, self.tier, page_cache).first_share() if name == "device" else 1 / groups)
            for name, time in stages.items()
            if name != "all cores"
        }
        # A server's limit on the opens of all nodes is no latency of one.
        own = min(stages["open latency"], self.data.samples / self.loading.nodes * self._open_seconds(1.0))
        alone["open latency"] = own / groups
        # "All cores" already counts the processor's part of that group.
        within: dict[str, set[str]] = {"all cores": {"CPU copy", "decoding"}}
        return self.costs.start_s + max(
            time + sum(wait for other, wait in alone.items() if other not in within.get(name, {name}))
            for name, time in stages.items()
        )

    @property
    def _order(self) -> ReadOrder:
        """Plain files have no neighbours to be read with."""
        return "global" if self.store_format == "folder" else self.order

    def device(self, page_cache: float, requests: float = 1.0) -> float:
        """Return the seconds that the device needs for all samples of one node.

        All nodes read at the same time, so a shared tier needs at least its seconds for the samples of all nodes.

        Args:
            page_cache: Bytes of memory that keep what was read.
            requests: Requests for each sample; below 1 where tiering's cache joins neighbours.
        """
        tier = for_one_node(self.tier, self.loading, self._order)
        together = for_all_nodes(self.tier, self.loading, self._order)
        # Behind the page cache, DevicePass itself joins neighbours.
        requests = 1.0 if page_cache else requests
        data = joined(self.data, requests)
        all_nodes = requests * self._one_pass(data, tier, page_cache).seconds()
        if self.store_format == "folder" and not self.tier.network:
            # The same heads or channels read names and inodes.
            all_nodes += self.data.samples * min(_OPEN_READS / self.tier.iops, self.tier.open_cost)
        own = all_nodes / self.loading.nodes
        return own if together is None else max(own, requests * self._one_pass(data, together, page_cache).seconds())

    def _one_pass(self, data: DatasetSizes, tier: Tier, page_cache: float) -> DevicePass:
        return DevicePass(
            data, tier, self.store_format, self.codec, self.costs, page_cache, self._order, self.loading.ranks
        )

    @property
    def requests(self) -> Requests:
        """The requests of all nodes for every sample, once each."""
        return requests_of(self.data, self.store_format, self.codec, self.costs, self.order, self.loading.ranks)

    @property
    def _shared_opens(self) -> float:
        """Seconds of a shared system to open each file once, by any node."""
        together = for_all_nodes(self.tier, self.loading, self._order)
        if self.store_format != "folder" or together is None:
            return 0.0
        opening = min(_OPEN_REQUESTS / together.iops, self.tier.open_cost) if self.tier.access == "file" else 0.0
        return self.data.samples * (1 / together.iops + opening)

    def _open_seconds(self, miss: float) -> float:
        """Return the seconds of the latency of opening one file, with as many opens in flight as there are."""
        if self.store_format != "folder":
            return 0.0
        return miss * (self.tier.open_cost + self._announce_s) / self._opens_at_once

    @property
    def _announce_s(self) -> float:
        """Seconds to announce a sample's file to the kernel; 0 where a sample is no file."""
        return self.costs.tell_file_s if self.store_format == "folder" and self.tier.access == "file" else 0.0

    @property
    def _opens_at_once(self) -> int:
        """Opens in flight on a node: each thread of a loader process has one."""
        if self.tier.access == "object":
            # One thread of the cache sends all requests to a bucket, as many at the same time as make it quicker.
            return self.tier.queue_depth
        least = NETWORK_ANNOUNCE_THREADS if self.tier.network else ANNOUNCE_THREADS
        return min(self.loading.processes * max(least, self.loading.threads), self.tier.queue_depth)

    @property
    def _item(self) -> float:
        """Bytes of a mean sample as it is stored."""
        if self.store_format != "pixels":
            return self.data.mean
        coding = self._coding
        return self.data.row_bytes * (coding.ratio if coding else 1.0)

    @property
    def _page_faults(self) -> float:
        """Seconds for a sample's page faults: in new maps, and in new memory for batches of pixels.

        Chunks of many rows are decoded into new memory that is held; the faults of their maps are part of decoding.
        """
        rows = self.data.samples * self.data.row_bytes / self.loading.ranks if self.store_format == "pixels" else 0.0
        batches = self.costs.fresh * min(rows, PREFETCH_BYTES) * self.loading.ranks / self.data.samples
        if self.store_format == "folder" or self.tier.access == "object":
            return batches
        coding = self._coding
        if coding is None or coding.chunk == 1:
            return batches + self.costs.touch * self._item
        return batches + self.costs.fresh * min(rows, HELD_BYTES) * self.loading.ranks / self.data.samples

    @property
    def _coding(self) -> Coding | None:
        return self.costs.codings.get(self.codec) if self.store_format == "pixels" else None

    @property
    def _viewed(self) -> bool:
        """Whether training takes views of maps, which need no thread."""
        packed = self.store_format in ("lmdb", "zarr") and self.codec == "none"
        return packed and not self.loading.decode and self.tier.access != "object"

    def _decode(self) -> Work:
        if not self.loading.decode:
            return Work(0.0)
        return self.costs.crop if self.store_format == "pixels" else self.costs.decode

    def _read(self, cached: float, threads: float, *, first: bool) -> Work:
        """Return the work of reading one sample, with the cheaper of the cache and the store for the cached share."""
        own = self._plain_read(first=first)
        plain = self.costs.row if self.store_format == "pixels" else self.costs.view
        hit = Work(CACHE_SECONDS + plain.seconds, plain.serial)
        if not cached or hit.seconds >= own.seconds or hit.on(threads) >= own.on(threads):
            return own
        seconds = (1 - cached) * own.seconds + cached * hit.seconds
        serial = (1 - cached) * own.seconds * own.serial + cached * hit.seconds * hit.serial
        return Work(seconds, serial / seconds)

    def _plain_read(self, *, first: bool) -> Work:
        """Return the work of reading one sample without tiering's cache."""
        if self.store_format == "folder":
            return self.costs.file
        if self.tier.access == "object":
            return Work(SOCKET_SECONDS + self._item / SOCKET_RATE)
        if self.store_format == "pixels":
            coding = self._coding
            return self.costs.row if coding is None else self._coded(coding, first=first)
        if self.codec != "none":
            share = self.requests.count / self.data.samples
            return Work(self.costs.view.seconds + share * max(self.data.mean, CHUNK_BYTES) / ZSTD_RATE)
        return self.costs.view

    def _coded(self, coding: Coding, *, first: bool) -> Work:
        if coding.chunk == 1:
            return coding.work
        # Some chunks stay decoded; of the others each sample decodes a whole one.
        held = min(1.0, HELD_BYTES / (self.data.samples * self.data.row_bytes))
        chunks = (1 - held) + (held / coding.chunk if first else 0.0)
        if self.order == "block":
            chunks = min(chunks, self.requests.count / self.data.samples)
        decoding = chunks * coding.chunk_s
        seconds = coding.work.seconds + decoding
        # Threads that want the same chunk wait for the one that decodes it.
        return Work(seconds, (coding.work.seconds * coding.work.serial + decoding) / seconds)


def best_blend(bypassed: Stages, used: Stages) -> Stages:
    """Return the stages for the use of a local cache that makes the slowest stage fastest.

    Each stage is a straight line of the share of the cache that is used, from `bypassed` (0) to `used` (1). The least
    maximum of straight lines lies at an end, or where two of them cross.
    """
    shares = {0.0, 1.0}
    for one, other in combinations(bypassed, 2):
        apart = bypassed[one] - bypassed[other]
        turn = (used[one] - bypassed[one]) - (used[other] - bypassed[other])
        if turn and 0 < -apart / turn < 1:
            shares.add(-apart / turn)

    def at(share: float) -> Stages:
        return {name: (1 - share) * bypassed[name] + share * used[name] for name in bypassed}

    return min((at(share) for share in sorted(shares, reverse=True)), key=lambda stages: max(stages.values()))


def slowest(stages: Stages) -> Bottleneck:
    """Return the stage that sets the pace."""
    return max(stages, key=lambda name: stages[name])
