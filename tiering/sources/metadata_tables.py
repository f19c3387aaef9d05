"""Tables beside images, as Hugging Face's ImageFolder has them: metadata.csv, .jsonl or .parquet.

Such a table describes the images of its directory and below, named by its column file_name. Its further columns are
fields, except those of labels and splits. It is held in memory while the images are walked. If several tables name an
image, the one in the deepest directory counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.errors import DatasetError
from tiering.sources.account import Ledger
from tiering.sources.labels.folders import SPLITS
from tiering.sources.left_out import LOST_LABEL
from tiering.sources.small_files import look_up_files
from tiering.sources.tables.described import described_rows, names_files
from tiering.sources.trees.remote import connect, look_up
from tiering.sources.trees.siblings import DESCRIPTIONS
from tiering.storage.urls import joined
from tiering.text import display

_BATCH: Final = 50_000


def has_metadata(url: str) -> bool:
    """Return whether a folder, or a split in it, has a table of metadata. Raises MachineError if it cannot be read."""
    folders = ("", *(f"{split}/" for split in SPLITS))
    names = [f"{folder}{name.decode()}" for folder in folders for name in DESCRIPTIONS]
    return any(size >= 0 for size, _ in look_up_files(url, names))


@dataclass(frozen=True, slots=True)
class _Described:
    """A table. prefix: its directory, "" or ending in "/". rows: key, at, and its columns. used: which rows were."""

    key: bytes
    prefix: bytes
    rows: pl.DataFrame
    used: npt.NDArray[np.bool_]


class MetadataTables:
    """The tables of metadata that a walk has met.

    url: of the folder. ledger: gets the fields, and rows that name no file.
    """

    def __init__(self, url: str, ledger: Ledger) -> None:
        self._url, self._ledger = url, ledger
        self._tables: list[_Described] = []

    def read(self, key: bytes) -> bool:
        """Read a table, and return whether it describes images: it has a column file_name.

        key: path of the table below the folder. Call it before the walk yields images of that directory.
        Raises DatasetError for a table that cannot be used, MachineError if it cannot be read.
        """
        url = self._below(key)
        if not names_files(url):
            return False
        prefix = key[: key.rfind(b"/") + 1]
        frames = list(described_rows(url, self._below(prefix), self._ledger))
        rows = pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema={"key": pl.Binary})
        rows = rows.with_columns(pl.Series("key", [prefix + name for name in rows["key"]], pl.Binary))
        if (twice := rows.filter(rows["key"].is_duplicated())["key"].head(1)).len():
            raise DatasetError(
                display(key), expected="each file once", found=f"{display(twice[0])} twice",
                action="Remove one of the two rows.",
            )  # fmt: skip
        self._tables.append(_Described(key, prefix, rows.with_row_index("at"), np.zeros(len(rows), dtype=bool)))
        self._tables.sort(key=lambda table: (table.prefix.count(b"/"), table.key))
        return True

    def onto(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a frame of images, sorted by key, with the columns of the tables that name them."""
        keys = frame.select("key")
        for table in self._tables:
            if not keys["key"][0] < table.prefix + b"\xff" or keys["key"][-1] < table.prefix:
                continue
            found = keys.join(table.rows, on="key", how="left", maintain_order="left")
            there = found["at"].is_not_null()
            table.used[found["at"].drop_nulls().to_numpy()] = True
            for column in found.drop("key", "at").iter_columns():
                new = column if column.name not in frame else column.zip_with(there, frame[column.name])
                frame = frame.with_columns(new)
        return frame

    def close(self) -> None:
        """Record in the ledger the rows that name no file. Others are recorded with their files."""
        for table in self._tables:
            left = table.rows.filter(pl.Series(~table.used))["key"]
            for begin in range(0, len(left), _BATCH):
                for key in self._missing(left[begin : begin + _BATCH].to_list()):
                    self._ledger.leave_out(LOST_LABEL, key, reason=f"{display(table.key)} names it")

    def _missing(self, keys: list[bytes]) -> Iterator[bytes]:
        if "://" not in self._url:
            root = os.fsencode(self._url)
            yield from (key for key in keys if not os.path.lexists(os.path.join(root, key)))  # noqa: PTH118 - bytes
            return
        system, path = connect(self._url)
        sizes = look_up(system, self._url, path, keys)
        yield from (key for key, (size, _) in zip(keys, sizes, strict=True) if size < 0)

    def _below(self, key: bytes) -> str:
        return joined(self._url, os.fsdecode(key).rstrip("/")) if key else self._url
