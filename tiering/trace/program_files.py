"""Recognise files that belong to the machinery of programs instead of their data.

Otherwise N processes that import the same modules would look like N-fold re-reading, and a progress bar like many
writes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import polars as pl

_KINDS = (
    # The system: programs, libraries, settings, locales, kernel interfaces.
    r"^/(?:usr/(?:local/)?)?(?:s?bin|lib|lib32|lib64|libexec|share|include)/",
    r"^/(?:etc|proc|sys|run)(?:/|$)",
    r"^/dev/(?:null|zero|full|u?random|tty|console|pt|std|fd/|shm/|mqueue|char|kmsg|urandom)",
    r"/ld\.so\.cache$",
    r"/locale/",
    # Interpreters and their packages, wherever they are installed.
    r"/(?:site|dist)-packages(?:/|$)",
    r"/lib/python[0-9.]+(?:/|$)",
    r"/__pycache__/",
    r"/pyvenv\.cfg$",
    r"\.(?:py|pyc|pyo|pyi|pth)$",
    r"\.so(?:\.[0-9.]+)?$",
    # What has no bytes on a disk: pipes, sockets, memory, and standard streams without a name.
    r"^(?:pipe|socket|anon_inode|pidfd|signalfd|eventfd|eventpoll|mqueue|net|mnt|user):",
    r"^/memfd:",
    r"^<(?:stdin|stdout|stderr)>$",
    r"^<(?:STDIN|STDOUT|STDERR)>$",
)
_NOISE = "|".join(_KINDS)
_COMPILED = re.compile(_NOISE)
#: Files that are remembered.
_MOST = 1 << 20


def is_noise(dataset_root: Path | None = None) -> pl.Expr:
    """Return whether an event's path is noise. Paths below dataset_root and missing paths never are."""
    noise = pl.col("path").str.contains(_NOISE).fill_null(value=False)
    return noise if dataset_root is None else noise & ~is_below(dataset_root)


def is_noise_path(path: str) -> bool:
    """Return whether one path is noise, as `is_noise` does of events."""
    return _COMPILED.search(path) is not None


def is_below(root: Path) -> pl.Expr:
    """Return whether an event's path is root or below it.

    Tracers show paths resolved, absolute or as the program wrote them, so root is compared in all three forms.
    """
    forms = {os.path.normpath(root), os.path.abspath(root), os.path.realpath(root)}  # noqa: PTH100
    below = [(pl.col("path") == form) | pl.col("path").str.starts_with(f"{form.rstrip('/')}/") for form in forms]
    return pl.any_horizontal(below).fill_null(value=False)


class FileMarks:
    """Marks events of the machinery of programs (`noise`) and of files below a dataset (`inside`).

    What a file is, is looked up by its identity where an earlier batch showed its path, because that is cheaper than to
    match the path again. Memory is a row for each of 2^20 files at most.
    """

    def __init__(self, dataset_root: Path | None = None) -> None:
        self._marks = {
            "noise": is_noise(dataset_root),
            "inside": is_below(dataset_root) if dataset_root is not None else pl.lit(value=True),
        }
        # What holds for files without a path.
        self._otherwise = {"noise": False, "inside": dataset_root is None}
        self._known = pl.DataFrame(schema={"file": pl.UInt64, "noise": pl.Boolean, "inside": pl.Boolean})

    def marked(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Return a batch of events (EVENT_SCHEMA) with the columns noise and inside, in the same order."""
        made = batch.join(self._known, on="file", how="left", maintain_order="left")
        new = batch.select("file", "path").filter(made["noise"].is_null() & batch["path"].is_not_null()).unique("file")
        if len(new):
            if len(self._known) + len(new) > _MOST:
                self._known, new = self._known.clear(), batch.select("file", "path").drop_nulls().unique("file")
            self._known = pl.concat([self._known, new.select("file", **self._marks)])
            made = batch.join(self._known, on="file", how="left", maintain_order="left")
        return made.with_columns(pl.col(name).fill_null(value=value) for name, value in self._otherwise.items())
