"""The samples of a folder: its images, files beside them, fields in trees of their own, and tables of metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from tiering.errors import from_os_error
from tiering.sources.account import Ledger
from tiering.sources.metadata_tables import MetadataTables
from tiering.sources.packed_datasets import already_packed, packed
from tiering.sources.trees.field_patterns import FieldPattern
from tiering.sources.trees.field_trees import FieldTrees
from tiering.sources.trees.local_folder import LocalFolder
from tiering.sources.trees.remote_folder import RemoteFolder
from tiering.sources.trees.walk import Waiting, Walk, no_images
from tiering.text import display, without_secrets


def folder_batches(
    url: str, fields: tuple[FieldPattern, ...], schema: Mapping[str, Any], ledger: Ledger
) -> Iterator[pl.DataFrame]:
    """Yield the samples of a folder sorted by key, up to 50,000 rows at a time.

    url: of the folder. fields: those in trees of their own. schema: the columns; those of fields are added. ledger:
    records every entry that is not a sample.
    Raises DatasetError if there is no image, UsageError if no file of a field is there, and MachineError.
    """
    trees = FieldTrees(url, fields, ledger) if fields else None
    if trees is not None:
        trees.collect(top_of(url))
    constant = {"label": None, "split": None, "file": -1, "offset": 0}
    columns = [pl.lit(value, schema[name]).alias(name) for name, value in constant.items()]
    empty = True
    tables = MetadataTables(url, ledger)
    waiting = Waiting() if ledger.arrays else None
    walk = Walk(ledger, claim=trees.claim if trees else None, describe=tables.read, arrays=waiting)
    for frame in walk.batches(top_of(url)):
        empty = False
        yield tables.onto((trees.onto(frame) if trees else frame).with_columns(columns))
    shown = without_secrets(display(url))
    if empty and (kind := packed(url)):
        raise already_packed(shown, kind)
    if empty:
        raise no_images(shown, ledger.left_out)
    tables.close()
    if trees is not None:
        trees.close()


def top_of(url: str) -> LocalFolder | RemoteFolder:
    """Return the top of a tree. url: path or URL of a directory. Raises MachineError, and what connect raises."""
    if "://" in url:
        return RemoteFolder.top(url)
    try:
        return LocalFolder.top(os.fsencode(url))
    except OSError as error:
        raise from_os_error(error) from error
