"""Wraps sentences and commands at the width of a terminal."""

from __future__ import annotations

import textwrap
from typing import Final

#: Narrower terminals are treated as if they had this many columns: wrapping would leave a word a line.
_NARROWEST: Final = 40
#: What stands before a command that the reader is to type.
_TO_TYPE: Final = "Next: "


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """Return the lines of a paragraph, broken at spaces only, so that names and numbers stay whole.

    A command to type is broken with a backslash at each end, so that it can be copied as it is.

    Args:
        text: One paragraph.
        width: Columns of the terminal.
        indent: Columns before each line but the first.
    """
    width = max(width, _NARROWEST)
    if text.startswith(_TO_TYPE):
        indent = len(_TO_TYPE)
        lines = _broken(text, width - 2, indent)
        return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]
    return _broken(text, width, indent)


def _broken(text: str, width: int, indent: int) -> list[str]:
    before = " " * indent
    lines = textwrap.wrap(text, width, subsequent_indent=before, break_long_words=False, break_on_hyphens=False)
    return lines or [""]
