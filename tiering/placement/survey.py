"""Survey some directories: which datasets are there, how large and how old, and how much they are read."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tiering.dataset.dataset_rules import DatasetKind, FoundDataset
from tiering.dataset.found_datasets import Found, find_datasets
from tiering.errors import InputError, UsageError, from_os_error
from tiering.placement.job_heat import JobHeat
from tiering.progress import Progress, no_progress
from tiering.sources.trees.directory_totals import IMAGE
from tiering.system.access_times import MEANINGS, AccessTimes, MountedAt, mount_above, mounted
from tiering.system.mounts import KERNEL
from tiering.text import display, first_few
from tiering.units import format_count

_SHOWN: Final = 3


class SurveyedDataset(BaseModel):
    """A dataset that a survey found."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="its directory; bytes that are not UTF-8 as \\xNN")
    kind: DatasetKind
    files: int = Field(ge=0, description="everything below its directory that is in no other dataset")
    bytes: int = Field(ge=0, description="B of these files")
    images: int = Field(ge=0, description="files with the name of an image")
    folders: int = Field(ge=0, description="directories, its own included")
    changed: int | None = Field(description="newest time of change (mtime) of a file, s since 1970; null without one")
    read: int | None = Field(description="newest access time (atime) of a file, s since 1970; see access_times")
    file_system: str = Field(description="type of the file system that holds it; empty if not known")
    mount: str = Field(description="where that is mounted")
    access_times: AccessTimes = Field(description="which reads that file system records")


