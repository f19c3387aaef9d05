"""Count every file of a tree. Several processes share a large local one. Only totals and a sample stay in memory."""

from __future__ import annotations

import heapq
import os
import random
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tiering.dataset.scan_processes import scan_together
from tiering.dataset.size_distribution import Sizes
from tiering.errors import from_os_error
from tiering.progress import Progress, no_progress
from tiering.sources.left_out import PACKED, LeftOut
from tiering.sources.trees.entries import Task, TaskResult, look
from tiering.sources.trees.remote_folder import FOLDER, RemoteFolder
from tiering.sources.trees.siblings import Beside
from tiering.system.machine import usable_cores
from tiering.text import display

#: How many files one process counts before it starts others, which takes about 50 ms.
_ALONE: Final = 20_000

_PROGRAM: Final = "tiering.sources.trees.entries"

#: How many remote directories are listed at once, and how many requests each may make.
_AT_ONCE: Final = 16
_EACH: Final = 4


@dataclass(slots=True)
class Totals:
    """The contents of a whole tree. Sizes are bytes.

    sizes: of the images. kept: key and size of a simple random sample of them, without replacement, sorted by key.
    folders: images in each directory that has some, by its path below the root, "" or ending in "/". extensions: images
    by extension. left_out: all other entries. odd_names: images whose name is not UTF-8.
    """

    sizes: Sizes = field(default_factory=Sizes)
    kept: list[tuple[bytes, int]] = field(default_factory=list)
    folders: Counter[bytes] = field(default_factory=Counter)
    extensions: Counter[str] = field(default_factory=Counter)
    left_out: LeftOut = field(default_factory=LeftOut)
    odd_names: int = 0


def count_tree(
    root: str | os.PathLike[str],
    *,
    keep: int = 0,
    seed: int = 0,
    processes: int | None = None,
    progress: Progress = no_progress,
) -> Totals:
    """Count the files of a local directory and add up their sizes.

    root: the directory. keep: how many images to draw at random. seed: of that sample, which otherwise depends only on
    the tree and the order in which the system lists it. processes: at most; by default one per core. progress: called
    with the images counted, an estimate of all by the directories that are known, and their bytes.
    Links are followed, and other entries are left out and counted, as in tiering.sources.trees.walk.
    Raises MachineError if the root cannot be read or a process is lost.
    Memory: the sample, a few bytes per directory, 16 MB of sizes, and in each process 20,000 names, or those of one
    directory if other files are mixed with its images.
    benchmarks/scan.py compares it with `find -printf '%s %p'`.
    """
    top = os.path.abspath(os.fsencode(root))  # noqa: PTH100 - bytes paths
    workers = processes or usable_cores()
    count = Count(keep, progress)
    pending = [Task(b"", b"")]
    try:
        while pending and (count.totals.sizes.count < _ALONE or workers == 1):
            found = look(top, pending.pop(), count.limit, seed, workers)
            count.add(found)
            pending += reversed(found.tasks)
    except OSError as error:
        raise from_os_error(error) from error
    if pending:
        _together(top, pending, count, seed, workers)
    return count.finished()


def count_remote(url: str, *, keep: int = 0, seed: int = 0, progress: Progress = no_progress) -> Totals:
    """List a whole tree behind a URL and add up sizes, as count_tree does. 16 directories are listed at once.

    Memory: a thousand names of each of these, and totals.
    Raises MachineError if the server does not answer, UsageError if its driver is missing.
    """
    count = Count(keep, progress)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        pending = [RemoteFolder.top(url)]
        running: set[Future[tuple[TaskResult, list[RemoteFolder]]]] = set()
        while pending or running:
            while pending and len(running) < 2 * _AT_ONCE:
                running.add(pool.submit(_list, pending.pop(), count, seed))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                found, folders = each.result()
                count.add(found, len(folders))
                pending += folders
    return count.finished()


def _list(folder: RemoteFolder, count: Count, seed: int) -> tuple[TaskResult, list[RemoteFolder]]:
    found, folders = TaskResult(), []
    draw = random.Random(b"%d/" % seed + folder.key).random
    for part in folder.parts():
        if part[-1].kind == PACKED:
            found = TaskResult()
            found.left_out.add(PACKED, folder.key)
            return found, []
        looked = folder.look_at(part, _EACH)
        for entry in looked:
            if entry.kind == FOLDER:
                folders.append(folder.below(entry.name))
            elif entry.is_beside and isinstance(entry.role, Beside):
                found.left_out.take(entry.size or 0, entry.role.suffix(entry.name).lower())
            elif entry.kind:
                found.left_out.add(entry.kind, folder.key + entry.name, entry.size or 0, entry.reason)
            else:
                found.take(folder.key, entry.name, entry.size or 0, draw(), count.limit)
    return found, folders


class Count:
    """The totals so far, and the limit below which an image's random number puts it into the sample."""

    def __init__(self, keep: int, progress: Progress = no_progress) -> None:
        self.totals = Totals()
        self._progress, self._known, self._listed = progress, 1, 0
        progress(0, 0, 0)
        self.keep = keep
        self.limit = 1.0 if keep else 0.0
        self.numbered: list[tuple[float, bytes, int]] = []

    def add(self, found: TaskResult, below: int = 0) -> None:
        """Add the contents of some directories. below: how many are known below them, besides its tasks."""
        totals = self.totals
        totals.sizes.add(np.frombuffer(found.sizes, np.int64))
        for folder, count in found.folders.items():
            totals.folders[folder] += count
        totals.extensions.update(found.extensions)
        totals.left_out.merge(found.left_out)
        totals.odd_names += found.odd_names
        self._known += below + len(found.tasks)
        self._listed += 1
        images = totals.sizes.count
        self._progress(images, images * max(self._known, self._listed) // self._listed, totals.sizes.total)
        self.numbered += [row for row in found.kept if row[0] < self.limit]
        if len(self.numbered) > 2 * self.keep + 1000:
            self._thin()

    def finished(self) -> Totals:
        """Return the totals with the sample."""
        self._thin()
        self.totals.kept = sorted((key, size) for _, key, size in self.numbered)
        return self.totals

    def _thin(self) -> None:
        if len(self.numbered) > self.keep:
            self.numbered = heapq.nsmallest(self.keep, self.numbered)
            self.limit = self.numbered[-1][0] if self.numbered else 0.0


def _together(root: bytes, pending: list[Task], count: Count, seed: int, workers: int) -> None:
    def take(found: TaskResult) -> list[Task]:
        count.add(found)
        return found.tasks

    arguments = (root, b"%d" % seed, b"%d" % workers)
    scan_together(_PROGRAM, arguments, display(root), pending, workers, lambda task: (task, count.limit), take)
