"""The data files of a job, by name: equal names are the same file, and files of the program itself are none."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from tiering.trace.program_files import is_noise_path

#: Most names that are remembered for sizes and kinds.
_REMEMBERED = 1 << 16


@lru_cache(_REMEMBERED)
def identity(path: str) -> int:
    """Return the identity of a file in a trace: a hash of its name, as the readers of strace's output have it."""
    return int.from_bytes(blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class DataFiles:
    """Tells data files from others, and knows their sizes. dataset: a directory or file whose files all are data."""

    def __init__(self, dataset: Path | None) -> None:
        self._below = [] if dataset is None else sorted({os.path.abspath(dataset), os.path.realpath(dataset)})  # noqa: PTH100
        self._programs: set[str] = set()
        self._sizes: OrderedDict[str, int | None] = OrderedDict()

    def is_data(self, path: str) -> bool:
        """Return whether a file is neither the program's nor the system's."""
        if not path.startswith("/") or path.startswith("//") or path in self._programs:
            return False
        return self.is_of_dataset(path) or not is_noise_path(path)

    def note_program(self, path: str) -> None:
        """Note that a file has code in it, as a part of it was mapped to be executed."""
        if len(self._programs) < _REMEMBERED:
            self._programs.add(path)

    def is_of_dataset(self, path: str) -> bool:
        """Return whether a file is one of the dataset's; never without a dataset."""
        return any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in self._below)

    @property
    def has_dataset(self) -> bool:
        """Whether a dataset was named."""
        return bool(self._below)

    def size(self, path: str, pid: int) -> int | None:
        """Return the size of a file in B as a process sees it; None if that is unknown."""
        if path not in self._sizes:
            if len(self._sizes) >= _REMEMBERED:
                self._sizes.popitem(last=False)
            self._sizes[path] = _size(f"/proc/{pid}/root{path}") or _size(path)
        return self._sizes[path]


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return None
