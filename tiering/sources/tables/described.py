"""Tables of metadata: rows that describe images which a walk finds by itself."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Final

import polars as pl

from tiering.errors import DatasetError
from tiering.sources.account import Ledger
from tiering.sources.labels.classes import LabelsWarning
from tiering.sources.records.files import fetched
from tiering.sources.tables.dialects import HEAD
from tiering.sources.tables.rows import opened
from tiering.sources.tables.table import as_images, columns_of, polars_errors
from tiering.text import display

#: The column that names files.
FILE_NAME: Final = "file_name"


def names_files(url: str) -> bool:
    """Return whether a table has a column file_name. Raises MachineError if it cannot be read."""
    with fetched(url) as path, polars_errors(url):
        if path.suffix == ".parquet":
            return FILE_NAME in pl.read_parquet_schema(path)
        with path.open("rb") as file:
            line = file.readline(HEAD)
        if path.suffix == ".jsonl":
            try:
                row = json.loads(line)
            except ValueError:
                return f'"{FILE_NAME}"'.encode() in line
            return isinstance(row, dict) and FILE_NAME in row
        return FILE_NAME.encode() in line


def described_rows(url: str, base: str, ledger: Ledger) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table: key (Binary, below the base), label and split if they have values, and the fields.

    url: path or URL of the table. base: that of the directory which names are relative to. ledger: gets the fields.
    Only files of fields are looked up.
    Raises DatasetError for a table that cannot be used, MachineError if it cannot be read.
    """
    with warnings.catch_warnings():
        # The folders may give the labels.
        warnings.simplefilter("ignore", LabelsWarning)
        with fetched(url) as path, polars_errors(url), opened(path, url, {}) as table:
            fields = None
            for frame in table.batches(base):
                if fields is None:
                    # The walk itself finds the files that `tiering export` wrote beside the images.
                    fields = [as_images(field, frame, base) for field in table.fields if not field.paths]
                    for field in fields:
                        try:
                            ledger.add_field(field.found)
                        except ValueError:
                            raise _differs(url, field.found.name, ledger) from None
                columns = {"key": frame["key"].cast(pl.Binary)}
                columns |= {name: frame[name] for name in ("label", "split") if frame[name].count()}
                yield pl.DataFrame(columns | columns_of(fields, frame, base, table.where))


def _differs(url: str, name: str, ledger: Ledger) -> DatasetError:
    known = ledger.fields[name]
    return DatasetError(
        f"{display(url)}, column of {name}", expected=f"values of kind {known.kind}, as the field has elsewhere",
        found="another kind", action="Give the columns the same form, or rename one of them.",
    )  # fmt: skip
