"""The figures of a watched job, for Prometheus to scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tiering.trace.watching.job_progress import JobProgress

_STATES: Final = ("running", "disk", "lock", "pipe", "network", "sleeping")


class JobMetrics(Collector):
    """Collects what a job does at the moment. What no source shows has no metric.

    Args:
        progress: Returns the job's progress; None before the first look.
    """

    def __init__(self, progress: Callable[[], JobProgress | None]) -> None:
        self._progress = progress

    def describe(self) -> list[Metric]:
        """Return nothing: the metrics are known once there is a job."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the last look."""
        found = self._progress()
        if found is None:
            return
        for name, value, what in _counters(found):
            if value is not None:
                yield CounterMetricFamily(f"tiering_watch_{name}", what, value=value)
        for name, value, what in _gauges(found):
            if value is not None:
                yield GaugeMetricFamily(f"tiering_watch_{name}", what, value=value)
        states = GaugeMetricFamily("tiering_watch_processes_in_state", "Processes, by what they do.", labels=["state"])
        for state in _STATES:
            states.add_metric([state], sum(getattr(each, state) for each in found.processes))
        yield states
        busy = GaugeMetricFamily(
            "tiering_watch_accelerator_busy_ratio",
            "Share of the time an accelerator computed.",
            labels=["number", "name"],
        )
        for number, each in enumerate(found.accelerators):
            busy.add_metric([str(number), each.name], each.busy)
        if found.accelerators:
            yield busy


def _counters(found: JobProgress) -> Iterator[tuple[str, float | None, str]]:
    yield "seconds", found.seconds, "Seconds since the watch began."
    yield "read_bytes", found.read.bytes, "Bytes of read calls, of any file, pipe or socket."
    yield "reads", found.read.requests, "Read calls."
    yield "written_bytes", found.written.bytes, "Bytes of write calls, of any file, pipe or socket."
    yield "writes", found.written.requests, "Write calls."
    if found.mapped is not None:
        yield "mapped_bytes", found.mapped.bytes, "Bytes of mapped data files that were used."
        yield "major_faults", found.mapped.requests, "Page faults that waited for storage."
    if found.storage_read is not None:
        yield "storage_read_bytes", found.storage_read.bytes, "Bytes that came from storage."
    if found.storage_written is not None:
        yield "storage_written_bytes", found.storage_written.bytes, "Bytes that went to storage."


def _gauges(found: JobProgress) -> Iterator[tuple[str, float | None, str]]:
    yield "processes", len(found.processes), "Processes of the job."
    yield "processors", sum(each.processor for each in found.processes), "Processors that the job uses."
    yield "own_processors", found.watcher, "Processors that the watcher itself uses."
    yield "files", found.files, "Data files that are open or mapped."
    yield "touched_bytes", found.touched, "Bytes of data files that were read at least once."
    yield "touched_ratio", found.touched_share, "Share of the dataset that was touched."
    yield "reread_ratio", found.reread_share, "Share of the bytes read of data files that were read again."
    if (epoch := found.epoch) is not None:
        yield "epoch", epoch.number, "The epoch that runs, from 1, estimated."
        yield "epoch_done_ratio", epoch.done, "Share of this epoch that is read."
        yield "epoch_seconds", epoch.seconds, "Seconds that an epoch takes at the present rate."
        yield "epoch_left_seconds", epoch.seconds_left, "Seconds to the end of this epoch at the present rate."
