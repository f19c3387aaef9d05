"""Where a watched job waits: rules that name what slows it down, each with its evidence, its fix and a command.

A job has a consumer, which trains, and a loader: worker processes, threads, or the consumer itself. A loader slows the
job down only if the consumer waits for it. So the rules first ask whether it does, and then what the loader does
meanwhile. docs/causes.md explains each rule with its thresholds. A cause is named on evidence alone: what the system
did not tell names none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tiering.trace.trace_profile import TraceProfile
from tiering.trace.waiting import MemoryWaiting, RoleWaiting, States, Waiting
from tiering.workload.cause_texts import FIXES, Fix
from tiering.workload.explain import percent

CauseName = Literal[
    "storage", "opens", "decoding", "workers", "transfer", "training step", "lock", "memory", "cache", "loader"
]

#: A consumer waits for its loader if it spends this share of its time waiting for batches...
STARVED: Final = 0.2
#: ... and does not wait below this share.
FED: Final = 0.05
#: A loader waits for something, or works, if it spends this share of its time on it.
MATTERS: Final = 0.25
#: A loader waits for its consumer if it spends this share of its time idle.
IDLE: Final = 0.8
#: A loader is bound by the processor from this share of its time on.
BUSY: Final = 0.5
#: So many processors are left over if a further worker would find one free.
SPARE: Final = 0.7
#: An accelerator that computes for this share of the time sets the pace: then nothing is to be named.
ACCELERATED: Final = 0.9
#: A share of the time in which processes wait for memory.
STALLED: Final = 0.1
#: What was read again, of all that was read: of pages that had just been dropped, or of the dataset.
READ_AGAIN: Final = 0.5
#: B written for each B read, above which a job keeps filling a cache.
FILLING: Final = 0.3
#: Without this many samples of a role, and s watched, shares are too uncertain.
FEWEST_SAMPLES: Final = 20
SHORTEST: Final = 1.0


class Cause(BaseModel):
    """One reason why a job waits."""

    model_config = ConfigDict(frozen=True)

    name: CauseName
    share: float = Field(description="share of the loader's time, or of the consumer's, that it explains, in [0, 1]")
    evidence: str = Field(description="what was seen, with its figures")
    fix: str = Field(description="what to do about it")
    command: str | None = Field(description="the command that does it, or looks further; null if no command does")


def causes(waiting: Waiting | None, trace: TraceProfile | None = None) -> list[Cause]:
    """Name what slows a watched job down, the most important first.

    Args:
        waiting: Where the job's processes spend their time: TraceProfile.waiting, or Watched.waiting.
        trace: The profile of the same trace; it shows whether data were read again.

    Returns:
        The causes; none for a healthy job, without evidence, or if an accelerator computes nearly all the time.

    Example:
        >>> profile = tiering.profile_trace("run.parquet")  # doctest: +SKIP
        >>> [cause.name for cause in tiering.causes(profile.waiting, profile)]  # doctest: +SKIP
        ['opens', 'storage']
    """
    if waiting is None or waiting.seconds < SHORTEST or (waiting.accelerator_busy or 0.0) >= ACCELERATED:
        return []
    found = list(_profiled(waiting)) if waiting.profiled is not None else []
    if (seen := _seen(waiting)) is not None:
        found += [*_of_memory(waiting, seen), *_of_cache(waiting, trace, seen), *_of_loader(waiting, seen)]
    return sorted(found, key=lambda cause: (cause.name not in _ROOTS, -cause.share))


#: What makes a job wait for storage stands before the storage itself.
_ROOTS: Final = ("memory", "cache")


@dataclass(frozen=True, slots=True)
class _Seen:
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


def _seen(waiting: Waiting) -> _Seen | None:
    """Find the loader and the consumer; None if too little was seen of them."""
    consumer, workers, single = waiting.consumer, waiting.workers, waiting.single
    if consumer is not None and workers is not None and consumer.seconds >= 0.5 * (single.seconds if single else 0.0):
        if min(consumer.samples, workers.samples) < FEWEST_SAMPLES:
            return None
        main = workers.main
        starved = consumer.main.pipe + consumer.main.lock + consumer.main.storage
        return _Seen("workers'", workers, main, starved, main.pipe + main.sleeping, workers.at_once)
    if single is None or single.samples < FEWEST_SAMPLES:
        return None
    threads = single.threads
    active = threads.processor + threads.storage
    starved = single.main.lock + single.main.pipe
    if active >= MATTERS and starved >= FED:
        # Threads that wait for a lock cannot be told from idle ones.
        shares = States(**{name: value / active for name, value in threads if name not in ("lock", "pipe", "sleeping")})
        return _Seen("loading threads'", single, shares, starved, None, active)
    return _Seen("process's", single, single.main, None, None, 1.0)


def _of_loader(waiting: Waiting, seen: _Seen) -> Iterator[Cause]:
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
    if loader.lock >= MATTERS and (waiting.accelerator_busy is None or seen.starved is not None):
        text = f"{percent(loader.lock)} of the {seen.who} time is spent waiting for a lock that another one holds."
        yield _cause("lock", loader.lock, text)
    if seen.starved is not None and loader.processor >= BUSY:
        spare = waiting.cores - waiting.demand
        text = (
            f"{percent(loader.processor)} of the {seen.who} time is spent on the processor, and the training waits for "
            f"batches in {percent(seen.starved)} of its time."
        )
        if spare >= SPARE:
            more = f"{text} {spare:.1f} of {waiting.cores} usable processors are free."
            yield _cause("workers", loader.processor, more, workers=f"{waiting.cores}")
        else:
            yield _cause("decoding", loader.processor, f"{text} All {waiting.cores} usable processors are in use.")


def _of_storage(waiting: Waiting, seen: _Seen) -> Iterator[Cause]:
    share, opening = seen.loader.storage, seen.role.opening
    opens = seen.loader.disk * (opening or 0.0)
    where = "a server" if seen.loader.network > seen.loader.disk else "storage"
    counted = "" if waiting.opens is None else f" {waiting.opens:,} opens were seen."
    if opens >= MATTERS:
        text = f"{percent(opens)} of the {seen.who} time is spent waiting for {where} to open files.{counted}"
        yield _cause("opens", opens, text)
    if share - opens >= MATTERS:
        told = "" if opening is not None else " Whether they open files or read them is not known."
        text = f"{percent(share - opens)} of the {seen.who} time is spent waiting for {where} to deliver data.{told}"
        yield _cause("storage", share - opens, text)


def _of_transfer(seen: _Seen, waiting: Waiting) -> Iterator[Cause]:
    """Name the transfer of batches from workers to the consumer."""
    consumer, workers = waiting.consumer, waiting.workers
    if consumer is None or workers is None or seen.role is not workers:
        return
    # The thread of a worker that sends batches waits until the pipe takes them; a pipe takes no more than 64 KiB.
    blocked = min(1.0, workers.threads.pipe)
    sent, rate = workers.bytes_written, workers.bytes_written / consumer.seconds
    if blocked >= MATTERS and sent >= READ_AGAIN * workers.bytes_read:
        text = (
            f"{percent(blocked)} of the workers' time passes with a batch that waits for the pipe to the training "
            f"process: {rate / 1e6:,.0f} MB/s go through it."
        )
        yield _cause("transfer", blocked, text)
        return
    kernel = workers.kernel / workers.seconds
    shared = workers.minor_faults * _PAGE
    if kernel >= MATTERS and kernel >= BUSY * workers.cores and shared >= 2 * max(1, workers.bytes_read):
        text = (
            f"{percent(kernel)} of the workers' time is spent in the kernel, which gave them "
            f"{shared / workers.seconds / 1e6:,.0f} MB/s of fresh memory for batches, more than they read."
        )
        yield _cause("transfer", kernel, text)


_PAGE: Final = 4096


def _of_memory(waiting: Waiting, seen: _Seen) -> Iterator[Cause]:
    memory = waiting.memory
    if memory is None:
        return
    stalled = (memory.stalled or 0.0) / waiting.seconds
    waits = seen.is_slow and seen.loader.storage >= MATTERS
    again = waits and bool(memory.limited) and _refaulted(waiting, memory) >= READ_AGAIN
    if stalled >= STALLED or again:
        what = f"{percent(min(1.0, stalled))} of the time some process waited for memory."
        if memory.limit is not None:
            what += (
                f" The control group's limit of {memory.limit / 1e6:,.0f} MB was reached {memory.limited or 0:,} times."
            )
        if memory.refaulted:
            what += f" {memory.refaulted / 1e6:,.0f} MB were read again that had just been dropped from memory."
        yield _cause("memory", min(1.0, max(stalled, seen.loader.storage if again else 0.0)), what)


def _of_cache(waiting: Waiting, trace: TraceProfile | None, seen: _Seen) -> Iterator[Cause]:
    """Name a cache whose contents are dropped before they are used again: the page cache, or the job's own."""
    if not seen.is_slow or seen.loader.storage < MATTERS:
        return
    memory = waiting.memory
    if memory is not None and not memory.limited and _refaulted(waiting, memory) >= READ_AGAIN:
        text = (
            f"{percent(_refaulted(waiting, memory))} of the bytes that came from storage had been in the page cache a "
            "short while before: the data do not fit into memory."
        )
        yield _cause("cache", seen.loader.storage, text)
    elif trace is not None and trace.bytes_read and trace.is_placed:
        again, written = trace.bytes_reread / trace.bytes_read, trace.bytes_written / trace.bytes_read
        if again >= READ_AGAIN and written >= FILLING:
            text = (
                f"{percent(again)} of the bytes read had been read before, and the job still writes {written:.2f} B "
                "for each B that it reads: it fills a cache whose contents are dropped before they are used again."
            )
            yield _cause("cache", seen.loader.storage, text)


