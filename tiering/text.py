r"""Make foreign text safe to show and to store.

Names of files, labels and reasons may hold anything, even terminal commands: `shown` escapes them on their way to a
terminal, a message, a report or a list. A URL may carry a password, a token or a signature: `without_secrets` removes
them from all that is printed, and from all that is written into a store, a note or a cache. Applying either function
twice changes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

#: Control characters (C0, DEL, C1), line and paragraph separators, marks and overrides of the writing direction, a byte
#: order mark, and halves of surrogate pairs, which Python uses for bytes that are not UTF-8.
_UNSHOWN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SHORT: Final = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}

_URL: Final = re.compile(
    r"""([A-Za-z][A-Za-z0-9+.-]*)://([^\s/?#"'<>]*@)?((?:(?!::[a-z])[^\s?#"'<>])*)([?#][^\s"'<>]*)?"""
)

#: Schemes whose names may hold a "?" like any other character. The text after it is cut only if it has a known secret.
_PLAIN_QUERY: Final = ("s3", "s3a", "gs", "gcs", "memory", "file")

#: Schemes where the name before the "@" is a container, an account or a user, not a secret.
_NAMED: Final = ("az", "abfs", "abfss", "sftp", "ssh", "hdfs", "smb")

#: Parameters that are secrets anywhere in a text: S3, Google and Azure signatures, and common names for others.
_PARAMETER: Final = re.compile(
    r"""(?i)(?<![\w/])((?:x-amz-|x-goog-)?(?:signature|credential|security-token)|awsaccesskeyid|googleaccessid|sig|"""
    r"""(?:access_?|auth_?|session_?|refresh_?)?token|password|passwd|api_?key|account_?key|secret(?:_?(?:access_?)?key)?)"""
    r"""=[^&\s"'<>;,)]+"""
)


def shown(text: str | bytes | os.PathLike[str]) -> str:
    r"""Return a text as one line with only visible characters: ESC becomes `\x1b`, a line feed `\n`.

    text: a string, or a name in the file system's own bytes; a byte that is not UTF-8 becomes `\xNN`.

    Example: `shown("photos\x1b[2J")` returns the 13 plain characters `photos\x1b[2J`.
    """
    if not isinstance(text, str):
        text = display(text)
    return _UNSHOWN.sub(_visible, text)


def display(name: bytes | str | os.PathLike[str]) -> str:
    r"""Return a key, name or path as a unique string, the same on every machine: non-UTF-8 bytes become `\xNN`."""
    return (name if isinstance(name, bytes) else os.fsencode(name)).decode("utf-8", "backslashreplace")


def as_field(text: str) -> str:
    """Return a text as a field of a tab-separated file, with backslashes doubled so that it can be restored."""
    return shown(text.replace("\\", "\\\\"))


def first_few(texts: Sequence[str], most: int, *, of: int = 0, separator: str = "; ") -> str:
    """Return the first few texts in one line, with "..." at the end if there are more.

    of: how many there are, if `texts` holds only some of them.

    Example: `first_few(["a", "b", "c"], 2)` returns "a; b; ...".
    """
    few = texts[:most]
    return separator.join([*few, "..."] if max(of, len(texts)) > len(few) else few)


def without_secrets(text: str) -> str:
    """Return a URL, or any text with URLs in it, without passwords, tokens and signatures.

    A web address loses its whole query, which is not part of a file's name; other URLs lose only known secrets.

    Example: `without_secrets("https://me:pw@host/photos.tar?X-Amz-Signature=1")` returns "https://host/photos.tar".
    """
    if "://" in text:
        text = _URL.sub(_cleaned, text)
    return _PARAMETER.sub(r"\1=...", text) if "=" in text else text


def _visible(found: re.Match[str]) -> str:
    letter = found.group()
    number = ord(letter)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8
        number -= 0xDC00
    return _SHORT.get(letter) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")


def _cleaned(found: re.Match[str]) -> str:
    scheme, user, rest, query = found.group(1).lower(), found.group(2) or "", found.group(3), found.group(4) or ""
    host, slash, path = rest.partition("/")
    name, _, port = host.rpartition("]")[2].partition(":")
    if port and not port.rstrip(":,.;)").isdigit():  # punctuation of a sentence may follow
        # This is no port. It is a password with characters that should have been escaped.
        before, at, after = f"{rest}{query}".rpartition("@")
        user, host, slash, path, query = f"{name}:", "...", "", "", ""
        if at and before:
            return without_secrets(f"{found.group(1)}://{name}@{after}")
    user = user.partition(":")[0].rstrip("@") + "@" if user and scheme in _NAMED else ""
    if query and (scheme not in _PLAIN_QUERY or _PARAMETER.search(query)):
        query = ""
    return f"{found.group(1)}://{user}{host}{slash}{path}{query}"
