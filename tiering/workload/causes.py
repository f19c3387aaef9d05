"""Where a watched job waits: rules that name what slows it down, each with its evidence, its fix and a command.

A job has a consumer, which trains, and a loader: worker processes, threads, or the consumer itself. A loader slows the
job down only if the consumer waits for it. So the rules first ask whether it does, and then what the loader does
meanwhile. docs/causes.md explains each rule with its thresholds. A cause is named on evidence alone: what the system
did not tell names none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tiering.trace.trace_profile import TraceProfile
from tiering.trace.waiting import Waiting
from tiering.workload.cause import Cause, named
from tiering.workload.cause_rules import (
    ACCELERATED,
    FED,
    FEWEST_BATCHES,
    MATTERS,
    SHORTEST,
    STARVED,
    loader_and_consumer,
    of_cache,
    of_loader,
    of_memory,
)
from tiering.workload.explain import percent

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile

#: What makes a job wait for storage stands before the storage itself; and workers that wait for each other leave
#: processors free that more workers would not use.
_ROOTS: Final = ("memory", "cache", "lock")


def causes(
    waiting: Waiting | None,
    trace: TraceProfile | None = None,
    *,
    dataset_bytes: int | None = None,
    dataset: DatasetProfile | None = None,
) -> list[Cause]:
    """Name what slows a watched job down, the most important first.

    Args:
        waiting: Where the job's processes spend their time: TraceProfile.waiting, or Watched.waiting.
        trace: The profile of the same trace; it may show which data were read again.
        dataset_bytes: B of the dataset that the job reads, if known; what is read beyond it was read before.
        dataset: The profile of the dataset, if known: what to do about decoding depends on the sizes of its images.

    Returns:
        The causes; none for a healthy job, without evidence, or if an accelerator computes nearly all the time.

    Example:
        >>> profile = tiering.profile_trace("run.parquet")  # doctest: +SKIP
        >>> [cause.name for cause in tiering.causes(profile.waiting, profile)]  # doctest: +SKIP
        ['opens', 'storage']
    """
    if waiting is None or (waiting.accelerator_busy or 0.0) >= ACCELERATED:
        return []
    found = list(_profiled(waiting)) if waiting.profiled is not None else []
    if waiting.seconds >= SHORTEST and (seen := loader_and_consumer(waiting)) is not None:
        found += [
            *of_memory(waiting, seen),
            *of_cache(waiting, trace, dataset_bytes, seen),
            *of_loader(waiting, seen, dataset),
        ]
    return sorted(found, key=lambda cause: (cause.name not in _ROOTS, -cause.share))


def _profiled(waiting: Waiting) -> Iterator[Cause]:
    """Name what a profiler inside the training process shows. It does not see what workers do."""
    seen = waiting.profiled
    if seen is None or seen.batches < FEWEST_BATCHES or not seen.seconds:
        return
    starved = seen.loading / seen.seconds
    if seen.copying is not None and (copying := seen.copying / seen.seconds) >= MATTERS:
        yield named("transfer", copying, f"{percent(copying)} of the time passes in copies to the accelerator.")
    if starved >= STARVED:
        text = f"The training loop spends {percent(starved)} of its time waiting for the next batch."
        if seen.in_process:
            yield named("workers", starved, f"{text} Its DataLoader has no workers.", workers="4")
        else:
            yield named("loader", starved, f"{text} Workers load them, and what these wait for is not in this trace.")
    elif starved < FED and (seen.kernels is None or seen.kernels < ACCELERATED * seen.seconds):
        text = f"The training loop spends {percent(starved)} of its time waiting for batches."
        yield named("training step", 1.0 - starved, text)
