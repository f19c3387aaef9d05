"""A training job that takes time for each batch, as MLPerf Storage emulates it, and how busy storage keeps it.

The accelerator is a wait: a batch arrives, then the job computes for a fixed time and takes the next batch. Batches are
read ahead meanwhile. The accelerator utilisation (AU) of MLPerf Storage is the share of the time in which it computes:

    AU = total compute time / total time

The first step counts in neither, since the pipeline starts up in it (Submission_guidelines.md, section 4, at
https://github.com/mlcommons/storage/blob/caa90c9c7d6a543de815222fff834a846823f922/Submission_guidelines.md; computed by
StatsCounter.compute_metrics_train in https://github.com/argonne-lcf/dlio_benchmark).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tiering.advice.accelerators import find_accelerator
from tiering.errors import UsageError
from tiering.serve.batches import Batch
from tiering.units import format_number

#: Batches that are read before the job takes them, as many as DLIO's `prefetch_size`. Short steps need more: batches
#: for at least the seconds by which a sleep may end late.
_AHEAD: Final = 2
_LATE: Final = 5e-3
#: Samples in a batch if neither the caller nor the accelerator says otherwise.
_BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class EmulatedJob:
    """A training job that takes a fixed time for each batch.

    Attributes:
        name: Its name in a sentence.
        batch_size: Samples in a batch.
        step_s: Time to compute on a batch, s. A shorter last batch takes its share of that.
        sample_bytes: Bytes of a mean sample that the emulated model reads; None where unknown.
        required: Utilisation that MLPerf Storage asks for; None where it asks for none.

    Raises:
        UsageError: For a batch or a step that is not above 0.
    """

    name: str
    batch_size: int
    step_s: float
    sample_bytes: float | None = None
    required: float | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "step_s"):
            _require_above_zero(name, getattr(self, name))

    @property
    def samples_per_s(self) -> float:
        """Samples per second that the job takes when it never waits."""
        return self.batch_size / self.step_s


def emulated_job(
    accelerator: str | None = None,
    *,
    samples_per_s: float | None = None,
    step_s: float | None = None,
    batch_size: int | None = None,
) -> EmulatedJob:
    """Return the job of an accelerator, of a rate, or of a time for each batch: one of the three.

    Args:
        accelerator: A name of `find_accelerator`.
        samples_per_s: Samples per second that the job takes when it never waits.
        step_s: Time to compute on a batch, s.
        batch_size: Samples in a batch. By default the accelerator's, or 256. With another batch size, an accelerator
            keeps its samples per second.

    Raises:
        UsageError: For an unknown accelerator, a number that is not above 0, and for none or several of the three.

    Example:
        >>> emulated_job("resnet50-h100").step_s, emulated_job(samples_per_s=5000, batch_size=100).step_s
        (0.224, 0.02)
    """
    values = {"accelerator": accelerator, "samples_per_s": samples_per_s, "step_s": step_s}
    given = [name for name, value in values.items() if value is not None]
    if len(given) != 1:
        raise UsageError(
            given[0] if given else "accelerator",
            rule=f"{'takes' if given else 'needs'} one of `accelerator`, `samples_per_s` and `step_s`",
            found=("", "", "both", "all")[len(given)],
        )
    if accelerator is not None:
        found = find_accelerator(accelerator)
        size = batch_size or found.batch_size
        name = f"{found.model} on one {found.device} ({found.name})"
        return EmulatedJob(name, size, size / found.samples_per_s, found.sample_bytes, found.utilisation)
    size = _BATCH if batch_size is None else batch_size
    if samples_per_s is None:
        return EmulatedJob("a job", size, step_s or 0.0)
    _require_above_zero("samples_per_s", samples_per_s)
    return EmulatedJob("a job", size, size / samples_per_s)


def _require_above_zero(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise UsageError(name, rule="must be above 0", found=format_number(value, 6))


class EmulatedEpoch:
    """One epoch of an emulated job, and its utilisation.

    Batches are read one after the other, up to `ahead` of them before the job takes them, as a training framework's
    queue does. The job's clock is a calculation in absolute times: it begins a batch when the batch has been read and
    the step before has ended. Sleeping only keeps the reader from running further ahead, so a sleep that ends late
    costs the job nothing, however short its steps are.

    Args:
        job: The job.
    """

    def __init__(self, job: EmulatedJob) -> None:
        self._job = job
        self._ahead = max(_AHEAD, math.ceil(_LATE / job.step_s))
        self._began = self._ended = 0.0
        self.steps = 0
        self.computed = 0.0

    def serve(self, batches: Iterable[Batch], read: Callable[[Batch], None]) -> Iterator[Batch]:
        """Yield the batches of an epoch, no faster than the job takes them.

        Args:
            batches: The batches of an epoch.
            read: Called with each batch, to read its bytes.
        """
        ends: deque[float] = deque()
        end = 0.0
        for batch in batches:
            read(batch)
            step = self._job.step_s * len(batch) / self._job.batch_size
            end = max(end, time.perf_counter()) + step
            if self.steps:
                self.computed += step
            else:
                self._began = end
            self.steps += 1
            ends.append(end)
            if len(ends) > self._ahead:
                _sleep_until(ends.popleft())
            yield batch
        self._ended = end
        _sleep_until(end)

    @property
    def utilisation(self) -> float | None:
        """Share of the time in which the job computed, without the first step; None for fewer than two steps."""
        return min(1.0, self.computed / (self._ended - self._began)) if self.steps > 1 else None


def _sleep_until(when: float) -> None:
    time.sleep(max(0.0, when - time.perf_counter()))
