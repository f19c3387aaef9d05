"""What is known of a dataset before any image is opened: counted, or estimated from a survey; one shape for both."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.dataset.buckets import RemoteTree, count_remote
from tiering.dataset.counting import Count, Totals, count_tree
from tiering.dataset.estimates import Estimate, Sample, empties, quantile, ratio_of_squares, total, total_files
from tiering.dataset.headers import Fault, Seen, unreadable
from tiering.dataset.images import check_image, probe
from tiering.dataset.labels import FolderRule, Folders
from tiering.dataset.packed import packed, refuse_packed
from tiering.dataset.places import LocalTree, Tree, digest_of
from tiering.dataset.source import Source, read_samples
from tiering.dataset.survey import Survey
from tiering.errors import DatasetError
from tiering.sources.account import Ledger, kind_of
from tiering.sources.entries import Found
from tiering.sources.formats import extension_of
from tiering.sources.left_out import MISSING, LeftOut
from tiering.sources.walk import no_images
from tiering.text import display

#: Shares of the files, in order of size, of which a profile says the size.
QUANTILES: Final = ("0", "0.01", "0.05", "0.1", "0.25", "0.5", "0.75", "0.9", "0.95", "0.99", "1")


@dataclass(slots=True)
class Gathered:
    """A dataset's files in figures, and a sample of its images.

    files, size: of the images, number and bytes. quantiles: their sizes in bytes, by QUANTILES. folders: images in each
    directory, by its path below the root, "" or ending in "/". rule: what these say. labels: images of each label,
    where the source itself says so, else None. imbalance: of the directories, see estimates.ratio_of_squares; filled:
    share of them that hold images; both None where they were counted. sampled: whether files were estimated. left_out:
    what is no image; of a sample as much as it stands for, with intervals in others, by kind. by_content: see Survey.
    """

    tree: Tree
    sample: Sample
    files: Estimate
    size: Estimate
    quantiles: dict[str, Estimate]
    folders: dict[bytes, int]
    rule: FolderRule
    labels: dict[str, int] | None = None
    imbalance: Estimate | None = None
    filled: Estimate | None = None
    sampled: bool = False
    empty: int = 0
    odd_names: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    others: dict[str, Estimate] = field(default_factory=dict)
    by_content: list[bytes] = field(default_factory=list)
    extensions: dict[str, int] = field(default_factory=dict)


def from_survey(tree: Tree, found: Survey) -> Gathered:
    """Estimate from a survey. There must be a sampled image."""
    sample = found.sample
    folders: Counter[bytes] = Counter()
    for folder, population in zip(found.folders, sample.population.tolist(), strict=True):
        folders[folder] += population
    for folder, likely in found.unseen:
        folders[folder] += max(1, round(likely))
    # Directories of directories hold no images of their own, mostly, and are nobody's label.
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
        extensions=dict(Counter(extension_of(key).decode() for key in sample.key).most_common()),
    )


def from_totals(tree: Tree, totals: Totals) -> Gathered:
    """Return what was counted. There must be an image."""
    sizes = totals.sizes
    keys = [key for key, _ in totals.kept]
    size = np.array([size for _, size in totals.kept], np.int64)
    values = sizes.quantiles(tuple(float(name) for name in QUANTILES))
    return Gathered(
        tree=tree,
        sample=Sample.simple(sizes.count, keys, size),
        files=Estimate.known(sizes.count, sizes.count),
        size=Estimate.known(sizes.total, sizes.count),
        quantiles={name: Estimate.known(value, sizes.count) for name, value in zip(QUANTILES, values, strict=True)},
        folders=dict(totals.folders),
        rule=_rule(totals.folders),
        empty=sizes.empty,
        odd_names=totals.odd_names,
        left_out=totals.left_out,
        extensions=dict(totals.extensions.most_common()),
    )


def count_folder(url: str, *, keep: int, seed: int) -> Gathered:
    """Count a whole tree, local or behind a URL. keep: images to draw for a look into them.

    Raises DatasetError where there is no image, MachineError where the tree cannot be read.
    """
    tree = RemoteTree(url) if "://" in url else LocalTree(os.fsencode(url))
    if isinstance(tree, RemoteTree):
        totals = count_remote(tree, keep=keep, seed=seed)
    else:
        totals = count_tree(url, keep=keep, seed=seed)
    if not totals.sizes.count:
        where = display(os.fsencode(url))
        if kind := packed(url):
            raise refuse_packed(where, kind)
        raise no_images(where, totals.left_out)
    return from_totals(tree, totals)


def count_source(source: Source, *, keep: int, seed: int) -> Gathered:
    """Count the samples that a table lists or that tar files hold.

    keep: images to draw for a look into them. seed: of that sample.
    Raises DatasetError and MachineError as Source.batches does. Missing files of a table are left out.
    """
    count = Count(keep)
    draw = Random(seed).random
    places: dict[bytes, tuple[int, int, int]] = {}
    labels: Counter[str] = Counter()
    told = False
    seen = Folders(tars=len(source.files) > 1)
    ledger = Ledger()
    for frame in source.batches(ledger):
        there = frame.filter(pl.col("size") >= 0)
        seen.add(there["key"].to_list())
        found = Found()
        found.sizes.frombytes(there["size"].cast(pl.Int64).to_numpy().tobytes())
        for key in frame.filter(pl.col("size") < 0)["key"]:
            found.left_out.add(MISSING, key, reason="no such file")
        for key, size, label, file, offset in there.select("key", "size", "label", "file", "offset").iter_rows():
            number = draw()
            folder = key[: key.rfind(b"/") + 1]
            found.folders[folder] = found.folders.get(folder, 0) + 1
            extension = extension_of(key).decode("utf-8", "backslashreplace")
            found.extensions[extension] = found.extensions.get(extension, 0) + 1
            found.odd_names += _odd(key)
            if label is not None:
                labels[label] += 1
                told = True
            if number < count.limit:
                found.kept.append((number, key, size))
                places[key] = (file, offset, size)
        count.add(found)
    totals = count.finished()
    totals.left_out.merge(ledger.left_out)
    if not totals.sizes.count:
        raise DatasetError(source.url, expected="image files that are there", found="none", action="Check the paths.")
    kept = {key for key, _ in totals.kept}
    tree = SourceTree(source, {key: place for key, place in places.items() if key in kept})
    gathered = from_totals(tree, totals)
    gathered.labels = dict(labels) if told else None
    gathered.rule = seen.rule()
    return gathered


def _rule(folders: Iterable[bytes]) -> FolderRule:
    seen = Folders()
    seen.add(folders)
    return seen.rule()


class SourceTree:
    """The sampled images of a table or of tar files, see tiering.dataset.places.Tree; nothing is listed here."""

    def __init__(self, source: Source, places: dict[bytes, tuple[int, int, int]]) -> None:
        self.source = source
        self.places = places

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> Any:  # noqa: ARG002 - as in Tree
        """Tables and tar files are read from front to back instead."""
        raise NotADirectoryError(prefix)

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some images."""
        return np.array([self.places[key][2] for key in keys], np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Look at some images, which are read for it."""
        return [self._look(data) for data in self._read(keys)]

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Hash the contents of some images."""
        return [b"" if isinstance(data, Exception) else digest_of(data[:limit]) for data in self._read(keys)]

    def _read(self, keys: Sequence[bytes]) -> Any:
        rows = np.array([self.places[key] for key in keys], np.int64).reshape(-1, 3)
        return read_samples(self.source, list(keys), rows[:, 0].astype(np.int32), rows[:, 1], rows[:, 2])

    @staticmethod
    def _look(data: bytes | OSError | DatasetError) -> Seen:
        if isinstance(data, OSError):
            return unreadable(data)
        try:
            if isinstance(data, DatasetError):
                return Fault(data.found, kind_of(data))
            header = probe(data)
            check_image(data, "image")
        except DatasetError as error:
            return Fault(error.found, kind_of(error))
        return header


def _odd(key: bytes) -> bool:
    return not key.isascii() and key.decode("utf-8", "ignore").encode() != key
