"""Tells a profile.json from a trace, without loading what a profile is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_SNIFFED: Final = 4096


def is_profile(path: str | Path) -> bool:
    """Return whether a file is a profile.json, judging by its beginning. Raises OSError."""
    if Path(path).is_dir():
        return False
    # Some trace formats are JSON as well, so the first brace is not enough.
    with Path(path).open("rb") as file:
        start = file.read(_SNIFFED).lstrip()
    return start.startswith(b"{") and b'"tiering-profile"' in start
