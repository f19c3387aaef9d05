"""The figures of a dataset before any image is opened, counted or estimated from a sample, in one form for both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import numpy as np
import polars as pl

from tiering.dataset.counting import Count, Totals, count_remote, count_tree
from tiering.dataset.estimates import (
    EstimatedValue,
    FileSample,
    empties,
    quantile,
    ratio_of_squares,
    total,
    total_files,
)
from tiering.dataset.field_counts import FieldCounts, ProfiledField
from tiering.dataset.field_files import fields_of_suffixes
from tiering.dataset.header_reads import Fault, Seen
from tiering.dataset.tree_reads import SourceTree, Tree, tree_at
from tiering.dataset.tree_sample import TreeSample
from tiering.errors import DatasetError
from tiering.images.formats import extension_of
from tiering.progress import Progress, no_progress
from tiering.sources.account import Ledger
from tiering.sources.labels.classes import MOST_CLASSES
from tiering.sources.labels.folders import FolderRule, Folders
from tiering.sources.left_out import MISSING, LeftOut, Tally
from tiering.sources.packed_datasets import already_packed, packed
from tiering.sources.source import Source
from tiering.sources.trees.entries import TaskResult
from tiering.sources.trees.walk import no_images
from tiering.text import display

#: Shares of the sorted files at which a profile gives the size.
QUANTILES: Final = ("0", "0.01", "0.05", "0.1", "0.25", "0.5", "0.75", "0.9", "0.95", "0.99", "1")


#: How many images that cannot be packed are named with their reason.
MAX_DAMAGED: Final = 20

#: How many images are inspected at once.
_TOGETHER: Final = 4096


@dataclass(slots=True)
class Gathered:
    """A dataset's files in figures, and a sample of its images.

    files, size: number and bytes of the images. quantiles: their sizes in bytes, by QUANTILES. folders: images in each
    directory, by its path below the root, "" or ending in "/". rule: the meaning of the folders. labels: images of each
    label if the source itself has labels, else None; captions: whether there are more labels than a source may have.
    imbalance: of the directories, from estimates.ratio_of_squares; filled: the share of them that contain images; both
    None after a full count. sampled: whether files were estimated.
    left_out: entries that are not images, extrapolated if sampled; others: their intervals, by kind. by_content: as in
    TreeSample.
    failed: images that cannot be packed, and damaged: some of them with the reason, if every image was inspected. seen:
    the results for the sampled images, if known already. progress: told of images while they are inspected. fields:
    what images have beside their class.
    """

    tree: Tree
    sample: FileSample
    files: EstimatedValue
    size: EstimatedValue
    quantiles: dict[str, EstimatedValue]
    folders: dict[bytes, int]
    rule: FolderRule
    labels: dict[str, int] | None = None
    captions: bool = False
    imbalance: EstimatedValue | None = None
    filled: EstimatedValue | None = None
    sampled: bool = False
    empty: int = 0
    odd_names: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    others: dict[str, EstimatedValue] = field(default_factory=dict)
    by_content: Tally = field(default_factory=Tally)
    failed: LeftOut | None = None
    damaged: list[str] = field(default_factory=list)
    seen: list[Seen] | None = None
    extensions: dict[str, int] = field(default_factory=dict)
    progress: Progress = no_progress
    fields: list[ProfiledField] = field(default_factory=list)

    @property
    def inspected(self) -> list[Seen]:
        """The results for the sampled images, which are inspected now unless that is done."""
        if self.seen is None:
            self.seen = inspected(self.tree, self.sample.key, self.progress)
        return self.seen


def inspected(tree: Tree, keys: Sequence[bytes], progress: Progress) -> list[Seen]:
    """Return what is seen of images. progress: called with those inspected, all of them, and 0."""
    seen: list[Seen] = []
    progress(0, len(keys), 0)
    for begin in range(0, len(keys), _TOGETHER):
        seen += tree.inspect(keys[begin : begin + _TOGETHER])
        progress(len(seen), len(keys), 0)
    return seen


def from_sample(tree: Tree, found: TreeSample) -> Gathered:
    """Estimate from a sample, which must contain an image."""
    sample = found.sample
    folders: Counter[bytes] = Counter()
    for folder, population in zip(found.folders, sample.population.tolist(), strict=True):
        folders[folder] += population
    for folder, likely in found.unseen:
        folders[folder] += max(1, round(likely))
    # Directories of directories rarely contain images of their own, and are no label.
    drawn = sample.draw >= 0
    alone = len(found.folders) == len(set(found.folders)) == len(np.unique(sample.draw[drawn])) + int((~drawn).sum())
    return Gathered(
        tree=tree,
        sample=sample,
        files=total_files(sample),
        size=total(sample, sample.size.astype(np.float64)),
        quantiles={name: quantile(sample, float(name)) for name in QUANTILES},
        folders={folder: count for folder, count in folders.items() if count},
        rule=_rule(folder for folder, count in folders.items() if count),
        imbalance=ratio_of_squares(sample) if alone else None,
        filled=empties(sample),
        sampled=not sample.complete,
        empty=int((sample.size == 0).sum()),
        odd_names=sum(_odd(key) for key in sample.key),
        left_out=found.left_out,
        others=found.others,
        by_content=found.by_content,
        fields=fields_of_suffixes(found.left_out.suffixes),
        extensions=dict(Counter(extension_of(key).decode() for key in sample.key).most_common()),
    )


def from_totals(tree: Tree, totals: Totals) -> Gathered:
    """Return the counted figures. There must be an image."""
    sizes = totals.sizes
    keys = [key for key, _ in totals.kept]
    size = np.array([size for _, size in totals.kept], np.int64)
    values = sizes.quantiles(tuple(float(name) for name in QUANTILES))
    return Gathered(
        tree=tree,
        sample=FileSample.simple(sizes.count, keys, size),
        files=EstimatedValue.known(sizes.count, sizes.count),
        size=EstimatedValue.known(sizes.total, sizes.count),
        quantiles={
            name: EstimatedValue.known(value, sizes.count) for name, value in zip(QUANTILES, values, strict=True)
        },
        folders=dict(totals.folders),
        rule=_rule(totals.folders),
        empty=sizes.empty,
        odd_names=totals.odd_names,
        left_out=totals.left_out,
        extensions=dict(totals.extensions.most_common()),
        fields=fields_of_suffixes(totals.left_out.suffixes),
    )


def count_folder(url: str, *, keep: int, seed: int, progress: Progress = no_progress) -> Gathered:
    """Count a whole tree, local or behind a URL, without opening its images.

    keep: how many images to draw for inspection. progress: as for counting.count_tree. Raises DatasetError if there is
    no image, MachineError if the tree cannot be read.
    """
    count = count_remote if "://" in url else count_tree
    totals = count(url, keep=keep, seed=seed, progress=progress)
    if not totals.sizes.count:
        where = display(url)
        if kind := packed(url):
            raise already_packed(where, kind)
        raise no_images(where, totals.left_out)
    return from_totals(tree_at(url), totals)


def count_source(
    source: Source, *, keep: int, seed: int, every: bool, expected: int = 0, progress: Progress = no_progress
) -> Gathered:
    """Count the samples of a source, by the same walk as packing.

    keep: how many images to draw for inspection. seed: of that sample. every: inspect all images as packing does, so
    that the account equals that of a store. expected: about how many there are; 0 if unknown. progress: called with the
    samples counted, those expected, and their bytes.
    Raises DatasetError and MachineError as Source.batches does. Missing files of a table are left out.
    """
    counted = _Counted(source, keep, seed, every=every, expected=expected, progress=progress)
    progress(0, expected, 0)
    ledger = Ledger()
    for frame in source.batches(ledger):
        counted.add(frame)
        counted.fields.add(frame, ledger.fields)
    return counted.finished(ledger)


class _Counted:
    """The samples of a source counted so far. It holds only the drawn sample and some rows of a frame."""

    def __init__(self, source: Source, keep: int, seed: int, *, every: bool, expected: int, progress: Progress) -> None:
        self.source = source
        self._expected, self._progress = expected, progress
        self.count = Count(keep)
        self.draw = Random(seed).random
        self.ranges: dict[bytes, tuple[int, int, int]] = {}
        self.tree: Tree = tree_at(source.url) if source.kind == "folder" else SourceTree(source, self.ranges)
        self.failed = LeftOut() if every else None
        self.damaged: list[str] = []
        self.seen: dict[bytes, Seen] = {}
        self.labels: Counter[str] = Counter()
        self.captions = False
        self.fields = FieldCounts(seed)
        self.folders = Folders(tars=len(source.files) > 1)

    def add(self, frame: pl.DataFrame) -> None:
        """Count the samples of a frame."""
        for key in frame.filter(pl.col("size") < 0)["key"]:
            self.count.totals.left_out.add(MISSING, key, reason="no such file")
        for part in frame.filter(pl.col("size") >= 0).iter_slices(_TOGETHER):
            self.folders.add(part["key"].to_list())
            found = TaskResult()
            for key, size, label in part.select("key", "size", "label").iter_rows():
                slash = key.rfind(b"/") + 1
                found.take(key[:slash], key[slash:], size, self.draw(), self.count.limit)
                if label is not None and not self.captions:
                    self.labels[label] += 1
            self.captions = self.captions or len(self.labels) > MOST_CLASSES
            self._look_into(part, {key for _, key, _ in found.kept})
            self.count.add(found)
            sizes = self.count.totals.sizes
            self._progress(sizes.count, max(self._expected, sizes.count) if self._expected else 0, sizes.total)
        if len(self.ranges) + len(self.seen) > 4 * self.count.keep:
            self._forget()

    def _look_into(self, part: pl.DataFrame, kept: set[bytes]) -> None:
        """Inspect the images of some rows, if all are to be inspected, and keep the results of the drawn ones."""
        if self.source.kind != "folder":
            self.ranges.update((row[0], row[1:]) for row in part.select("key", "file", "offset", "size").iter_rows())
        if self.failed is not None:
            keys = part["key"].to_list()
            for key, size, seen in zip(keys, part["size"].to_list(), self.tree.inspect(keys), strict=True):
                if isinstance(seen, Fault) and seen.kind:
                    self.failed.add(seen.kind, key, size, seen)
                    self.damaged += [f"{display(key)}: {seen}"] if len(self.damaged) < MAX_DAMAGED else []
                if key in kept:
                    self.seen[key] = seen
        for key in part["key"].to_list() if self.ranges else ():
            if key not in kept:
                del self.ranges[key]

    def _forget(self) -> None:
        kept = {key for _, key, _ in self.count.numbered}
        for held in (self.ranges, self.seen):
            for key in [key for key in held if key not in kept]:
                del held[key]

    def finished(self, ledger: Ledger) -> Gathered:
        """Return the counted figures."""
        totals = self.count.finished()
        totals.left_out.merge(ledger.left_out)
        if not totals.sizes.count:
            raise DatasetError(self.source.url, found="none of its image files is there", action="Check the paths.")
        self._forget()
        gathered = from_totals(self.tree, totals)
        gathered.labels = {} if self.captions else dict(self.labels) or None
        gathered.captions = self.captions
        gathered.fields = self.fields.found(ledger.fields.values())
        gathered.rule = self.folders.rule()
        if self.failed is not None:
            gathered.failed, gathered.damaged = self.failed, self.damaged
            gathered.seen = [self.seen[key] for key in gathered.sample.key]
        return gathered


def _rule(folders: Iterable[bytes]) -> FolderRule:
    seen = Folders()
    seen.add(folders)
    return seen.rule()


def _odd(key: bytes) -> bool:
    return not key.isascii() and key.decode("utf-8", "ignore").encode() != key
