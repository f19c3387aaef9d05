"""Read samples, each a byte range of a file, in the requested order; yield an error in place of one that fails."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from tiering.errors import DatasetError
from tiering.sources.trees.remote import as_os_error, connect
from tiering.storage.bucket import REQUESTS
from tiering.storage.failures import asking
from tiering.text import display

#: The bytes of a sample, or the error that prevented reading it.
Found = bytes | OSError | DatasetError

#: A part of a file: path or URL, first byte, size in bytes. First byte -1 means the whole file, of that size.
Range = tuple[str, int, int]

_OPEN_FILES: Final = 16
#: Whole files that are open before their turn, and bytes in them.
_FILES_AHEAD: Final = 16
_FILE_BYTES_AHEAD: Final = 32 << 20
_BATCH_BYTES: Final = 32 << 20
_BATCHES_AHEAD: Final = 2
_BYTES_AHEAD: Final = (_BATCHES_AHEAD + 2) * _BATCH_BYTES


def read_files(root: bytes, keys: Iterable[bytes], sizes: Iterable[int]) -> Iterator[Found]:
    """Yield the contents of local files. keys: their paths below root. sizes: the expected sizes in bytes.

    Meanwhile the next files are opened and announced to the kernel, because a disk answers many requests at a time:
    that takes a third to a half of the time where the page cache has none of them.
    About 15 us for a file of 100 kB in the page cache (open, announce, read and close; one core).
    """
    base = os.path.join(root, b"")  # noqa: PTH118 - bytes paths; "+" takes a tenth of the time of join
    opened: deque[tuple[int | OSError, bytes, int]] = deque()
    held = 0
    try:
        for key, size in zip(keys, sizes, strict=True):
            path = key if key[:1] == b"/" else base + key
            while opened and (len(opened) == _FILES_AHEAD or held + size > _FILE_BYTES_AHEAD):
                held -= max(opened[0][2], 0)
                yield _content(*opened.popleft())
            opened.append((_opened(path, size), path, size))
            held += max(size, 0)
        while opened:
            yield _content(*opened.popleft())
    finally:
        for file, _, _ in opened:
            if not isinstance(file, OSError):
                os.close(file)


def read_parts(ranges: Iterable[Range]) -> Iterator[Found]:
    """Yield parts of local files. Up to 16 of the files stay open."""
    files: OrderedDict[str, int] = OrderedDict()
    try:
        for path, offset, size in ranges:
            try:
                if path not in files:
                    files[path] = os.open(path, os.O_RDONLY)
                    if len(files) > _OPEN_FILES:
                        os.close(files.popitem(last=False)[1])
                files.move_to_end(path)
                data = os.pread(files[path], size, offset)
                while len(data) < size and (more := os.pread(files[path], size - len(data), offset + len(data))):
                    data += more
            except OSError as error:
                yield OSError(error.errno, error.strerror, path)
                continue
            yield data if len(data) == size else _changed(display(path), size, len(data))
    finally:
        for descriptor in files.values():
            os.close(descriptor)


def read_remote(url: str, ranges: Iterable[Range]) -> Iterator[Found]:
    """Yield parts of files behind URLs of one file system, in batches of about 32 MB or 64 requests.

    Two batches are requested ahead of the one being consumed, so that the server's latency overlaps with the work.
    Images that are larger than a batch come one at a time, so that at most one of them is held besides the last.
    The driver repeats failed requests. Raises UsageError if the driver is missing, MachineError if it cannot connect.
    """
    system, _ = connect(url)
    # Synchronous drivers do not promise to be thread-safe, so they get one thread.
    pool = ThreadPoolExecutor(_BATCHES_AHEAD if system.async_impl else 1)
    pending: list[tuple[int, Future[list[Found]]]] = []
    try:
        for batch in _batches(ranges):
            size = sum(part[2] for part in batch)
            while pending and (len(pending) > _BATCHES_AHEAD or size + sum(each[0] for each in pending) > _BYTES_AHEAD):
                yield from _consumed(pending.pop(0)[1])
            pending.append((size, pool.submit(_fetch, system, url, batch)))
        while pending:
            yield from _consumed(pending.pop(0)[1])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _consumed(fetched: Future[list[Found]]) -> Iterator[Found]:
    """Yield fetched samples, and release each one at once."""
    found = fetched.result()
    found.reverse()
    while found:
        yield found.pop()


def _opened(path: bytes, size: int) -> int | OSError:
    """Open a file and announce that it will be read; return the error if it cannot be opened."""
    try:
        # Without O_NONBLOCK, opening a FIFO that took the file's place would block for ever.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return OSError(error.errno, error.strerror, os.fsdecode(path))
    if 0 < size <= _FILE_BYTES_AHEAD:
        try:  # noqa: SIM105 - suppress() would cost 0.4 us a file
            os.posix_fadvise(file, 0, size, os.POSIX_FADV_WILLNEED)
        except OSError:  # a FIFO, which says so when it is read
            pass
    return file


def _content(file: int | OSError, path: bytes, size: int) -> Found:
    """Read an open file, and close it."""
    if isinstance(file, OSError):
        return file
    try:
        try:
            # One byte more than expected reveals a file that grew.
            data = os.read(file, size + 1) if size >= 0 else b""
            while 0 < len(data) < size and (more := os.read(file, size + 1 - len(data))):
                data += more
            if len(data) == size:
                return data
            about = os.fstat(file)
        finally:
            os.close(file)
    except OSError as error:
        return OSError(error.errno, error.strerror, os.fsdecode(path))
    if not stat.S_ISREG(about.st_mode):
        return FileNotFoundError(errno.ENOENT, "No such file, but something else of that name", os.fsdecode(path))
    return _changed(display(path), size, about.st_size)


def _batches(ranges: Iterable[Range]) -> Iterator[list[Range]]:
    batch: list[Range] = []
    total = 0
    for part in ranges:
        batch.append(part)
        total += part[2]
        if total >= _BATCH_BYTES or len(batch) == REQUESTS:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _fetch(system: Any, url: str, batch: list[Range]) -> list[Found]:
    # No server answers a request for zero bytes: an empty file is requested without bounds, an empty part not at all.
    requested = [part for part in batch if part[1] < 0 or part[2]]
    # One byte more than expected of a whole file reveals a file that grew.
    begins = [None if size <= 0 else max(offset, 0) for _, offset, size in requested]
    ends = [None if size <= 0 else offset + size if offset >= 0 else size + 1 for _, offset, size in requested]
    with asking(url):
        found = iter(system.cat_ranges([path for path, _, _ in requested], begins, ends, on_error="return"))
    return [_checked(next(found), path, size) if offset < 0 or size else b"" for path, offset, size in batch]


def _checked(data: bytes | BaseException, path: str, size: int) -> Found:
    if isinstance(data, BaseException):
        error = as_os_error(data, path)
        # The range begins after the end of the file: 416 in HTTP.
        beyond = getattr(data, "status", None) == 416 or "range" in str(error.strerror).lower()
        return _changed(display(path), size) if beyond else error
    return data if len(data) == size else _changed(display(path), size, len(data))


def _changed(where: str, size: int, found: int | None = None) -> DatasetError:
    how = "shrank" if found is None or found < size else "grew"
    return DatasetError(
        where,
        found=f"changed while it was being packed: it {how}, and had {size:,} bytes"
        if size >= 0
        else "changed while it was being packed: it was missing",
        action="Convert it again when nothing writes to it.",
    )
