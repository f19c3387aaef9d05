r"""Make foreign text safe to show: names of files, labels and reasons may hold anything, even terminal commands.

All text from outside goes through `shown` on its way to a terminal, a message, a report or a list. It is safe to apply
twice: the second time changes nothing.
"""

from __future__ import annotations

import os
import re
from typing import Final

#: Control characters (C0, DEL, C1), line and paragraph separators, marks and overrides of the writing direction, a byte
#: order mark, and halves of surrogate pairs, which Python uses for bytes that are not UTF-8.
_UNSHOWN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SHORT: Final = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def shown(text: str | bytes | os.PathLike[str]) -> str:
    r"""Return a text as one line with only visible characters: ESC becomes `\x1b`, a line feed `\n`.

    text: a string, or a name in the file system's own bytes; a byte that is not UTF-8 becomes `\xNN`.

    Example: `shown("photos\x1b[2J")` returns the 13 plain characters `photos\x1b[2J`.
    """
    if not isinstance(text, str):
        text = display(os.fsencode(text))
    return _UNSHOWN.sub(_visible, text)


def display(name: bytes) -> str:
    r"""Return a key or name as a unique string, the same on every machine: a byte that is not UTF-8 becomes `\xNN`."""
    return name.decode("utf-8", "backslashreplace")


def as_field(text: str) -> str:
    """Return a text as a field of a tab-separated file, with backslashes doubled so that it can be restored."""
    return shown(text.replace("\\", "\\\\"))


def _visible(found: re.Match[str]) -> str:
    letter = found.group()
    number = ord(letter)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8
        number -= 0xDC00
    return _SHORT.get(letter) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")
