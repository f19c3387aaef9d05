"""Gather the contents of a report: profile, timelines, verdicts, thumbnails, recommendation and what-if."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiering.dataset.profile import DatasetProfile
from tiering.errors import TieringError
from tiering.reporting.advice import Advice, Assumptions, advise
from tiering.reporting.thumbnails import Thumbnail, thumbnails, thumbnails_of
from tiering.store.open import is_store, open_store
from tiering.store.profile import profile_store
from tiering.trace.profile import profile_trace
from tiering.trace.readers import read_trace
from tiering.trace.timeline import Timeline, TimelineBinner, timeline
from tiering.trace.trace_profile import TraceProfile
from tiering.workload.cause import Cause
from tiering.workload.causes import causes
from tiering.workload.profile import Profile, profile_at
from tiering.workload.verdict import Verdict, classify


@dataclass(frozen=True, slots=True)
class TracePart:
    """A trace: its profile, its verdict, and its timeline if the trace file still exists."""

    profile: TraceProfile
    verdict: Verdict
    timeline: Timeline | None

    @property
    def causes(self) -> list[Cause]:
        """Where the job waits, if it was watched or profiled."""
        return causes(self.profile.waiting, self.profile)


@dataclass(frozen=True, slots=True)
class Content:
    """All contents of a report. advice: None without a dataset, and for a packed store."""

    profile: Profile
    pictures: list[Thumbnail]
    traces: list[TracePart]
    advice: Advice | None


def gather(
    source: str | os.PathLike[str],
    traces: Sequence[Path] = (),
    *,
    assumptions: Assumptions,
    lenient: bool = False,
    columns: str | None = None,
) -> Content:
    """Collect the contents of a report.

    source: a profile.json, a directory of images, or a packed store, also behind a URL. traces: those to show besides
    the profile's own, which are read again if their files still exist. lenient, columns: as in profile_trace.
    Raises DatasetError, ProfileError or StoreError if the source is none of these, TraceError for a trace that cannot
    be read.
    """
    profile = Profile(dataset=profile_store(source)) if is_store(source) else profile_at(os.fspath(source))
    dataset = profile.dataset
    root = Path(dataset.root) if dataset is not None else None
    parts = {Path(trace.source).absolute(): _part(trace, root, lenient, columns) for trace in profile.traces}
    for path in traces:
        if path.absolute() not in parts:
            binner = TimelineBinner(root)
            trace = profile_trace(
                path,
                dataset_root=root,
                dataset_bytes=dataset.bytes if dataset is not None else None,
                lenient=lenient,
                columns=columns,
                beside=binner.add,
            )
            parts[path.absolute()] = TracePart(trace, classify(trace), None if trace.untimed else binner.found())
    shown = list(parts.values())
    return Content(
        profile=Profile(dataset=dataset, traces=[part.profile for part in shown]),
        pictures=_pictures(dataset) if dataset is not None else [],
        traces=shown,
        advice=advise(dataset, shown[0].verdict if shown else None, assumptions)
        if dataset is not None and not dataset.is_packed
        else None,
    )


def _pictures(dataset: DatasetProfile) -> list[Thumbnail]:
    if not dataset.is_packed:
        return thumbnails(dataset.root)
    try:
        with open_store(dataset.root) as store:
            return thumbnails_of(store)
    except TieringError:
        return []


def _part(trace: TraceProfile, root: Path | None, lenient: bool, columns: str | None) -> TracePart:
    """Return a trace that was profiled before, and read it again for its timeline if it still exists."""
    path, line = Path(trace.source), None
    if path.exists() and not trace.untimed:
        opened = read_trace(path, lenient=lenient, columns=columns if trace.format == "csv" else None)
        line = timeline(opened.batches, dataset_root=root)
    return TracePart(trace, classify(trace), line)
