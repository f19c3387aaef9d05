"""Fields of images that lie in trees of their own beside the images: images/ and masks/.

The files of fields are listed first, into columns in memory: the key and 20 bytes of each. Then the images are walked,
and each batch of them is joined with these columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import polars as pl

from tiering.errors import UsageError
from tiering.sources.account import Ledger
from tiering.sources.fields import place_column
from tiering.sources.left_out import SIDECAR
from tiering.sources.trees.directory import names_in
from tiering.sources.trees.field_patterns import FieldPattern, images_folder
from tiering.sources.trees.walk import WALK_SCHEMA, Claim, Folder, Walk
from tiering.storage.urls import joined
from tiering.text import display

_REASON: Final = "no image has it as a field"

#: Matches the key of a file of a field.
_Matches = Callable[[bytes], re.Match[bytes] | None]


class FieldTrees:
    """The files of the fields of a folder.

    url: of the folder. patterns: where the files are. ledger: gets the fields, and the files that belong to no image.
    """

    def __init__(self, url: str, patterns: tuple[FieldPattern, ...], ledger: Ledger) -> None:
        self._url, self._patterns, self._ledger = url, patterns, ledger
        self._matches = _matcher(patterns)
        self._folders: dict[bytes, bytes] = {}
        self._files = pl.DataFrame(schema=WALK_SCHEMA)
        self._used = np.zeros(0, dtype=bool)
        self._found: set[str] = set()

    def collect(self, top: Folder) -> None:
        """List the files of the fields, and drop the patterns that need no file and have none.

        top: of the folder. Raises UsageError if there is no file, MachineError.
        """
        tops = {pattern.top for pattern in self._patterns}

        def claim(key: bytes) -> Claim:
            return "taken" if self._matches(key) else "passed over"

        walk = Walk(Ledger(), claim=claim, below=tuple(tops))
        # A Walk's batches would be looked at as images.
        frames = list(walk.batches(top))
        self._files = pl.concat([self._files, *frames]).sort("key").with_row_index("at")
        self._used = np.zeros(len(self._files), dtype=bool)
        self._patterns = tuple(pattern for pattern in self._patterns if pattern.required or self._has_files(pattern))
        self._matches = _matcher(self._patterns)
        if self._patterns and self._files.is_empty():
            raise self._none()
        for pattern in self._patterns:
            self._ledger.add_field(pattern.found)

    def claim(self, key: bytes) -> Claim | None:
        """Return what a file is: passed over as one of a field, or left out because it is beside the images."""
        if self._matches(key):
            return "passed over"
        return "left out" if any(self._is_beside(key, pattern) for pattern in self._patterns) else None

    def onto(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a frame of images with the places of their fields."""
        keys = frame["key"].to_list()
        for pattern in self._patterns:
            wanted = pl.Series("key", [pattern.key_of(key, self._images_in) for key in keys], pl.Binary)
            found = wanted.to_frame().join(self._files, on="key", how="left", maintain_order="left")
            there = found["at"].is_not_null()
            if there.any():
                self._found.add(pattern.field)
            self._use(found.filter(there))
            frame = frame.with_columns(
                pl.when(there).then(found["key"]).alias(place_column(pattern.field, "key")),
                found["size"].alias(place_column(pattern.field, "size")),
                found["version"].alias(place_column(pattern.field, "version")),
                pl.when(there).then(-1).cast(pl.Int32).alias(place_column(pattern.field, "file")),
                pl.when(there).then(0).cast(pl.Int64).alias(place_column(pattern.field, "offset")),
            )
        return frame

    def close(self) -> None:
        """Record the files that belong to no image. Raises UsageError for a pattern that no image has a file for."""
        for pattern in self._patterns:
            if pattern.field not in self._found:
                raise self._none(pattern)
        for key, size in self._files.filter(pl.Series(~self._used)).select("key", "size").iter_rows():
            self._ledger.leave_out(SIDECAR, key, size, _REASON)

    def _has_files(self, pattern: FieldPattern) -> bool:
        matches = _matcher((pattern,))
        return any(matches(key) for key in self._files["key"])

    def _use(self, found: pl.DataFrame) -> None:
        new = found.unique("at")
        new = new.filter(pl.Series(~self._used[new["at"].to_numpy()]))
        self._used[new["at"].to_numpy()] = True
        self._ledger.left_out.field_files += len(new)
        self._ledger.left_out.field_bytes += int(new["size"].sum())

    def _is_beside(self, key: bytes, pattern: FieldPattern) -> bool:
        """Return whether a file is in the directory of a field, or outside of the images' directory beside it."""
        if not pattern.directory:
            return False
        above = pattern.folder_above(key)
        if above is None:
            return False
        return key.startswith(above + pattern.own_directory) or not key.startswith(self._images_in(above))

    def _images_in(self, above: bytes) -> bytes:
        """Return the images' directory in a directory that holds fields, "" or ending in "/"."""
        if above not in self._folders:
            names = list(names_in(joined(self._url, above.decode("utf-8", "surrogateescape")) if above else self._url))
            fields = {pattern.own_directory for pattern in self._patterns}
            self._folders[above] = above + images_folder(names, fields)
        return self._folders[above]

    def _none(self, pattern: FieldPattern | None = None) -> UsageError:
        shown = (pattern or self._patterns[0]).text
        where = "" if pattern is None else " for an image"
        return UsageError(
            "fields", rule=f"needs files like {shown} below {display(self._url)}{where}",
            action="{stem} is the path of an image below the directory of images, without its ending; {name} is its "
            "last part.",
        )  # fmt: skip


def _matcher(patterns: Iterable[FieldPattern]) -> _Matches:
    """Return a function that matches the keys of the files of some fields; without any, it matches none."""
    return re.compile(b"|".join(pattern.regex() for pattern in patterns) or b"(?!)", re.DOTALL).fullmatch
