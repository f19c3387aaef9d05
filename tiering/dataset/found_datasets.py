"""Find the datasets below some directories, in one walk that opens no file.

Every directory is added up once, and then folded into the one above it as soon as everything below it is known
(dataset_rules.py). Memory holds the directories between the roots and those being read, and the datasets. It holds no
file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tiering.dataset.dataset_rules import FoundDataset, OpenDirectory, closed_datasets, folded, join
from tiering.dataset.scan_processes import scan_together
from tiering.progress import Progress, no_progress
from tiering.sources.trees.directory_totals import DirectoryTotals, SurveyTask, Totals, add_up
from tiering.system.machine import usable_cores
from tiering.text import display

#: Directories that one process adds up before others start, and examples of unreadable directories that are kept.
_ALONE: Final = 20_000
_EXAMPLES: Final = 20
_PROGRAM: Final = "tiering.sources.trees.directory_totals"


@dataclass(slots=True)
class Found:
    """What a walk found.

    datasets: sorted by path. outside: totals of everything that is in no dataset. unreadable: number of directories
    that could not be listed, and examples, each with its reason.
    """

    datasets: list[FoundDataset] = field(default_factory=list)
    outside: Totals = field(default_factory=Totals)
    unreadable: int = 0
    examples: list[str] = field(default_factory=list)


def find_datasets(
    roots: Sequence[bytes],
    *,
    skipped: Iterable[bytes] = (),
    processes: int | None = None,
    progress: Progress = no_progress,
) -> Found:
    """Find the datasets below some directories.

    Args:
        roots: Absolute paths, none below another. Links are not followed.
        skipped: Absolute paths of directories that are not entered.
        processes: At most; by default one for each core.
        progress: Called with the files counted, an estimate of all by the directories that are known, and their bytes.

    Returns:
        The datasets, and everything else. A directory that cannot be listed is counted and named.

    Raises:
        MachineError: If a process is lost.
    """
    workers, ignored = processes or usable_cores(), frozenset(skipped)
    fold = _Fold(progress, len(roots))
    progress(0, 0, 0)
    pending = [SurveyTask(root.rstrip(b"/") + b"/", b"") for root in roots]
    for task in pending:
        fold.open(task.parent, None)
    while pending and (fold.files < _ALONE or workers == 1):
        pending += reversed(fold.take(add_up(pending.pop(), ignored, workers)))
    if pending:
        arguments = (b"%d" % workers, *sorted(ignored))
        where = ", ".join(map(display, roots))
        scan_together(_PROGRAM, arguments, where, pending, workers, lambda task: task, fold.take)
    fold.found.datasets.sort(key=lambda dataset: dataset.path)
    return fold.found


class _Fold:
    """Folds directories into datasets, each as soon as all below it are known."""

    def __init__(self, progress: Progress, roots: int) -> None:
        self.found = Found()
        self.files = self.bytes = self.listed = 0
        self.known = roots
        self._progress = progress
        self._open: dict[bytes, OpenDirectory] = {}

    def open(self, path: bytes, above: OpenDirectory | None) -> OpenDirectory:
        """Begin a directory. path: ends in "/"."""
        made = self._open[path] = OpenDirectory(path, above)
        return made

    def take(self, answers: list[DirectoryTotals]) -> list[SurveyTask]:
        """Take the totals of directories, and return the tasks that follow."""
        tasks: list[SurveyTask] = []
        for answer in answers:
            here = self._open.get(answer.path) or self.open(answer.path, self._open[_parent(answer.path)])
            tasks += answer.tasks
            self.files += answer.totals.files
            self.bytes += answer.totals.bytes
            self.known += len(answer.tasks)
            if answer.failed:
                self.found.unreadable += 1
                if len(self.found.examples) < _EXAMPLES:
                    self.found.examples.append(f"{display(answer.path)} ({answer.failed})")
            if answer.parts == 0:
                here.waiting += len(answer.tasks) - 1
                continue
            if answer.parts == 1:
                here.own = answer.totals
            else:
                here.own.add(answer.totals)
                here.own.marks |= answer.totals.marks
            here.waiting += sum(task.names.count(b"\0") + 1 for task in answer.tasks) - 1
            self._settle(here)
        self.listed += len(answers)
        self._progress(self.files, self.files * max(self.known, self.listed) // max(1, self.listed), self.bytes)
        return tasks

    def _settle(self, here: OpenDirectory) -> None:
        while here.waiting == 0:
            del self._open[here.path]
            candidate, loose = folded(here)
            above = here.above
            if above is None:
                closed, small = closed_datasets([candidate] if candidate else [])
                self.found.datasets += here.closed + closed
                for rest in (loose, small):
                    if rest is not None:
                        self.found.outside.add(rest)
                return
            above.closed += here.closed
            if loose is not None:
                if above.loose is None:
                    above.loose = Totals()
                above.loose.add(loose)
            if candidate:
                join(above.candidates, candidate)
            above.waiting -= 1
            here = above


def _parent(path: bytes) -> bytes:
    return path[: path.rstrip(b"/").rfind(b"/") + 1]
