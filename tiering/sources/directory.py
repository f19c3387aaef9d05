"""One directory by its names, wherever it lies: all at once for those who look no further, or page by page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from tiering.errors import from_os_error
from tiering.sources.remote import connect, list_directory
from tiering.sources.walk import marked_name
from tiering.storage.failures import asking

#: Directories, and files with their sizes where the server tells them; each sorted by name over all pages.
Page = tuple[list[bytes], list[tuple[bytes, int | None]]]


def names_in(url: str) -> Iterator[bytes]:
    """Yield the names in a directory, hidden ones too, a directory's with a "/" at its end. url: or a local path.

    Raises FileNotFoundError and NotADirectoryError as they are, MachineError for what else goes wrong.
    """
    if "://" in url:
        system, path = connect(url)
        yield from list_directory(system, url, path)["key"]
        return
    try:
        with os.scandir(os.fsencode(url)) as entries:
            yield from map(marked_name, entries)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise from_os_error(error) from error


def pages(system: Any, url: str, path: str) -> Iterator[Page]:
    """List a remote directory page by page: of S3, a thousand names at a time; of others, all of it at once.

    Raises FileNotFoundError, and MachineError where the server cannot be asked.
    """
    if url.startswith(("s3://", "s3a://")):
        yield from _s3_pages(system, url, path)
        return
    listed = list_directory(system, url, path).sort("key")
    rows = [(name, size) for name, size, _ in listed.iter_rows()]
    yield [name for name, _ in rows if name.endswith(b"/")], [row for row in rows if not row[0].endswith(b"/")]


def _s3_pages(system: Any, url: str, path: str) -> Iterator[Page]:
    bucket, _, base = path.partition("/")
    prefix = f"{base}/" if base else ""
    more: dict[str, str] = {}
    while True:
        with asking(url):
            answer: dict[str, Any] = system.call_s3(
                "list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", **more
            )
        folders = [_bytes(each["Prefix"][len(prefix) :]) for each in answer.get("CommonPrefixes", ())]
        files = [(_bytes(each["Key"][len(prefix) :]), each["Size"]) for each in answer.get("Contents", ())]
        # A directory may list an empty object of its own name, which is how some tools make directories.
        yield folders, [row for row in files if row[0]]
        if not answer.get("IsTruncated"):
            return
        more = {"ContinuationToken": answer["NextContinuationToken"]}


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
