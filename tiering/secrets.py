"""Secrets in URLs, which must not be stored or shown.

A URL may carry a password, a token or a signature, as a presigned URL does. Everything that is written into a store, a
note or a cache, and everything that is printed, goes through `without_secrets` first. It is safe to apply twice.
"""

from __future__ import annotations

import re
from typing import Final

_URL: Final = re.compile(
    r"""([A-Za-z][A-Za-z0-9+.-]*)://([^\s/?#"'<>]*@)?((?:(?!::[a-z])[^\s?#"'<>])*)([?#][^\s"'<>]*)?"""
)

#: Schemes whose names may hold a "?" like any other character; what follows it is cut only if it holds a known secret.
_PLAIN_QUERY: Final = ("s3", "s3a", "gs", "gcs", "memory", "file")

#: Schemes where the name before the "@" is a container, an account or a user, and no secret.
_NAMED: Final = ("az", "abfs", "abfss", "sftp", "ssh", "hdfs", "smb")

#: Parameters that are secrets anywhere in a text: S3, Google and Azure signatures, and common names for others.
_PARAMETER: Final = re.compile(
    r"""(?i)(?<![\w/])((?:x-amz-|x-goog-)?(?:signature|credential|security-token)|awsaccesskeyid|googleaccessid|sig|"""
    r"""(?:access_?|auth_?|session_?|refresh_?)?token|password|passwd|api_?key|account_?key|secret(?:_?(?:access_?)?key)?)"""
    r"""=[^&\s"'<>;,)]+"""
)


def without_secrets(text: str) -> str:
    """Return a URL, or any text with URLs in it, without passwords, tokens and signatures.

    A web address loses its whole query, which is not part of a file's name; other URLs lose only known secrets.

    Example: `without_secrets("https://me:pw@host/photos.tar?X-Amz-Signature=1")` returns "https://host/photos.tar".
    """
    if "://" in text:
        text = _URL.sub(_cleaned, text)
    return _PARAMETER.sub(r"\1=...", text) if "=" in text else text


def _cleaned(found: re.Match[str]) -> str:
    scheme, who, rest, query = found.group(1).lower(), found.group(2) or "", found.group(3), found.group(4) or ""
    host, slash, path = rest.partition("/")
    name, _, port = host.rpartition("]")[2].partition(":")
    if port and not port.rstrip(":,.;)").isdigit():  # punctuation of a sentence may follow
        # Not a port but a password, with characters that should have been escaped.
        before, at, after = f"{rest}{query}".rpartition("@")
        who, host, slash, path, query = f"{name}:", "...", "", "", ""
        if at and before:
            return without_secrets(f"{found.group(1)}://{name}@{after}")
    who = who.partition(":")[0].rstrip("@") + "@" if who and scheme in _NAMED else ""
    if query and (scheme not in _PLAIN_QUERY or _PARAMETER.search(query)):
        query = ""
    return f"{found.group(1)}://{who}{host}{slash}{path}{query}"
