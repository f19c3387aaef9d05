"""Parts of a path or URL: its name, its parent directory, and names joined below it.

The query of a web address is not part of a name. It may hold a signature for one file (a presigned URL), or a token for
a whole container or folder. So every URL made from another one keeps its query.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tiering.errors import UsageError

#: Common schemes, to tell a mistyped URL from the name of a file.
_KNOWN: Final = "s3|s3a|gs|gcs|az|abfs|abfss|http|https"
_SLIP: Final = re.compile(rf"({_KNOWN})(:/?(?!/)|//)(.*)", re.IGNORECASE | re.DOTALL)

WEB: Final = ("http://", "https://")


def split_query(url: str) -> tuple[str, str]:
    """Return a web address without its query, and the query with its "?"; anything else unchanged, and ""."""
    if not url.startswith(WEB):
        return url, ""
    path, mark, query = url.partition("?")
    return path, mark + query


def name_of(url: str) -> str:
    """Return the last part of a path or URL, such as photos.tar, ignoring a "/" at the end."""
    return split_query(url)[0].rstrip("/").rpartition("/")[2]


def parent_of(url: str) -> str:
    """Return the directory that a file lies in."""
    path, query = split_query(url)
    return path.rpartition("/")[0] + query


def joined(url: str, name: str) -> str:
    """Return the path or URL of a name below a directory. name: relative, POSIX."""
    path, query = split_query(url)
    return f"{path.rstrip('/') if query else path}/{name}{query}"


def refuse_mistyped(text: str) -> None:
    """Raise UsageError for a mistyped URL: one with a slash, a colon or the bucket missing."""
    scheme, mark, rest = text.partition("://")
    if mark and re.fullmatch(_KNOWN, scheme.lower()) and not rest.strip("/"):
        raise UsageError(text, rule=f"needs a bucket or host after {scheme}://")
    slip = _SLIP.fullmatch(text)
    if slip and not Path(text).exists():
        meant = f"{slip.group(1).lower()}://{slip.group(3)}"
        raise UsageError(
            text, expected="a path or a URL", found="something between the two", action=f"Perhaps you mean {meant}"
        )
    if mark and scheme != scheme.lower():
        meant = f"{scheme.lower()}://{rest}"
        raise UsageError(text, expected="a scheme in small letters", found=scheme, action=f"Perhaps you mean {meant}")
    if scheme == "gcs":
        raise UsageError(text, expected="gs:// for Google's buckets", found="gcs://", action=f"Type gs://{rest}")
