"""The rules that name causes from what was seen of a loader and its consumer. docs/causes.md explains them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tiering.trace.trace_profile import TraceProfile
from tiering.trace.waiting import MemoryWaiting, RoleWaiting, States, Waiting
from tiering.workload.cause import Cause, fix_of_decoding, named
from tiering.workload.explain import percent

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile

#: A consumer waits for its loader if it spends this share of its time waiting for batches...
STARVED: Final = 0.25
#: ... and does not wait below this share.
FED: Final = 0.05
#: A loader waits for something, or works, if it spends this share of its time on it.
MATTERS: Final = 0.25
#: A loader waits for its consumer if it spends this share of its time idle.
IDLE: Final = 0.9
#: A loader is bound by the processor from this share of its time on.
BUSY: Final = 0.5
#: So many processors are left over if a further worker would find one free.
SPARE: Final = 0.7
#: An accelerator that computes for this share of the time sets the pace: then nothing is to be named.
ACCELERATED: Final = 0.9
#: A share of the time in which processes wait for memory.
STALLED: Final = 0.1
#: The share of what is read that had been read before, above which a cache does not hold what it should.
READ_AGAIN: Final = 0.5
#: The share of what comes from storage that had just been dropped from memory, in a group that is held at its limit.
REFAULTED: Final = 0.25
#: B/s that must go from the workers to the consumer before their transfer can be a cause.
MOVED: Final = 10e6
#: B written for each B read, above which a job keeps filling a cache.
FILLING: Final = 0.3
#: Without this many samples of a role, and s watched, shares are too uncertain.
FEWEST_SAMPLES: Final = 10
SHORTEST: Final = 1.0
#: Without this many batches in a profiler's trace, too.
FEWEST_BATCHES: Final = 10


@dataclass(frozen=True, slots=True)
class Seen:
    """A loader and its consumer, whatever they are.

    who: the loader in words. loader: shares of the time of those that load. starved: share of its time that the
    consumer waits for batches; None if it loads by itself. idle: share of the loader's time that it waits for its
    consumer; None if unknown. number: how many load at once.
    """

    who: str
    role: RoleWaiting
    loader: States
    starved: float | None
    idle: float | None
    number: float

    @property
    def is_slow(self) -> bool:
        """Whether the consumer waits for the loader; always so if it loads by itself."""
        return self.starved is None or self.starved >= STARVED


def loader_and_consumer(waiting: Waiting) -> Seen | None:
    """Find the loader and the consumer; None if too little was seen of them."""
    consumer, workers, single = waiting.consumer, waiting.workers, waiting.single
    if consumer is not None and workers is not None and consumer.seconds >= 0.5 * (single.seconds if single else 0.0):
        if min(consumer.samples, workers.samples) < FEWEST_SAMPLES:
            return None
        main = workers.main
        starved = consumer.main.pipe + consumer.main.lock + consumer.main.storage
        return Seen("workers'", workers, main, starved, main.pipe + main.sleeping, workers.at_once)
    if single is None or single.samples < FEWEST_SAMPLES:
        return None
    threads = single.threads
    active = threads.processor + threads.storage
    starved = single.main.lock + single.main.pipe
    if active >= MATTERS and starved >= FED:
        # Threads that wait for a lock cannot be told from idle ones.
        shares = States(**{name: value / active for name, value in threads if name not in ("lock", "pipe", "sleeping")})
        return Seen("loading threads'", single, shares, starved, None, active)
    return Seen("process's", single, single.main, None, None, 1.0)


def of_loader(waiting: Waiting, seen: Seen, dataset: DatasetProfile | None) -> Iterator[Cause]:
    """Name what the loader does while its consumer waits, or that the consumer does not."""
    loader = seen.loader
    if seen.starved is not None and seen.starved < FED and seen.idle is not None and seen.idle >= IDLE:
        moved = list(_of_transfer(seen, waiting))
        yield from moved or [_step(seen)]
        return
    yield from _of_transfer(seen, waiting)
    if not seen.is_slow:
        return
    yield from _of_storage(waiting, seen)
    # Each release of a lock wakes one that waits for it. Where processors are short, it then queues, often in vain.
    held = loader.lock / (1.0 - loader.queued) if loader.queued < 1 else 0.0
    if held >= MATTERS and (waiting.accelerator_busy is None or seen.starved is not None):
        queued = ", where it does not queue for a processor," if loader.queued >= FED else ""
        text = f"{percent(held)} of the {seen.who} time{queued} is spent waiting for a lock that another one holds."
        yield named("lock", held, text)
    if seen.starved is not None and loader.processor >= BUSY and waiting.cores is not None:
        spare = waiting.cores - waiting.demand
        text = (
            f"{percent(loader.processor)} of the {seen.who} time is spent on the processor, and the training waits for "
            f"batches in {percent(seen.starved)} of its time."
        )
        if spare >= SPARE:
            more = f"{text} {spare:.1f} of {waiting.cores} usable processors are free."
            yield named("workers", loader.processor, more, workers=f"{waiting.cores}")
        else:
            busy = f"{text} All {waiting.cores} usable processors are in use."
            yield named("decoding", loader.processor, busy, fix_of_decoding(dataset))


def _of_storage(waiting: Waiting, seen: Seen) -> Iterator[Cause]:
    share, opening = seen.loader.storage, seen.role.opening
    opens = seen.loader.disk * (opening or 0.0)
    where = "a server" if seen.loader.network > seen.loader.disk else "storage"
    counted = "" if waiting.opens is None else f" {waiting.opens:,} opens were seen."
    if opens >= MATTERS:
        text = f"{percent(opens)} of the {seen.who} time is spent waiting for {where} to open files.{counted}"
        yield named("opens", opens, text)
    if share - opens >= MATTERS:
        told = "" if opening is not None else " Whether they open files or read them is not known."
        text = f"{percent(share - opens)} of the {seen.who} time is spent waiting for {where} to deliver data.{told}"
        yield named("storage", share - opens, text)


def _of_transfer(seen: Seen, waiting: Waiting) -> Iterator[Cause]:
    """Name the transfer of batches from workers to the consumer."""
    consumer, workers = waiting.consumer, waiting.workers
    if consumer is None or workers is None or seen.role is not workers:
        return
    # The thread of a worker that sends batches waits until the pipe takes them; a pipe takes no more than 64 KiB.
    blocked = min(1.0, workers.threads.pipe)
    sent, rate = workers.bytes_written, workers.bytes_written / consumer.seconds
    if blocked >= MATTERS and rate >= MOVED and sent >= READ_AGAIN * workers.bytes_read:
        text = (
            f"{percent(blocked)} of the workers' time passes with a batch that waits for the pipe to the training "
            f"process: {rate / 1e6:,.0f} MB/s go through it."
        )
        yield named("transfer", blocked, text)
        return
    kernel = workers.kernel / workers.seconds
    shared = workers.minor_faults * _PAGE
    if (
        kernel >= MATTERS
        and kernel >= BUSY * workers.cores
        and shared >= 2 * max(MOVED * workers.seconds, workers.bytes_read)
    ):
        text = (
            f"{percent(kernel)} of the workers' time is spent in the kernel, which gave them "
            f"{shared / workers.seconds / 1e6:,.0f} MB/s of fresh memory for batches, more than they read."
        )
        yield named("transfer", kernel, text)


_PAGE: Final = 4096


def of_memory(waiting: Waiting, seen: Seen) -> Iterator[Cause]:
    """Name memory that is too small: processes wait for it, or the page cache loses what is needed again."""
    memory = waiting.memory
    if memory is None:
        return
    stalled = (memory.stalled or 0.0) / waiting.seconds
    # Pages are dropped and read again in the kernel's time as well as in waits.
    lost = seen.loader.storage + seen.loader.processor * _in_kernel(seen.role)
    again = seen.is_slow and bool(memory.limited) and lost >= MATTERS and _refaulted(waiting, memory) >= REFAULTED
    if stalled >= STALLED or again:
        what = (
            f"{percent(min(1.0, lost))} of the {seen.who} time passes in waits for storage and in the kernel."
            if again
            else f"{percent(min(1.0, stalled))} of the time some process waited for memory."
        )
        if memory.limit is not None:
            what += (
                f" The control group's limit of {memory.limit / 1e6:,.0f} MB was reached {memory.limited or 0:,} times."
            )
        if memory.refaulted:
            what += f" {memory.refaulted / 1e6:,.0f} MB were read again that had just been dropped from memory."
        yield named("memory", min(1.0, max(stalled, lost if again else 0.0)), what)


def of_cache(waiting: Waiting, trace: TraceProfile | None, dataset_bytes: int | None, seen: Seen) -> Iterator[Cause]:
    """Name a cache whose contents are dropped before they are used again: the page cache, or the job's own."""
    if not seen.is_slow or seen.loader.storage < MATTERS:
        return
    memory = waiting.memory
    if memory is not None and not memory.limited and _refaulted(waiting, memory) >= READ_AGAIN:
        text = (
            f"{percent(_refaulted(waiting, memory))} of the bytes that came from storage had been in the page cache a "
            "short while before: the data do not fit into memory."
        )
        yield named("cache", seen.loader.storage, text)
        return
    again, filling = _read_again(waiting, trace, dataset_bytes, seen), _filling(waiting, seen)
    if again is not None and again >= READ_AGAIN and filling >= FILLING:
        text = (
            f"{percent(again)} of what was read had been read before, and the job still writes {filling:.2f} B for "
            "each B that it reads: it fills a cache whose contents are dropped before they are used again."
        )
        yield named("cache", seen.loader.storage, text)


