"""Keys to look for in a store: from a file with one key a line, or a list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from tiering.arrays import IndexArray, MaskArray, row_parts
from tiering.errors import DatasetError
from tiering.packing.key_lookup import NOWHERE, KeyLookup
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory
from tiering.store.columns import keys_at, lay_end_to_end
from tiering.store.index import Index
from tiering.text import display

#: A file with one key a line, or keys; text stands for the bytes that os.fsencode gives.
Keys = str | os.PathLike[str] | Iterable[str | bytes]


class WantedKeys:
    """Distinct keys, and which of them were found. Takes their bytes and 24 more for each.

    keys: in any order; a key may occur twice.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._key, self._end = lay_end_to_end(list(dict.fromkeys(keys)))
        self._lookup = KeyLookup(len(self._end), self._at)
        self.found = np.zeros(len(self._end), dtype=bool)

    def __len__(self) -> int:
        return len(self._end)

    def among(self, index: Index) -> MaskArray:
        """Return which samples of an index have one of the keys, bool (n,)."""
        there = np.zeros(len(index), dtype=bool)
        for rows in row_parts(len(index)) if len(self) else ():
            found = self._lookup.find(index.keys(rows))
            there[rows] = found != NOWHERE
            self.found[found[found != NOWHERE]] = True
        return there

    def there(self) -> list[bytes]:
        """Return the keys that were found."""
        return self._at(np.flatnonzero(self.found))

    def missing(self, most: int) -> tuple[int, list[str]]:
        """Return how many keys were not found, and the first few of them."""
        lacking = np.flatnonzero(~self.found)
        return len(lacking), [display(key) for key in self._at(lacking[:most])]

    def _at(self, rows: IndexArray) -> list[bytes]:
        return keys_at(self._key, self._end, rows)


def read_keys(keys: Keys) -> Iterator[bytes]:
    """Yield keys, byte-exact. In a file, empty lines do not count, and lines may end as Windows ends them.

    Raises DatasetError if there is no such file.
    """
    if not isinstance(keys, str | os.PathLike):
        yield from (os.fsencode(key) for key in keys)
        return
    location = Location.of(keys)
    with scratch_directory() as directory:
        try:
            path = location.fetched(directory / "keys")
            with path.open("rb") as lines:
                first = lines.readline()
                ending = b"\r\n" if first.endswith(b"\r\n") else b"\n"
                lines.seek(0)
                for line in lines:
                    if key := line.removesuffix(ending).removesuffix(b"\n"):
                        yield key
        except (FileNotFoundError, IsADirectoryError):
            raise DatasetError(
                f"keys {location}",
                found="no such file",
                action="Check the path.",
            ) from None
