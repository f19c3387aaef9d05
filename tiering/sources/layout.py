"""Describe the layout of a dataset in a sentence: class folders, splits, a table or tar shards."""

from __future__ import annotations

import os

from tiering.sources.labels.folders import Layout
from tiering.sources.source import Source
from tiering.storage.urls import name_of
from tiering.text import display


def describe(source: Source, kind: Layout, labels: int, splits: list[str]) -> str:
    """Describe the layout of a dataset in a sentence.

    kind: as tiering.sources.labels.folders names it. labels: how many there are. splits: names of the folders that are
    splits.
    """
    name = display(os.fsencode(name_of(source.url)))
    shards = f"{len(source.files):,} tar file{'s' if len(source.files) != 1 else ''}"
    several = f"{labels:,} label{'s' if labels != 1 else ''}"
    named = ", ".join(splits[:5])
    return {
        "table": f"A manifest: {name} lists the files" + (f", with {several}." if labels else "."),
        "tar shards": f"Tar shards: {shards} of images with {several}."
        if labels
        else f"Tar shards: {shards} of images without labels.",
        "class tars": f"Class tars: {shards}, one for each of {several}.",
        "WebDataset": f"WebDataset shards: {shards}, samples with {several}.",
        "split and class folders": f"Splits ({named}), each with a folder for each label: {several}.",
        "annotated splits": f"Splits ({named}), with class folders or a table of classes for each: {several}."
        if splits
        else f"A split with a table of classes: {several}.",
        "splits": f"Splits ({named}) without class folders.",
        "class folders": f"Class folders: one for each of {several}.",
        "flat": "Flat: all images in one folder.",
    }[kind]
