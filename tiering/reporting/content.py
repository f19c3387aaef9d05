"""Gather the contents of a report: profile, evidence of traces, verdicts, thumbnails, recommendation, findings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import polars as pl

from tiering.advice.saved_advice import (
    Assumptions,
    Origin,
    SavedAdvice,
    advise,
    is_advice,
    origin_now,
    read_advice,
)
from tiering.dataset.profile import DatasetProfile
from tiering.errors import TieringError, UsageError
from tiering.progress import Progress, no_progress
from tiering.reporting.findings import Finding, findings
from tiering.reporting.thumbnails import Thumbnail, thumbnails, thumbnails_of
from tiering.store.open import is_store, open_store
from tiering.store.profile import profile_store
from tiering.trace.evidence import Evidence, EvidenceCollector
from tiering.trace.profile import profile_trace
from tiering.trace.program_files import FileMarks
from tiering.trace.readers import read_trace
from tiering.trace.trace_profile import TraceProfile
from tiering.workload.cause import Cause
from tiering.workload.causes import causes
from tiering.workload.profile import Profile, profile_at
from tiering.workload.verdict import Verdict, classify

#: What a report may be made from: a path or URL, or what was read from one.
Reported: TypeAlias = str | os.PathLike[str] | Profile | SavedAdvice


@dataclass(frozen=True, slots=True)
class TracePart:
    """A trace: its profile, its verdict, what else it shows if the file still exists, and the dataset of the report."""

    profile: TraceProfile
    verdict: Verdict
    evidence: Evidence | None
    dataset: DatasetProfile | None

    @property
    def causes(self) -> list[Cause]:
        """Where the job waits, if it was watched or profiled."""
        return causes(self.profile.waiting, self.profile, dataset=self.dataset)


@dataclass(frozen=True, slots=True)
class Content:
    """All contents of a report. saved: the advice; None without a dataset, and for a packed store."""

    origin: Origin
    profile: Profile
    pictures: list[Thumbnail]
    traces: list[TracePart]
    saved: SavedAdvice | None
    findings: list[Finding]

    @property
    def title(self) -> str:
        """The dataset, or what else was looked at."""
        return self.profile.dataset.root if self.profile.dataset is not None else "I/O traces"


def read_source(
    source: str | os.PathLike[str], *, reencoded: bool = False, progress: Progress = no_progress
) -> Profile | SavedAdvice:
    """Read what a report is made from: a profile.json, an advice.json, a directory of images, or a packed store.

    reencoded, progress: as for profile_dataset. Raises DatasetError, ProfileError or StoreError if it is none of these.
    """
    if "://" not in os.fspath(source) and is_advice(source):
        return read_advice(source)
    if is_store(source):
        return Profile(dataset=profile_store(source, progress=progress))
    return profile_at(os.fspath(source), reencoded=reencoded, progress=progress)


def gather(
    source: Reported,
    traces: Sequence[Path] = (),
    *,
    assumptions: Assumptions | None = None,
    advice: SavedAdvice | None = None,
    lenient: bool = False,
    columns: str | None = None,
    command: str = "",
    pictures: bool = True,
    progress: Progress = no_progress,
) -> Content:
    """Collect the contents of a report.

    source: as for read_source, or what that returned. traces: those to show besides the source's own, which are read
    again if their files still exist. assumptions: for the advice, unless advice that was saved is given. lenient,
    columns: as in profile_trace. command: the command line that the report is made by. pictures: whether to make
    thumbnails. progress: as for profile_trace.
    Raises as read_source does; TraceError for a trace that cannot be read; UsageError for advice on another dataset.
    """
    if not isinstance(source, Profile | SavedAdvice):
        source = read_source(source)
    if isinstance(source, SavedAdvice):
        advice, profile = source, source.profile
    else:
        profile = source
    dataset = profile.dataset
    if advice is not None:
        _check(advice, dataset)
    root = Path(dataset.root) if dataset is not None else None
    parts = {
        Path(trace.source).absolute(): _part(trace, dataset, lenient, columns, progress) for trace in profile.traces
    }
    for path in traces:
        if path.absolute() not in parts:
            collector = EvidenceCollector()
            trace = profile_trace(
                path,
                dataset_root=root,
                dataset_bytes=dataset.bytes if dataset is not None else None,
                lenient=lenient,
                columns=columns,
                beside=collector.add,
                progress=progress,
            )
            found = collector.found(timed=not trace.untimed)
            parts[path.absolute()] = TracePart(trace, classify(trace), found, dataset)
    shown = list(parts.values())
    whole = Profile(dataset=dataset, traces=[part.profile for part in shown])
    if advice is None and dataset is not None and not dataset.is_packed:
        advice = advise(whole, assumptions, command=command)
    return Content(
        origin=origin_now(command),
        profile=whole,
        pictures=_pictures(dataset) if dataset is not None and pictures else [],
        traces=shown,
        saved=advice,
        findings=findings(advice, dataset, [(part.profile, part.evidence) for part in shown]),
    )


def _check(advice: SavedAdvice, dataset: DatasetProfile | None) -> None:
    of = advice.profile.dataset
    if dataset is None or of is None or dataset.root != of.root:
        raise UsageError(
            "advice",
            expected=f"advice on {dataset.root}" if dataset is not None else "a dataset, which the advice is for",
            found=f"advice on {of.root}" if of is not None else "advice without a dataset",
            action="Give the profile that the advice was made from, or the advice alone.",
        )


def _pictures(dataset: DatasetProfile) -> list[Thumbnail]:
    if not dataset.is_packed:
        return thumbnails(dataset.root)
    try:
        with open_store(dataset.root) as store:
            return thumbnails_of(store)
    except TieringError:
        return []


def _part(
    trace: TraceProfile, dataset: DatasetProfile | None, lenient: bool, columns: str | None, progress: Progress
) -> TracePart:
    """Return a trace that was profiled before, and read it again for the rest if it still exists."""
    path, found = Path(trace.source), None
    root = Path(dataset.root) if dataset is not None else None
    if path.exists():
        opened = read_trace(path, lenient=lenient, columns=columns if trace.format == "csv" else None)
        collector, marks = EvidenceCollector(), FileMarks(root)
        for batch in opened.reporting(progress):
            collector.add(batch, marks.marked(batch).filter(~pl.col("noise")))
        found = collector.found(timed=not trace.untimed)
    return TracePart(trace, classify(trace), found, dataset)