class Survey(BaseModel):
    """The datasets below some directories, and what traces show of them.

    Attributes:
        roots: The directories, as real paths. One below another is counted once.
        taken: When the walk began, s since 1970.
        datasets: Sorted by path.
        outside_files: Files that are in no dataset.
        outside_bytes: Bytes of these.
        unreadable: Directories that could not be listed.
        unreadable_examples: Some of them, each with the reason.
        jobs: What each trace shows of the datasets.
        notes: Assumptions and omissions, one sentence each.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal["tiering-survey"] = "tiering-survey"
    format_version: Literal[1] = 1
    roots: tuple[str, ...]
    taken: int
    datasets: tuple[SurveyedDataset, ...]
    outside_files: int
    outside_bytes: int
    unreadable: int
    unreadable_examples: tuple[str, ...]
    jobs: tuple[JobHeat, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        """All files below the roots."""
        return self.outside_files + sum(dataset.files for dataset in self.datasets)

    @property
    def bytes(self) -> int:
        """Bytes of all files below the roots."""
        return self.outside_bytes + sum(dataset.bytes for dataset in self.datasets)


def survey(
    roots: Sequence[str | os.PathLike[str]],
    *,
    traces: Sequence[str | os.PathLike[str]] = (),
    lenient: bool = False,
    columns: str | None = None,
    progress: Progress = no_progress,
) -> Survey:
    """Find the datasets below some directories, and join what traces show of them.

    No file is opened, so no access time changes. Links are not followed; other mounts are entered, except those of the
    kernel. docs/placement.md says which directories are taken for datasets.

    Args:
        roots: Directories of this machine.
        traces: Traces and access logs of any known format, or tables of heat. Each is a job.
        lenient: Whether to skip damaged lines of a trace, as for read_trace.
        columns: Columns of a trace that is a table, as for read_trace.
        progress: Called with the files counted, an estimate of all, and their bytes; then as for read_heat.

    Returns:
        The survey.

    Raises:
        UsageError: Without a root, or for a URL.
        InputError: For a root that is no directory, and a trace that cannot be used.
        MachineError: For a root that cannot be read.

    Example:
        >>> tiering.survey(["/data"]).datasets[0].kind  # doctest: +SKIP
        'class folders'
    """
    if not roots:
        raise UsageError("roots", rule="needs at least one directory")
    began, mounts = int(time.time()), mounted()
    real, doubled = _real(roots)
    below = [each for each in mounts if any(_is_below(each.point, root) for root in real)]
    skipped = [each for each in below if each.kind in KERNEL]
    found = find_datasets(
        [os.fsencode(root) for root in real], skipped=[os.fsencode(each.point) for each in skipped], progress=progress
    )
    datasets = [_dataset(each, mounts) for each in found.datasets]
    paths = [dataset.path for dataset in datasets]
    jobs = []
    if traces:
        # Polars takes longer to load than 10^5 files to count, so it is loaded only where a trace needs it.
        from tiering.placement.dataset_heat import dataset_heat  # noqa: PLC0415

        jobs = [
            dataset_heat(trace, paths, roots, lenient=lenient, columns=columns, progress=progress) for trace in traces
        ]
    return Survey(
        roots=tuple(map(display, real)),
        taken=began,
        datasets=tuple(datasets),
        outside_files=found.outside.files,
        outside_bytes=found.outside.bytes,
        unreadable=found.unreadable,
        unreadable_examples=tuple(found.examples),
        jobs=tuple(jobs),
        notes=(*_mount_notes(below, skipped, datasets), *_notes(found, doubled)),
    )


def _real(roots: Sequence[str | os.PathLike[str]]) -> tuple[list[str], list[str]]:
    """Return the real paths of roots, and those that are left out because they are below others, or given twice."""
    real = []
    for root in roots:
        if "://" in os.fspath(root):
            raise UsageError("roots", rule="must be directories of this machine", found=display(root))
        if not Path(root).is_dir():
            if not Path(root).exists():
                raise InputError(display(root), found="no such directory", action="Check the path.")
            raise InputError(display(root), expected="a directory", found="a file", action="Check the path.")
        if not os.access(root, os.R_OK | os.X_OK):
            raise from_os_error(PermissionError(13, os.strerror(13), display(root)))
        real.append(os.path.realpath(root))
    tops: list[str] = []
    doubled = []
    for root in sorted(real, key=lambda root: root.split("/") if root != "/" else [""]):
        if tops and (root == tops[-1] or _is_below(root, tops[-1])):
            doubled.append(root)
        else:
            tops.append(root)
    return tops, doubled


def _is_below(path: str, directory: str) -> bool:
    return path != directory and path.startswith(directory.rstrip("/") + "/")


def _dataset(found: FoundDataset, mounts: list[MountedAt]) -> SurveyedDataset:
    totals, mount = found.totals, mount_above(os.fsdecode(found.path), mounts)
    return SurveyedDataset(
        path=display(found.path),
        kind=found.kind,
        files=totals.files,
        bytes=totals.bytes,
        images=totals.counts[IMAGE],
        folders=totals.folders,
        changed=totals.changed if totals.changed >= 0 else None,
        read=totals.read if totals.read >= 0 else None,
        file_system=mount.kind if mount else "",
        mount=display(mount.point) if mount else "",
        access_times=mount.access_times if mount else "each read",
    )


def _mount_notes(below: list[MountedAt], skipped: list[MountedAt], datasets: list[SurveyedDataset]) -> list[str]:
    notes = []
    if entered := [each for each in below if each not in skipped]:
        names = first_few([f"{display(each.point)} ({each.kind})" for each in entered], _SHOWN, separator=", ")
        notes.append(f"Other file systems mounted below the roots are counted too: {names}.")
    if skipped:
        names = first_few([display(each.point) for each in skipped], _SHOWN, separator=", ")
        notes.append(f"File systems of the kernel are not entered: {names}.")
    for rule in sorted({dataset.access_times for dataset in datasets}):
        where = first_few(
            sorted({dataset.mount for dataset in datasets if dataset.access_times == rule}), _SHOWN, separator=", "
        )
        notes.append(f"Access times on {where}: {MEANINGS[rule]}.")
    return notes


def _notes(found: Found, doubled: list[str]) -> list[str]:
    totals = [found.outside, *(dataset.totals for dataset in found.datasets)]
    notes = []
    if doubled:
        names = first_few(list(map(display, doubled)), _SHOWN, separator=", ")
        notes.append(f"Below another root, or given twice, and counted once: {names}.")
    if found.unreadable:
        notes.append(
            f"Directories that cannot be listed, and count as empty: {format_count(found.unreadable)} "
            f"({first_few(found.examples, _SHOWN, of=found.unreadable)})."
        )
    for name, what in (
        ("links", "Links, which are not followed"),
        ("special", "FIFOs, sockets and devices, which are not counted as files"),
        ("unseen", "Files whose size cannot be read, which are not counted"),
        ("odd_names", "Names that are not UTF-8, which traces cannot be joined to"),
    ):
        if number := sum(getattr(each, name) for each in totals):
            notes.append(f"{what}: {format_count(number)}.")
    return notes
