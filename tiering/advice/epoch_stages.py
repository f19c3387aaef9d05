"""The stages of an epoch: what the device, the opens, the threads and the cores need for it, each by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

from tiering.advice.catalog import Tier
from tiering.advice.cpu_costs import Coding, Costs, Work
from tiering.advice.dataset_sizes import Data
from tiering.advice.stored_size import CHUNK, Format, device_seconds, first_share, group_of

Bottleneck = Literal["device", "open latency", "CPU copy", "decoding", "all cores", "training job"]
#: s that each stage of an epoch alone would take.
Stages = dict[Bottleneck, float]

#: Threads of the loader that announce, and so open, files at the same time.
ANNOUNCERS: Final = 2
#: Loader workers that wait for a network at the same time; a usual setting, not a measurement.
NETWORK_WORKERS: Final = 8
#: s that a sample out of tiering's cache takes above one out of a mapped store: docs/benchmarks.md, "Caching".
CACHE_SECONDS: Final = 2e-6
#: s and B/s of what comes over a socket: copied like a file, by nobody mapped.
SOCKET_SECONDS: Final = 12e-6
SOCKET_COPY: Final = 1.3e9
#: Plain B/s of decoding zstd by one core: an assumption for encoded files that compress.
ZSTD_DECODE: Final = 1e9
#: B of batches of pixels that a loader holds (tiering.serve.loader).
AHEAD: Final = 64 << 20
#: B of decoded chunks that a store of compressed chunks keeps (tiering.store.chunked_store).
HELD: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Loading:
    """How a training job takes its samples.

    decode: as pixels, decoded by the loader; otherwise as encoded bytes. threads: of the loader; cores: that they, the
    announcing and the kernel share, by default as many as threads. samples_per_s: what the job takes, on all nodes
    together, when it never waits; None where it takes what it gets. nodes: that share each epoch, every one with caches
    of its own, in which its samples stay (Loader(shuffle="sticky")). Raises ValueError for anything not above 0.
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
class Way:
    """One way to serve one dataset."""

    data: Data
    tier: Tier
    store_format: Format
    codec: str
    loading: Loading
    costs: Costs

    def stages(
        self, *, miss: float, cached: float, page_cache: float, local: float = 0.0, first: bool = False
    ) -> Stages:
        """Return s of each stage of an epoch.

        Shares of the samples: miss, read from where the dataset lies; cached, from tiering's cache; local of them, from
        its disk. page_cache: B of memory that keep what was read. first: nothing is decoded yet.
        """
        samples = self.data.samples / self.loading.nodes
        opens = told = 0.0
        if self.store_format == "folder":
            overlap = NETWORK_WORKERS if self.tier.network else ANNOUNCERS
            told = miss * self.costs.tell_file_s if self.tier.access == "file" else 0.0
            opens = (miss * self.tier.open_cost + told) / overlap
        threads = min(self.loading.threads, self.loading.cores or self.loading.threads)
        read, decode = self._read(cached, threads, first=first), self._decode()
        fill = (miss + local) * self.costs.fill * self._item if self.tier.access == "file" else 0.0
        # Telling holds the interpreter's lock, and so the threads.
        paced = read.on(threads) + decode.on(threads) + told
        touched = self._touched if first else 0.0
        if self._viewed:
            # The consumer itself takes the views; threads help it with nothing.
            paced = read.seconds + touched
        else:
            paced += touched / threads
        everywhere = (read.seconds + decode.seconds + fill + told + touched) / max(threads, self.loading.cores or 2)
        cpu: Bottleneck = "decoding" if decode.seconds > self._own(first=first).seconds else "CPU copy"
        return {
            "device": miss * self.device(page_cache),
            "open latency": samples * opens,
            cpu: samples * paced,
            "all cores": samples * everywhere,
        }

    def piped(self, stages: Stages, page_cache: float) -> float:
        """Return s of a cold epoch: a stage, and of the others what the first group of samples takes, at their most.

        That group is announced by one thread; until it was read and decoded, nothing overlaps.
        """
        groups = max(1.0, self.data.samples / self.loading.nodes / group_of(self._item))
        overlap = NETWORK_WORKERS if self.tier.network else ANNOUNCERS
        shared = (self.data, self.tier, self.store_format, self.codec, self.costs, page_cache)
        alone: Stages = {
            name: time * (first_share(*shared) if name == "device" else 1 / groups)
            for name, time in stages.items()
            if name != "all cores"
        }
        alone["open latency"] *= overlap
        # All cores have the processor's part of that group in theirs.
        within: dict[str, set[str]] = {"all cores": {"CPU copy", "decoding"}}
        return self.costs.start_s + max(
            time + sum(wait for other, wait in alone.items() if other not in within.get(name, {name}))
            for name, time in stages.items()
        )

    def device(self, page_cache: float) -> float:
        """Return s that the device needs for all of a node's samples."""
        whole = device_seconds(self.data, self.tier, self.store_format, self.codec, self.costs, page_cache)
        return whole / self.loading.nodes

    @property
    def _item(self) -> float:
        """B of a mean sample as it is stored."""
        if self.store_format != "pixels":
            return self.data.mean
        coding = self._coding
        return self.data.row_bytes * (coding.ratio if coding else 1.0)

    @property
    def _touched(self) -> float:
        """Return s of the faults of a sample's pages in new maps, and in new memory for batches of pixels.

        Chunks of many rows count those of maps as decoding.
        """
        rows = self.data.samples * self.data.row_bytes / self.loading.nodes if self.store_format == "pixels" else 0.0
        batches = self.costs.fresh * min(rows, AHEAD) * self.loading.nodes / self.data.samples
        if self.store_format == "folder" or self.tier.access == "object":
            return batches
        coding = self._coding
        return batches + (self.costs.touch * self._item if coding is None or coding.chunk == 1 else 0.0)

    @property
    def _coding(self) -> Coding | None:
        return self.costs.codings.get(self.codec) if self.store_format == "pixels" else None

    @property
    def _viewed(self) -> bool:
        """Whether the training takes views of maps, which no thread has to make."""
        packed = self.store_format in ("lmdb", "zarr") and self.codec == "none"
        return packed and not self.loading.decode and self.tier.access != "object"

    def _decode(self) -> Work:
        return self.costs.decode if self.loading.decode and self.store_format != "pixels" else Work(0.0)

    def _read(self, cached: float, threads: int, *, first: bool) -> Work:
        """Return the work of reading one sample. cached: share that tiering's cache answers, if that is cheaper."""
        own = self._own(first=first)
        plain = self.costs.row if self.store_format == "pixels" else self.costs.view
        slab = Work(CACHE_SECONDS + plain.seconds, plain.serial)
        if not cached or slab.seconds >= own.seconds or slab.on(threads) >= own.on(threads):
            return own
        seconds = (1 - cached) * own.seconds + cached * slab.seconds
        serial = (1 - cached) * own.seconds * own.serial + cached * slab.seconds * slab.serial
        return Work(seconds, serial / seconds)

    def _own(self, *, first: bool) -> Work:
        if self.store_format == "folder":
            return self.costs.file
        if self.tier.access == "object":
            return Work(SOCKET_SECONDS + self._item / SOCKET_COPY)
        if self.store_format == "pixels":
            coding = self._coding
            return self.costs.row if coding is None else self._coded(coding, first=first)
        if self.codec != "none":
            return Work(self.costs.view.seconds + max(self.data.mean, CHUNK) / ZSTD_DECODE)
        return self.costs.view

    def _coded(self, coding: Coding, *, first: bool) -> Work:
        if coding.chunk == 1:
            return coding.work
        # Chunks of many rows: some stay decoded; of the others each sample decodes a whole one.
        held = min(1.0, HELD / (self.data.samples * self.data.row_bytes))
        chunks = (1 - held) + (held / coding.chunk if first else 0.0)
        decoding = chunks * coding.chunk_s
        seconds = coding.work.seconds + decoding
        # Threads that want the same chunk wait for the one that decodes it.
        return Work(seconds, (coding.work.seconds * coding.work.serial + decoding) / seconds)


def blended(bypassed: Stages, used: Stages) -> Stages:
    """Return the stages when as much of a local cache is used as makes the slowest stage least.

    All are straight lines of the share that is used, so the least lies at an end or where two of them cross.
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
