"""Names that come from a file: one validator for all of them.

A manifest, a receipt, an index or a cache that somebody else made can name anything. A name is used only if it is a
plain relative path, which cannot lead out of the directory that it belongs to.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

from tiering.text import without_secrets

#: The most bytes in a name (PATH_MAX of Linux).
LONGEST: Final = 4096


def relative_name(name: str) -> str:
    """Return a name if it is a plain relative path.

    name: POSIX path. Returns it unchanged.
    Raises ValueError for an absolute path, an empty part, `.` or `..`, a control character, or more than 4,096 bytes.

    Example: `relative_name("data/c/0")` returns it; `relative_name("../victim")` raises ValueError.
    """
    if not is_relative(name.encode("utf-8", "surrogateescape")):
        raise ValueError(f"expected a relative path without .., found {name[:100]!r}")
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in name):
        raise ValueError(f"expected a name without control characters, found {name[:100]!r}")
    return name


def is_relative(name: bytes) -> bool:
    """Return whether a name stays below the directory it is joined to. For keys, which may hold any byte."""
    return (
        0 < len(name) <= LONGEST
        and b"\0" not in name
        and all(part not in (b"", b".", b"..") for part in name.split(b"/"))
    )


#: A field of a pydantic model for a path or URL from the user; secrets are removed from it.
PublicUrl = Annotated[str, AfterValidator(without_secrets)]

#: A field of a pydantic model for a name that relative_name accepts.
RelativeName = Annotated[str, AfterValidator(relative_name)]
