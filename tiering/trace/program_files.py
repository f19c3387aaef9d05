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
