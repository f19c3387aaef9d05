"""The stages of an epoch: the seconds that the device, the opens, the threads and the cores each need, alone.

The idea: the loader reads ahead, so the stages work at the same time and the slowest one sets the pace. A steady epoch
takes the largest of these numbers. In a cold epoch the first group of samples passes through the stages one after the
other, before anything overlaps; `cold_seconds` adds that.

Example: 1,000 files, 10 ms of device time each, 2 ms to open each with 2 threads, 4 ms of decoding in 4 threads.
Device 10 s, open latency 1 s, decoding 1 s: the epoch takes 10 s, and faster decoding would change nothing. Move the
files to a device of 0.5 ms: now the opens and the decoding set the pace, and the epoch takes 1 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from tiering.advice.catalog import Tier
from tiering.advice.cpu_costs import Coding, Costs, Work
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.device_time import device_seconds, first_share, group_of
from tiering.io_sizes import ANNOUNCE_THREADS, CHUNK_BYTES, HELD_BYTES, PREFETCH_BYTES
from tiering.literals import Bottleneck, Format

#: Seconds that each stage of an epoch would take alone.
Stages = dict[Bottleneck, float]

#: Loader workers that wait for a network at the same time, at least. A usual setting, not a measurement.
NETWORK_WORKERS: Final = 8
#: Seconds that a sample out of tiering's cache takes above one out of a mapped store: docs/benchmarks.md, "Caching".
CACHE_SECONDS: Final = 2e-6
#: Seconds for each sample, and B/s, of data from a socket. It is copied like a file; nothing can map it.
SOCKET_SECONDS: Final = 12e-6
SOCKET_RATE: Final = 1.3e9
#: Plain B/s that one core decodes of zstd. An assumption for encoded files that compress.
ZSTD_RATE: Final = 1e9


@dataclass(frozen=True, slots=True)
class Loading:
    """How a training job takes its samples.

    Attributes:
        decode: Whether the loader decodes images to pixels. Otherwise the job takes encoded bytes.
        threads: Threads of the loader.
        cores: Cores that the threads, the announcing and the kernel share; by default as many as threads.
        samples_per_s: Samples per second the training job can consume, on all nodes together. None for no limit.
        nodes: Nodes that share each epoch. Each has its own caches, in which its samples stay (`shuffle="sticky"`).

    Raises:
        ValueError: For anything not above 0.
    """

    decode: bool = False
    threads: int = 2
    cores: int | None = None
    samples_per_s: float | None = None
    nodes: int = 1

    def __post_init__(self) -> None:
        rate = 1.0 if self.samples_per_s is None else self.samples_per_s
        counts = (self.threads, self.nodes, 1 if self.cores is None else self.cores)
        if min(counts) < 1 or not 0 < rate < math.inf:
            message = f"loading: expected threads, cores, nodes and a rate above 0, found {self}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class EpochModel:
    """One dataset on one tier in one format, and the job that reads it."""

    data: DatasetSizes
    tier: Tier
    store_format: Format
    codec: str
    loading: Loading
    costs: Costs

    def stages(
        self, *, miss: float, cached: float, page_cache: float, local: float = 0.0, first: bool = False
    ) -> Stages:
        """Return the seconds of each stage of an epoch, on one node.

        Args:
            miss: Share of the samples read from the tier.
            cached: Share of the samples read from tiering's cache.
            page_cache: Bytes of memory that keep what was read.
            local: The part of `cached` that comes from the cache's disk.
            first: Whether nothing is decoded or mapped yet.
        """
        samples = self.data.samples / self.loading.nodes
        announcing = miss * self._announce_s
        opens = self._open_seconds(miss)
        threads = min(self.loading.threads, self.loading.cores or self.loading.threads)
        read, decode = self._read(cached, threads, first=first), self._decode()
        fill = (miss + local) * self.costs.fill * self._item if self.tier.access == "file" else 0.0
        # Announcing a file holds the GIL, and so the threads.
        paced = read.on(threads) + decode.on(threads) + announcing
        faults = self._page_faults if first else 0.0
        if self._viewed:
            # The consumer itself takes the views; threads do not help.
            paced = read.seconds + faults
        else:
            paced += faults / threads
        everywhere = (read.seconds + decode.seconds + fill + announcing + faults) / max(
            threads, self.loading.cores or 2
        )
        cpu: Bottleneck = "decoding" if decode.seconds > self._plain_read(first=first).seconds else "CPU copy"
        return {
            "device": miss * self.device(page_cache),
            "open latency": max(samples * opens, miss * self._shared_opens),
            cpu: samples * paced,
            "all cores": samples * everywhere,
        }

    def cold_seconds(self, stages: Stages, page_cache: float) -> float:
        """Return the seconds of a cold epoch.

        That is the worst sum of one whole stage and the time that the first group of samples spends in the others. One
        thread announces that group, and nothing overlaps until it is read and decoded.
        """
        groups = max(1.0, self.data.samples / self.loading.nodes / group_of(self._item))
        shared = (self.data, self.tier, self.store_format, self.codec, self.costs, page_cache)
        alone: Stages = {
            name: time * (first_share(*shared) if name == "device" else 1 / groups)
            for name, time in stages.items()
            if name != "all cores"
        }
        # The first group is opened by one thread. A server's limit on the opens of all nodes is no latency of one.
        own = min(stages["open latency"], self.data.samples / self.loading.nodes * self._open_seconds(1.0))
        alone["open latency"] = own / groups * self._opens_at_once
        # "All cores" already counts the processor's part of that group.
        within: dict[str, set[str]] = {"all cores": {"CPU copy", "decoding"}}
        return self.costs.start_s + max(
            time + sum(wait for other, wait in alone.items() if other not in within.get(name, {name}))
            for name, time in stages.items()
        )

    def device(self, page_cache: float) -> float:
        """Return the seconds that the device needs for all of a node's samples.

        All nodes read at the same time, so a shared tier needs at least its seconds for the samples of all of them.
        """
        how = (self.store_format, self.codec, self.costs, page_cache)
        own = device_seconds(self.data, self.tier, *how) / self.loading.nodes
        together = self.tier.together
        return own if together is None else max(own, device_seconds(self.data, together, *how))

    @property
    def _shared_opens(self) -> float:
        """Seconds of a shared system to open each file once, by any node."""
        together = self.tier.together
        if self.store_format != "folder" or together is None:
            return 0.0
        return self.data.samples * (1 + self.tier.open_requests) / together.iops

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
        if not self.tier.network:
            return ANNOUNCE_THREADS
        return min(max(NETWORK_WORKERS, self.loading.threads), self.tier.queue_depth)

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

        For chunks of many rows the faults of maps are part of decoding.
        """
        rows = self.data.samples * self.data.row_bytes / self.loading.nodes if self.store_format == "pixels" else 0.0
        batches = self.costs.fresh * min(rows, PREFETCH_BYTES) * self.loading.nodes / self.data.samples
        if self.store_format == "folder" or self.tier.access == "object":
            return batches
        coding = self._coding
        return batches + (self.costs.touch * self._item if coding is None or coding.chunk == 1 else 0.0)

    @property
    def _coding(self) -> Coding | None:
        return self.costs.codings.get(self.codec) if self.store_format == "pixels" else None

    @property
    def _viewed(self) -> bool:
        """Whether training takes views of maps, which need no thread."""
        packed = self.store_format in ("lmdb", "zarr") and self.codec == "none"
        return packed and not self.loading.decode and self.tier.access != "object"

    def _decode(self) -> Work:
        return self.costs.decode if self.loading.decode and self.store_format != "pixels" else Work(0.0)

    def _read(self, cached: float, threads: int, *, first: bool) -> Work:
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
            return Work(self.costs.view.seconds + max(self.data.mean, CHUNK_BYTES) / ZSTD_RATE)
        return self.costs.view

    def _coded(self, coding: Coding, *, first: bool) -> Work:
        if coding.chunk == 1:
            return coding.work
        # Some chunks stay decoded; of the others each sample decodes a whole one.
        held = min(1.0, HELD_BYTES / (self.data.samples * self.data.row_bytes))
        chunks = (1 - held) + (held / coding.chunk if first else 0.0)
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
