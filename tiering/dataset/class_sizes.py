"""The labels of a dataset: how many images each class has, and its layout in a sentence.

The rules are those of a conversion.
"""

from __future__ import annotations

from collections import Counter
from typing import cast

import numpy as np

from tiering.dataset.totals import Gathered
from tiering.errors import DatasetError
from tiering.sources.account import Ledger
from tiering.sources.annotations.recognise import ANNOTATED_KINDS, ANNOTATED_TITLES, AnnotatedKind
from tiering.sources.labels.annotations import FolderLabels, folder_labels, report_lost_rows
from tiering.sources.labels.classes import MOST_CLASSES, NONE, classes_of
from tiering.sources.labels.folders import Layout
from tiering.sources.packed_datasets import RECORD_KINDS, TITLES, RecordKind
from tiering.sources.source import Source
from tiering.storage.urls import name_of
from tiering.text import display, without_secrets
from tiering.units import counted


def labelled(source: Source, found: Gathered) -> tuple[Layout, dict[str, int], list[str]]:
    """Return the layout of the images, their number for each label, and notes for the user.

    Rows of a table of classes that name no image count as left out, unless the dataset was sampled.
    """
    if found.labels is not None:
        layouts: dict[str, Layout] = {"tar": "WebDataset", "folder": "folder with metadata"}
        kind = layouts.get(source.kind, cast("Layout", source.kind))
        labels, note = _of_source(without_secrets(source.url), found.labels, captions=found.captions)
        return kind, labels, [note] if note else []
    if source.kind not in ("folder", "tar"):
        return cast("Layout", source.kind), {}, []
    kind, by_folder = _folders(source, found)
    totals: Counter[bytes] = Counter()
    without = 0
    for folder, count in found.folders.items():
        for label, images in _counts(by_folder, found, folder, count).items():
            if label is None:
                without += images
            else:
                totals[label] += images
    # Two names that differ only in bytes that are not UTF-8 may look the same: add those up.
    named: Counter[str] = Counter()
    for folder_name in sorted(totals):
        named[display(folder_name)] += totals[folder_name]
    about = "About " if found.sampled else ""
    notes = [f"{about}{counted(without, 'image')} without a class folder: no label."] if without and named else []
    return kind, dict(named), notes


def _of_source(where: str, counted: dict[str, int], *, captions: bool) -> tuple[dict[str, int], str]:
    """Return the number of images for each label that the source itself gives, and a note for the user."""
    if captions:
        return {}, f"{where} has more than {MOST_CLASSES:,} different labels: captions or measurements, and no classes."
    try:
        classes, numbers = classes_of(list(counted), where)
    except DatasetError as error:
        return {}, f"{error}"
    counts = Counter(dict.fromkeys(classes.numbers, 0))
    for name, count in counted.items():
        counts[numbers[name]] += count
    counts.pop(NONE, None)
    return {name: counts[number] for name, number in zip(classes.names, classes.numbers, strict=True)}, ""


def _folders(source: Source, found: Gathered) -> tuple[Layout, FolderLabels]:
    """Return the layout of the folders of a dataset, and their labels."""
    rule = found.rule
    if source.kind == "tar":
        return "class tars" if rule.kind == "class tars" else "tar shards", FolderLabels(rule)
    by_folder = folder_labels(source.url, rule)
    if not found.sampled:
        ledger = Ledger()
        report_lost_rows(source.url, by_folder, ledger)
        found.left_out.merge(ledger.left_out)
    return by_folder.kind, by_folder


def _counts(by_folder: FolderLabels, found: Gathered, folder: bytes, count: int) -> Counter[bytes | None]:
    """Return how many images of a folder have each label."""
    if not any(folder.startswith(split) for split in by_folder.tables):
        # The folder alone decides the label of an image, so any name will do.
        return Counter({by_folder.of([folder + b"-"])[0][0]: count})
    listing = found.tree.look_into(folder, count + 1, np.random.default_rng(0))
    return Counter(by_folder.of([folder + name for name in listing.images])[0])


def splits_of(found: Gathered) -> list[str]:
    """Return the names of the folders that are splits."""
    return sorted({display(split) for folder in found.folders if (split := found.rule.of(folder)[1]) is not None})


def describe(source: Source, kind: Layout, labels: int, splits: list[str]) -> str:
    """Describe the layout of a dataset in a sentence.

    kind: as tiering.sources.labels.folders names it. labels: how many there are. splits: names of the folders that are
    splits.
    """
    name = display(name_of(source.url))
    if source.kind in RECORD_KINDS:
        files = f"{len(source.files):,} file{'s' if len(source.files) != 1 else ''}"
        title = TITLES[cast("RecordKind", source.kind)]
        return f"{title[0].upper()}{title[1:]}: {files}" + (f", with {labels:,} labels." if labels else ".")
    if source.kind in ANNOTATED_KINDS:
        told = ANNOTATED_TITLES[cast("AnnotatedKind", source.kind)]
        return f"Images with annotations of {told}" + (f", with {labels:,} labels." if labels else ".")
    shards = f"{len(source.files):,} tar file{'s' if len(source.files) != 1 else ''}"
    several = f"{labels:,} label{'s' if labels != 1 else ''}"
    named = ", ".join(splits[:5])
    return {
        "table": f"A manifest: {name} lists the files" + (f", with {several}." if labels else "."),
        "tar shards": f"Tar shards: {shards} of images with {several}."
        if labels
        else f"Tar shards: {shards} of images without labels.",
        "class tars": f"Class tars: {shards}, one for each of {several}.",
        "folder with metadata": f"A folder with a table of metadata, which gives {several}.",
        "WebDataset": f"WebDataset shards: {shards}, samples with {several}.",
        "split and class folders": f"Splits ({named}), each with a folder for each label: {several}.",
        "annotated splits": f"Splits ({named}), with class folders or a table of classes for each: {several}."
        if splits
        else f"A split with a table of classes: {several}.",
        "splits": f"Splits ({named}) without class folders.",
        "class folders": f"Class folders: one for each of {several}.",
        "flat": "Flat: all images in one folder.",
    }[kind]
