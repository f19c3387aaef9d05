"""Find lines of left-out.tsv by key, with 24 bytes of memory per line and no Python objects."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tiering.packing.key_lookup import NOWHERE, KeyLookup
from tiering.text import as_field, display


class ListedLines:
    """The lines of a file, which must not change meanwhile. Keys are written as field_of returns them."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as lines:
            self._ends = np.fromiter(accumulate(map(len, lines)), dtype=np.int64)
        self._text = np.memmap(path, dtype=np.uint8, mode="r") if len(self._ends) else np.empty(0, dtype=np.uint8)
        self._lookup = KeyLookup(len(self._ends), lambda rows: [line.partition(b"\t")[0] for line in self.lines(rows)])

    def __len__(self) -> int:
        return len(self._ends)

    def find(self, keys: list[bytes]) -> npt.NDArray[np.int64]:
        """Return the row of each key, NOWHERE for keys without a line."""
        return self._lookup.find(keys)

    def have(self, keys: list[bytes]) -> npt.NDArray[np.bool_]:
        """Return for each key whether it has a line: bool (len(keys),)."""
        there: npt.NDArray[np.bool_] = self._lookup.find(keys) != NOWHERE
        return there

    def lines(self, rows: npt.NDArray[np.int64]) -> list[bytes]:
        """Return some lines."""
        begins = np.where(rows > 0, self._ends[rows - 1], 0)
        ends = self._ends[rows]
        return [self._text[begin:end].tobytes() for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


def field_of(key: bytes) -> bytes:
    """Return a key as a list writes it."""
    return as_field(display(key)).encode()
