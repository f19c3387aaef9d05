"""Writes under a condition behind a URL: an object that must be new, or must still be what was read.

An object store decides, in one request (If-None-Match and If-Match for S3 and Azure, generations for Google's), so that
of two writers one is told. A request whose answer was lost is asked again; when the object then holds the very bytes
that were to be written, it was ours that arrived.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from tiering.errors import StoreError, UsageError
from tiering.storage.bucket import Bucket, open_bucket, scheme_of

T = TypeVar("T")

#: Schemes whose servers know conditions, and what names a version there.
_VERSIONS: Final = {"s3": "e_tag", "s3a": "e_tag", "gs": "version", "az": "e_tag", "abfs": "e_tag", "abfss": "e_tag"}

_REQUEST_SECONDS: Final = 30
_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


def create(url: str, data: bytes) -> str:
    """Write an object that must be new, and return its version.

    Raises FileExistsError where something is there, UsageError for a server that knows no conditional writes.
    """
    bucket = _bucket(url)
    return _put(bucket, url, data, "create", FileExistsError(f"{url} is there already"))


def read_version(url: str) -> tuple[bytes, str]:
    """Return an object and its version, which another write changes. Raises FileNotFoundError."""
    bucket = _bucket(url)
    found = _again(lambda: bucket.module.get(bucket.store, bucket.key(url)))
    data = bytes(found.bytes())
    return data, str(found.meta[_VERSIONS[scheme_of(url)]])


def write_if(url: str, data: bytes, version: str) -> str:
    """Replace an object that is still of a version, and return its new one.

    Raises StoreError where it changed or is gone, UsageError for a server that knows no conditional writes.
    """
    bucket = _bucket(url)
    return _put(bucket, url, data, {_VERSIONS[scheme_of(url)]: version}, changed(url))


def changed(url: str) -> StoreError:
    """Return the error that somebody else wrote to a file meanwhile."""
    return StoreError(
        url,
        expected="the file that was read before",
        found="another one: somebody else wrote to the store meanwhile",
        action="Nothing of theirs was replaced. Run the command again.",
    )


def _bucket(url: str) -> Bucket:
    if scheme_of(url) not in _VERSIONS:
        raise _refused(url, f"{scheme_of(url)}://, which has none")
    return open_bucket(url, "to write under a condition", _REQUEST_SECONDS)


def _put(bucket: Bucket, url: str, data: bytes, mode: Any, taken: Exception) -> str:
    """Write under a condition; taken: raised where it does not hold."""
    kinds = bucket.module.exceptions
    key = bucket.key(url)
    lost = False
    for pause in (*_PAUSES, None):
        try:
            done = bucket.module.put(bucket.store, key, data, mode=mode, use_multipart=False)
        except (FileExistsError, kinds.AlreadyExistsError, kinds.PreconditionError):
            if not lost:
                raise taken from None
            found, version = read_version(url)
            if found != data:
                raise taken from None
            return version
        except (NotImplementedError, kinds.NotSupportedError) as error:
            raise _refused(url, "a server that has none") from error
        except kinds.GenericError as error:
            if "NotImplemented" in str(error) or "501 " in str(error):
                raise _refused(url, "a server that has none (501 Not Implemented)") from error
            if pause is None:
                raise
            lost = True
            time.sleep(pause)
        else:
            return str(done[_VERSIONS[scheme_of(url)]])
    raise AssertionError  # the loop returns or raises


def _again(ask: Callable[[], T]) -> T:
    """Ask, and again where the server fails; the last failure is raised."""
    for pause in _PAUSES:
        try:
            return ask()
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:
            if type(error).__name__ != "GenericError":
                raise
            time.sleep(pause)
    return ask()


def _refused(url: str, found: str) -> UsageError:
    return UsageError(
        url,
        expected="a server with conditional writes (If-None-Match and If-Match)",
        found=found,
        action="Without them two writers could destroy each other's store: write it to a local directory, and copy it.",
    )
