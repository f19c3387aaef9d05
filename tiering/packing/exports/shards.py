"""Divide the samples of an export into files of bounded size, split by split, in the order of the store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tiering.arrays import IndexArray, row_parts
from tiering.packing.exports.batches import sizes_of
from tiering.store.protocol import Store
from tiering.store.schema import Field

#: The most bytes of samples in one file; Hugging Face's own limit. A larger sample has a file of its own.
SHARD_BYTES: Final = 500_000_000


@dataclass(frozen=True, slots=True)
class ExportShard:
    """The samples of one file: those of a split among some rows.

    word: a word for the split in names of files. split: its number, -1 for samples of none. begin, end: the rows.
    number: of the file among those of its split, from 0. of: number of files of its split.
    """

    word: str
    split: int
    begin: int
    end: int
    number: int
    of: int

    def parts(self, store: Store) -> Iterator[IndexArray]:
        """Yield the numbers of its samples, int64."""
        yield from _rows(store, self.split, self.begin, self.end)


def planned_shards(store: Store, fields: Sequence[Field], each: int, word: str, rest: str) -> Iterator[ExportShard]:
    """Yield the files of an export. Takes a pass over the column of splits for each split.

    each: bytes that each sample takes beside its own. word: for the samples of a store without splits. rest: for
    samples without a split among others with one.
    """
    splits = store.manifest.splits
    words = [*split_words(splits, {rest}), rest if splits else word]
    for split, name in zip((*range(len(splits)), -1), words, strict=True):
        ends = _ends(store, fields, split, each)
        for number, (begin, end) in enumerate(zip((0, *ends), ends, strict=False)):
            yield ExportShard(name, split, begin, end, number, len(ends))


def split_words(splits: Sequence[str], taken: set[str]) -> list[str]:
    """Return different words of letters, digits and _ for splits, by which Hugging Face and WebDataset name files."""
    words: list[str] = []
    for split in splits:
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", split)[:60].strip("_") or "split"
        word, number = plain, 1
        while word.casefold() in {each.casefold() for each in (*words, *taken)}:
            number += 1
            word = f"{plain}_{number}"
        words.append(word)
    return words


def _ends(store: Store, fields: Sequence[Field], split: int, each: int) -> list[int]:
    """Return the row behind each file of a split."""
    ends: list[int] = []
    held, last = 0, -1
    for rows in _rows(store, split, 0, len(store)):
        sizes = sizes_of(store, fields, rows) + each
        before = np.concatenate([[0], np.cumsum(sizes)])
        begin = 0
        while begin < len(rows):
            # As many samples as still fit; at least one in an empty file.
            end = int(np.searchsorted(before, before[begin] + SHARD_BYTES - held, side="right")) - 1
            end = max(end, begin + (held == 0))
            held += int(before[end] - before[begin])
            last = int(rows[end - 1]) + 1 if end > begin else last
            if end < len(rows):
                ends.append(last)
                held = 0
            begin = end
    return [*ends, len(store)] if held else ends


def _rows(store: Store, split: int, begin: int, end: int) -> Iterator[IndexArray]:
    for part in row_parts(end - begin):
        rows = part + begin
        if store.manifest.splits:
            rows = rows[store.index.split[rows] == split]
        if len(rows):
            yield rows
