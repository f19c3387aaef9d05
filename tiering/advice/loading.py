"""Loading: how the nodes of a training job take their samples.

Four words that are easily confused. A *node* is a host: it has its own memory, local disks, cores and network. A *rank*
is a process of the training; several may run on a node. A *loader process* is a process with a loader: the rank itself,
or one of its workers. It has an interpreter lock of its own. *Threads* are those of a loader process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loading:
    """How a training job takes its samples.

    Attributes:
        decode: Whether the loader decodes images to pixels. Otherwise the job takes encoded bytes.
        threads: Threads of each loader process.
        cores: Cores of each node, which threads, announcing and the kernel share; by default as many as the threads of
            all its loader processes.
        samples_per_s: Samples per second the training job can consume, on all nodes together. None for no limit.
        nodes: Nodes that share each epoch. Each has its own caches, in which its samples stay (`shuffle="sticky"`).
        processes: Loader processes on each node.
        network: B/s at which each node receives what comes from shared storage. None for no limit.
        prefixes: Prefixes among which the objects of a bucket are spread evenly, for limits of requests to each. None
            for one, and for a packed store that is read in blocks as many as its requests need: buckets divide the keys
            of a prefix among servers as the load grows.
        connections: Requests that each node has in flight to shared storage; by default the tier's queue_depth.

    Raises:
        ValueError: For anything not above 0.
    """

    decode: bool = False
    threads: int = 2
    cores: int | None = None
    samples_per_s: float | None = None
    nodes: int = 1
    processes: int = 1
    network: float | None = None
    prefixes: int | None = None
    connections: int | None = None

    def __post_init__(self) -> None:
        counts = (self.threads, self.nodes, self.processes, self.prefixes or 1, self.cores or 1, self.connections or 1)
        given = (each for each in (self.samples_per_s, self.network) if each is not None)
        zero = 0 in {self.cores, self.connections, self.prefixes}
        if min(counts) < 1 or zero or not all(0 < each < math.inf for each in given):
            message = f"loading: expected threads, processes, cores, nodes and rates above 0, found {self}"
            raise ValueError(message)

    @property
    def ranks(self) -> int:
        """Loader processes of all nodes, each of which serves a part of every epoch."""
        return self.nodes * self.processes

    @property
    def threads_at_work(self) -> float:
        """Threads of one loader process that have a core; below 1 where processes share cores."""
        cores = math.inf if self.cores is None else self.cores / self.processes
        return min(float(self.threads), cores)

    @property
    def cores_at_work(self) -> int:
        """Cores of a node that loading may use; a loader of one thread has one beside it for the kernel."""
        return self.cores or max(2, self.threads * self.processes)