def _refaulted(waiting: Waiting, memory: MemoryWaiting) -> float:
    """Return the share of what came from storage that had just been dropped from memory; 0 if unknown."""
    read = waiting.device_read
    return (memory.refaulted or 0) / read if read else 0.0


def _step(seen: _Seen) -> Cause:
    text = (
        f"The {seen.who} time is spent waiting for the training to take batches in {percent(seen.idle or 0.0)} of it; "
        f"the training waits for batches in {percent(seen.starved or 0.0)} of its time."
    )
    return _cause("training step", seen.idle or 0.0, text)


def _profiled(waiting: Waiting) -> Iterator[Cause]:
    """Name what a profiler inside the training process shows. It does not see what workers do."""
    seen = waiting.profiled
    if seen is None or not seen.batches or not seen.seconds:
        return
    starved = seen.loading / seen.seconds
    if seen.copying is not None and (copying := seen.copying / seen.seconds) >= MATTERS:
        yield _cause("transfer", copying, f"{percent(copying)} of the time passes in copies to the accelerator.")
    if starved >= STARVED:
        text = f"The training loop spends {percent(starved)} of its time waiting for the next batch."
        if seen.in_process:
            yield _cause("workers", starved, f"{text} Its DataLoader has no workers.", workers="4")
        else:
            yield _cause("loader", starved, f"{text} Workers load them, and what these wait for is not in this trace.")
    elif starved < FED and (seen.kernels is None or seen.kernels < ACCELERATED * seen.seconds):
        text = f"The training loop spends {percent(starved)} of its time waiting for batches."
        yield _cause("training step", 1.0 - starved, text)


def _cause(name: CauseName, share: float, evidence: str, **words: str) -> Cause:
    fix: Fix = FIXES[name]
    return Cause(
        name=name,
        share=min(1.0, share),
        evidence=evidence,
        fix=fix.text.format(**words) if words else fix.text,
        command=fix.command,
    )
