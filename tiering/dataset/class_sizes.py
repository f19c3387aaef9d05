"""The labels of a dataset in figures: how many images each class has, by the rules that a conversion follows."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tiering.dataset.totals import Gathered
from tiering.errors import DatasetError
from tiering.sources.account import Ledger
from tiering.sources.labels.annotations import FolderLabels, folder_labels, tell_lost_rows
from tiering.sources.labels.classes import MOST_CLASSES, NONE, classes_of
from tiering.sources.labels.folders import Layout
from tiering.sources.source import Source
from tiering.text import display, without_secrets


def labelled(source: Source, found: Gathered) -> tuple[Layout, dict[str, int], list[str]]:
    """Return how the images are laid out, how many there are of each label, and what to say of that.

    Rows of a table of classes that name no image are counted among what is left out, unless the dataset was sampled.
    """
    if found.labels is not None:
        kind: Layout = "table" if source.kind == "table" else "WebDataset"
        labels, note = _of_source(without_secrets(source.url), found.labels, captions=found.captions)
        return kind, labels, [note] if note else []
    if source.kind == "table":
        return "table", {}, []
    kind, told = _folders(source, found)
    totals: Counter[bytes] = Counter()
    without = 0
    for folder, count in found.folders.items():
        for label, images in _counts(told, found, folder, count).items():
            if label is None:
                without += images
            else:
                totals[label] += images
    # Two names that differ only in bytes that are not UTF-8 may look the same: add those up.
    named: Counter[str] = Counter()
    for folder_name in sorted(totals):
        named[display(folder_name)] += totals[folder_name]
    about = "About " if found.sampled else ""
    notes = [f"{about}{without:,} images lie in no class folder and have no label."] if without and named else []
    return kind, dict(named), notes


def _of_source(where: str, said: dict[str, int], *, captions: bool) -> tuple[dict[str, int], str]:
    """Return how many images there are of each label that the source itself tells, and what to say of that."""
    if captions:
        return {}, f"{where} has more than {MOST_CLASSES:,} different labels: captions or measurements, and no classes."
    try:
        classes, numbers = classes_of(list(said), where)
    except DatasetError as error:
        return {}, f"{error}"
    counts = Counter(dict.fromkeys(classes.numbers, 0))
    for name, count in said.items():
        counts[numbers[name]] += count
    counts.pop(NONE, None)
    return {name: counts[number] for name, number in zip(classes.names, classes.numbers, strict=True)}, ""


def _folders(source: Source, found: Gathered) -> tuple[Layout, FolderLabels]:
    """Return how the folders of a dataset are laid out, and what they tell."""
    rule = found.rule
    if source.kind == "tar":
        return "class tars" if rule.kind == "class tars" else "tar shards", FolderLabels(rule)
    told = folder_labels(source.url, rule)
    if not found.sampled:
        ledger = Ledger()
        tell_lost_rows(source.url, told, ledger)
        found.left_out.merge(ledger.left_out)
    return told.kind, told


def _counts(told: FolderLabels, found: Gathered, folder: bytes, count: int) -> Counter[bytes | None]:
    """Return how many images of a folder have each label."""
    if not any(folder.startswith(split) for split in told.tables):
        # A name is not needed to know whose label an image has: its folder is.
        return Counter({told.of([folder + b"-"])[0][0]: count})
    listing = found.tree.look_into(folder, count + 1, np.random.default_rng(0))
    return Counter(told.of([folder + name for name in listing.images])[0])


def splits_of(found: Gathered) -> list[str]:
    """Return the names of the folders that are splits."""
    return sorted({display(split) for folder in found.folders if (split := found.rule.of(folder)[1]) is not None})
