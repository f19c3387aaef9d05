"""Trees behind a URL, listed page by page: what is held of a bucket is one page of names, and totals."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tiering.dataset.counting import Count, Totals
from tiering.dataset.headers import Seen, in_threads, inspect_remote
from tiering.dataset.places import Kept, Listing, digest_of
from tiering.sources.contents import look_at_head
from tiering.sources.directory import pages
from tiering.sources.entries import Found
from tiering.sources.formats import extension_of, is_image_name
from tiering.sources.left_out import (
    MISSING,
    NOT_AN_IMAGE,
    PACKED,
    SIDECAR,
    UNKNOWN_SIZE,
    UNREACHABLE,
    ZARR_MARKS,
    unlooked,
)
from tiering.sources.remote import connect, first_bytes
from tiering.sources.shared import Shared
from tiering.sources.siblings import with_keys
from tiering.storage.bucket import REQUESTS
from tiering.storage.failures import asking
from tiering.storage.urls import joined

#: Directories listed at once, and requests for each of them.
_AT_ONCE: Final = 16
_EACH: Final = 4

#: Names of a part of a directory.
_PAGE: Final = 1000


class RemoteTree:
    """A tree behind a URL, see tiering.dataset.places.Tree. Raises what tiering.sources.remote.connect raises."""

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
            whole.left_out.merge(page.left_out)
            for name, kind, size in page.others:
                whole.left_out.add(kind, prefix + name, size)
        whole.count, whole.images = kept.count, kept.names()
        whole.sizes = kept.sizes() if told else None
        return whole

    def pages(self, prefix: bytes) -> Iterator[Listing]:
        """List a directory in parts of about a thousand names.

        Raises MachineError where the server cannot be asked.
        """
        path = joined(self.root, _text(prefix)).rstrip("/") if prefix else self.root
        folders: list[bytes] = []
        sizes: deque[int | None] = deque()
        shared = Shared()

        def names() -> Iterator[bytes]:
            for more, files in pages(self.system, self.url, path):
                folders.extend(more)
                for name, size in files:
                    sizes.append(size)
                    yield name

        try:
            keys = with_keys(names())
            while part := [(name, key, sizes.popleft()) for name, key in islice(keys, _PAGE)]:
                shared.tell(prefix, ((name, key) for name, key, _ in part))
                yield _listing(prefix, part, folders)
                folders.clear()
            if folders or shared.count:
                last = _listing(prefix, [], folders)
                last.left_out.shared = shared
                yield last
        except FileNotFoundError:
            found = Listing()
            found.left_out.add(MISSING, prefix, reason="it vanished during the walk")
            yield found

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

    def heads(self, prefix: bytes, files: Sequence[tuple[bytes, int]]) -> list[bytes]:
        """Return the first bytes of some files of a directory. Raises MachineError where the server cannot be asked."""
        base = joined(self.root, _text(prefix)) if prefix else self.root
        return first_bytes(self.system, self.url, base, files, _EACH)

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
            if page.left_out.count(PACKED):
                return Found(left_out=page.left_out), []
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
    names = list(page.images)
    sizes = page.sizes if page.sizes is not None else tree.sizes([prefix + name for name in names]).tolist()
    found.left_out.merge(page.left_out)
    for (name, kind, size), head in zip(
        page.others, tree.heads(prefix, [(name, size) for name, _, size in page.others]), strict=True
    ):
        by_content, why = look_at_head(head, name)
        if by_content:
            found.left_out.add(kind if by_content == NOT_AN_IMAGE else by_content, prefix + name, size, why)
        else:
            names.append(name)
            sizes = [*sizes, size]
    for name, size in zip(names, sizes, strict=True):
        number = draw()
        if size < 0:
            found.left_out.add(UNKNOWN_SIZE, prefix + name, reason="the server tells no size")
            continue
        extension = extension_of(name).decode("utf-8", "backslashreplace")
        found.extensions[extension] = found.extensions.get(extension, 0) + 1
        found.folders[prefix] = found.folders.get(prefix, 0) + 1
        found.sizes.append(size)
        if number < limit:
            found.kept.append((number, prefix + name, size))


def _listing(prefix: bytes, rows: list[tuple[bytes, bytes | None, int | None]], folders: list[bytes]) -> Listing:
    """Sort out a part of a directory: files with the key that they share, and their sizes; directories."""
    found = Listing()
    sizes: list[int | None] = []
    for folder in folders:
        if kind := unlooked(folder):
            found.left_out.add(kind, prefix + folder)
        elif folder == b"/":
            found.left_out.add(UNREACHABLE, prefix + folder, reason="no path leads to a directory without a name")
        else:
            found.folders.append((folder[:-1], 1.0, False))
    if any(name in ZARR_MARKS for name, _, _ in rows):
        found = Listing()
        found.left_out.add(PACKED, prefix)
        return found
    for name, key, size in rows:
        if kind := unlooked(name):
            found.left_out.add(kind, prefix + name, size or 0)
        elif is_image_name(name):
            found.images.append(name)
            sizes.append(size)
        else:
            found.others.append((name, NOT_AN_IMAGE if key is None else SIDECAR, size or 0))
    found.count = len(found.images)
    # A server that lists no sizes is asked for each.
    found.sizes = None if None in sizes else [size for size in sizes if size is not None]
    return found


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
