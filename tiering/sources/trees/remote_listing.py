"""Names, sizes and versions in one remote directory, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from tiering.sources.trees.remote import version_of
from tiering.storage.failures import asking
from tiering.storage.urls import split_query

LISTING_SCHEMA = {"key": pl.Binary, "size": pl.Int64, "version": pl.Int64}

#: What a listing says of one entry: its name, a directory's with "/" at its end; its bytes, None where the server does
#: not tell them; its version, see tiering.sources.trees.remote.version_of.
Listed = tuple[bytes, int | None, int]


def pages(system: Any, url: str, path: str) -> Iterator[list[Listed]]:
    """List a remote directory: of S3, a thousand names at a time; of others, all of it at once. A page is sorted.

    system: fsspec's file system; path: in it; url: for errors. A directory without a name is "/".
    Raises FileNotFoundError, and MachineError where the server cannot be asked.
    """
    if url.startswith(("s3://", "s3a://")):
        yield from _s3_pages(system, url, path)
    else:
        yield sorted(_all_at_once(system, url, path))


def list_directory(system: Any, url: str, path: str) -> pl.DataFrame:
    """List a whole remote directory in LISTING_SCHEMA's columns, sorted by name, see pages."""
    frames = [pl.DataFrame(page, schema=LISTING_SCHEMA, orient="row") for page in pages(system, url, path)]
    return pl.concat(frames).sort("key")


def _all_at_once(system: Any, url: str, path: str) -> Iterator[Listed]:
    with asking(url):
        listed = system.ls(path, detail=True)
    path = split_query(path)[0]
    for info in listed:
        name = split_query(str(info["name"]))[0].rstrip("/").removeprefix(path).removeprefix("/")
        # A directory may list an empty object of its own name, which is how some tools make directories.
        if name and "/" not in name:
            yield _bytes(name) + b"/" * (info["type"] == "directory"), info["size"], version_of(info)


def _s3_pages(system: Any, url: str, path: str) -> Iterator[list[Listed]]:
    bucket, _, base = path.partition("/")
    prefix = f"{base}/" if base else ""
    more: dict[str, str] = {}
    while True:
        with asking(url):
            answer: dict[str, Any] = system.call_s3(
                "list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", **more
            )
        folders, files = answer.get("CommonPrefixes", ()), answer.get("Contents", ())
        if prefix and not (more or folders or files):
            raise FileNotFoundError(url)
        page = [(_bytes(each["Prefix"][len(prefix) :]), None, 0) for each in folders]
        page += [(_bytes(each["Key"][len(prefix) :]), each["Size"], version_of(each)) for each in files]
        yield sorted(row for row in page if row[0])
        if not answer.get("IsTruncated"):
            return
        more = {"ContinuationToken": answer["NextContinuationToken"]}


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
