"""Trees behind a URL, listed page by page: what is held of a bucket is one page of names, and totals."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tiering.dataset.counting import Count, Totals
from tiering.dataset.entries import Found, is_image_name
from tiering.dataset.headers import Seen, in_threads, inspect_remote
from tiering.dataset.places import Kept, Listing, digest_of, extension_of
from tiering.dataset.remote import connect, list_directory
from tiering.storage.bucket import REQUESTS
from tiering.storage.failures import asking
from tiering.storage.urls import joined

#: Directories listed at once.
_AT_ONCE: Final = 16


class RemoteTree:
    """A tree behind a URL, see tiering.dataset.places.Tree. Raises what tiering.dataset.remote.connect raises."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.system, self.root = connect(url)
        self._threads = REQUESTS if self.system.async_impl else 1

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> Listing:
        """List a directory, see Tree. Raises MachineError where the server cannot be asked.

        Nothing is known of what directories hold before they are listed.
        """
        whole = Listing()
        kept = Kept(keep, random)
        told = True
        for page in self.pages(prefix):
            kept.add(page.images, page.sizes)
            told &= page.sizes is not None
            whole.folders += page.folders
            whole.others.update(page.others)
            whole.skipped += page.skipped
        whole.count, whole.images = kept.count, kept.names()
        whole.sizes = kept.sizes() if told else None
        return whole

    def pages(self, prefix: bytes) -> Iterator[Listing]:
        """List a directory in parts: of S3, a thousand names at a time; of others, all of it at once.

        Raises MachineError where the server cannot be asked.
        """
        path = joined(self.root, _text(prefix)).rstrip("/") if prefix else self.root
        if self.url.startswith(("s3://", "s3a://")):
            yield from self._s3_pages(path)
            return
        try:
            listed = list_directory(self.system, self.url, path)
        except FileNotFoundError:
            yield Listing(skipped=[("vanished directory", b"")])
            return
        yield _listing((name, size) for name, size, _ in listed.iter_rows())

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some files, see Tree; one request each."""

        def ask(key: bytes) -> int:
            try:
                info = self.system.info(joined(self.root, _text(key)))
            except FileNotFoundError:
                return -1
            return int(info["size"]) if info["type"] == "file" and info["size"] is not None else -1

        with asking(self.url):
            return np.array(in_threads(ask, keys, self._threads, 1), np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Look at the beginning and the end of some files, see Tree."""
        with asking(self.url):
            return inspect_remote(self.system, self.root, keys, self._threads)

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Hash the contents of some files, see Tree."""

        def digest(key: bytes) -> bytes:
            try:
                return digest_of(self.system.cat_file(joined(self.root, _text(key)), start=0, end=limit))
            except OSError:
                return b""

        with asking(self.url):
            return in_threads(digest, keys, self._threads, 1)

    def _s3_pages(self, path: str) -> Iterator[Listing]:
        bucket, _, base = path.partition("/")
        prefix = f"{base}/" if base else ""
        more: dict[str, str] = {}
        while True:
            with asking(self.url):
                answer: dict[str, Any] = self.system.call_s3(
                    "list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", **more
                )
            folders = ((each["Prefix"], None) for each in answer.get("CommonPrefixes", ()))
            files = ((each["Key"], each["Size"]) for each in answer.get("Contents", ()))
            rows = ((name[len(prefix) :], size) for part in (files, folders) for name, size in part)
            yield _listing((name.encode("utf-8", "surrogateescape"), size) for name, size in rows if _shown(name))
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}


def count_remote(tree: RemoteTree, *, keep: int = 0, seed: int = 0) -> Totals:
    """List a whole tree behind a URL and add up, see tiering.dataset.counting.count_tree.

    keep: images to draw at random and keep by name. seed: of that sample. 16 directories are listed at once.
    Raises MachineError where the server cannot be asked.
    """
    count = Count(keep)

    def look(prefix: bytes) -> tuple[Found, list[bytes]]:
        found, folders = Found(), []
        draw = random.Random(b"%d/" % seed + prefix).random
        for page in tree.pages(prefix):
            _add(found, prefix, page, tree, draw, count.limit)
            folders += [prefix + name + b"/" for name, _, _ in page.folders]
        return found, folders

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        pending: list[bytes] = [b""]
        running: set[Future[tuple[Found, list[bytes]]]] = set()
        while pending or running:
            while pending and len(running) < 2 * _AT_ONCE:
                running.add(pool.submit(look, pending.pop()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                found, folders = each.result()
                count.add(found)
                pending += folders
    return count.finished()


def _add(found: Found, prefix: bytes, page: Listing, tree: RemoteTree, draw: Any, limit: float) -> None:
    names = page.images
    sizes = page.sizes if page.sizes is not None else tree.sizes([prefix + name for name in names]).tolist()
    for name, size in zip(names, sizes, strict=True):
        number = draw()
        if size < 0:
            found.skipped.append(("file of unknown size", prefix + name))
            continue
        extension = extension_of(name).decode()
        found.extensions[extension] = found.extensions.get(extension, 0) + 1
        found.folders[prefix] = found.folders.get(prefix, 0) + 1
        found.sizes.append(size)
        if number < limit:
            found.kept.append((number, prefix + name, size))
    for kind, count in page.others.items():
        before = found.others.get(kind.decode("utf-8", "backslashreplace"), (0, 0))
        found.others[kind.decode("utf-8", "backslashreplace")] = before[0] + count, before[1] + page.other_bytes[kind]
    found.skipped += [(why, prefix + name) for why, name in page.skipped]


def _listing(rows: Iterator[tuple[bytes, int | None]]) -> Listing:
    found = Listing()
    sizes: list[int | None] = []
    for name, size in rows:
        if name.endswith(b"/"):
            found.folders.append((name[:-1], 1.0, False))
        elif is_image_name(name):
            found.images.append(name)
            sizes.append(size)
        else:
            found.others[extension_of(name)] += 1
            found.other_bytes[extension_of(name)] += size or 0
    found.count = len(found.images)
    # A server that lists no sizes is asked for each.
    found.sizes = None if None in sizes else [size for size in sizes if size is not None]
    return found


def _shown(name: str) -> bool:
    # A directory may list an empty object of its own name, which is how some tools make directories.
    return bool(name) and not name.startswith((".", "/"))


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