def _read_again(waiting: Waiting, trace: TraceProfile | None, dataset_bytes: int | None, seen: Seen) -> float | None:
    """Return the share of the data read that had been read before; None if no source shows it."""
    if waiting.touched is not None and waiting.touched_again is not None and waiting.touched + waiting.touched_again:
        return waiting.touched_again / (waiting.touched + waiting.touched_again)
    if dataset_bytes is not None:
        # What the job itself wrote, it may have read back.
        read = max(0, seen.role.bytes_read - seen.role.bytes_written)
        return max(0.0, 1.0 - dataset_bytes / read) if read else 0.0
    if trace is not None and trace.bytes_read and trace.opens and trace.is_placed:
        return trace.bytes_reread / trace.bytes_read
    return None


def _filling(waiting: Waiting, seen: Seen) -> float:
    """Return how many B the loader writes to files for each B that it reads; batches to the consumer do not count."""
    role, consumer = seen.role, waiting.consumer
    sent = consumer.bytes_read if consumer is not None and role is waiting.workers else 0
    return max(0, role.bytes_written - sent) / role.bytes_read if role.bytes_read else 0.0


def _in_kernel(role: RoleWaiting) -> float:
    """Return the share of the processor time that is spent in the kernel."""
    return min(1.0, role.kernel / role.processor) if role.processor else 0.0


def _refaulted(waiting: Waiting, memory: MemoryWaiting) -> float:
    """Return the share of what came from storage that had just been dropped from memory; 0 if unknown."""
    read = waiting.device_read
    return (memory.refaulted or 0) / read if read else 0.0


def _step(seen: Seen) -> Cause:
    text = (
        f"{percent(seen.idle or 0.0)} of the {seen.who} time is spent waiting until the training takes a batch; the "
        f"training waits for batches in {percent(seen.starved or 0.0)} of its time."
    )
    return named("training step", seen.idle or 0.0, text)
