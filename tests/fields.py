"""What a source yields: its fields, its rows, its values and the bytes of its images."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tiering.sources.account import Ledger
from tiering.sources.fields import place_column, value_column
from tiering.sources.source import Source, open_source, read_samples
from tiering.storage.location import Location

FIXTURES = Path(__file__).parent.parent / "fixtures"

#: The datasets of fixtures/make_packed.py, and the photographs in them: files and labels.
PACKED = FIXTURES / "packed"
CLASSES = ("flower-0", "china-0")
PHOTOS = [path for name in CLASSES for path in sorted((FIXTURES / "images" / name).iterdir())[:6]]
LABELS = [0] * 6 + [1] * 6


def with_changed_index(source: Path, copy: Path, change: Callable[[Any], object]) -> Path:
    """Copy a dataset, and change its index.json."""
    shutil.copytree(source, copy)
    index = json.loads((copy / "index.json").read_text())
    change(index)
    (copy / "index.json").write_text(json.dumps(index))
    return copy


class Listed:
    """A source, listed: `fields` by name, `rows`, and the ledger."""

    def __init__(self, source: str | os.PathLike[str] | Any, unpacked: Path | None = None) -> None:
        self.ledger = Ledger()
        self.source: Source = open_source(source)
        if unpacked is not None:
            self.source = self.source.unpacking_into(Location.of(unpacked))
        self.rows = pl.concat(list(self.source.batches(self.ledger)), how="diagonal")

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each field."""
        return {name: field.kind for name, field in self.ledger.fields.items()}

    @property
    def keys(self) -> list[bytes]:
        return self.rows["key"].to_list()

    @property
    def labels(self) -> list[str | None]:
        return self.rows["label"].to_list()

    def values(self, name: str) -> list[bytes | None]:
        """The values of a field that frames hold."""
        return self.rows[value_column(name)].to_list()

    def images(self, order: list[int] | None = None) -> list[Any]:
        """The bytes of the images, in the order of the rows or another."""
        rows = self.rows if order is None else self.rows[order]
        return self._read(rows["key"], rows["file"], rows["offset"], rows["size"])

    def files(self, name: str) -> list[Any]:
        """The bytes of a field that are in files; None where there is none."""
        columns = [self.rows[place_column(name, part)] for part in ("key", "file", "offset", "size")]
        there = columns[0].is_not_null()
        found = iter(self._read(*(column.filter(there) for column in columns)))
        return [next(found) if each else None for each in there]

    def _read(self, key: pl.Series, file: pl.Series, offset: pl.Series, size: pl.Series) -> list[Any]:
        columns = file.to_numpy().astype(np.int32), offset.to_numpy(), size.to_numpy()
        return list(read_samples(self.source, key.to_list(), *columns))
