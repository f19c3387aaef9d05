"""Walk a directory of images: every file's key, size and time of change, without opening any of them."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tiering.errors import DatasetError, from_os_error
from tiering.units import format_count

IMAGE_EXTENSIONS = frozenset(b"jpg jpeg jpe jfif png bmp gif webp tif tiff ppm pgm pbm pnm jp2".split())
SCAN_SCHEMA = {"key": pl.Binary, "size": pl.Int64, "mtime_ns": pl.Int64}
BATCH = 50_000
MAX_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Scan:
    """What a walk over a dataset directory found. Sizes are bytes.

    root: the directory as it was given.
    files: the image files only, sorted by key bytewise, in the columns of SCAN_SCHEMA: key (path below root
    with
        "/" between its parts, byte for byte as the file system has it), size (bytes), mtime_ns (ns since
        1970).
    other_files, other_bytes: regular files whose extension is no image's.
    skipped: entries left out, by reason. Hidden files and directories are left out without being counted.
    examples: up to 10 lines that name some of the skipped entries.
    odd_names: images whose key is not valid UTF-8.
    """

    root: Path
    files: pl.DataFrame
    other_files: int
    other_bytes: int
    skipped: dict[str, int]
    examples: list[str]
    odd_names: int = 0


def display(name: bytes) -> str:
    r"""Return a key or name for people and for JSON: what is not UTF-8 is shown as \xNN."""
    return name.decode("utf-8", "backslashreplace")


def is_image_name(name: bytes) -> bool:
    """Tell whether the extension is an image's, in any case: IMAGE_EXTENSIONS."""
    _, dot, extension = name.rpartition(b".")
    return bool(dot) and extension.lower() in IMAGE_EXTENSIONS


def scan(root: str | Path) -> Scan:
    """Walk a local directory and return the images in it.

    Symbolic links are followed, to files and to directories; a link to a directory that it lies in is a loop
    and is skipped. FIFOs, sockets and devices are skipped without being opened. The walk holds 24 bytes and
    the key of each image, and Python objects for no more than 50,000 images at a time.

    Raises DatasetError when root is missing, not a directory, empty, without any image, or a URL, and
    tiering.errors.MachineError when root itself may not be read.
    """
    directory = _check_root(root)
    walk = _Walk()
    frames = [pl.DataFrame(batch, schema=SCAN_SCHEMA) for batch in walk.batches(os.fsencode(directory))]
    files = pl.concat(frames).sort("key") if frames else pl.DataFrame(schema=SCAN_SCHEMA)
    if files.is_empty():
        raise _no_images(directory, walk)
    return Scan(
        directory,
        files,
        walk.other_files,
        walk.other_bytes,
        dict(walk.skipped),
        walk.examples,
        walk.odd_names,
    )


def _check_root(root: str | Path) -> Path:
    if "://" in str(root):
        raise DatasetError(
            str(root),
            expected="a directory on this machine",
            found="a URL",
            action="Only local directories are read so far: mount it, or copy it to a disk first.",
        )
    path = Path(root)
    where = display(os.fsencode(path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            where, expected="a directory of images", found="nothing at that path", action="Check the path."
        ) from None
    except OSError as error:
        raise from_os_error(error) from error
    if not stat.S_ISDIR(mode):
        raise DatasetError(
            where,
            expected="a directory of images",
            found=_kind(mode),
            action="Give the directory that holds the class folders.",
        )
    return path


def _no_images(directory: Path, walk: _Walk) -> DatasetError:
    parts = []
    if walk.other_files:
        parts.append(f"{format_count(walk.other_files)} other file{'s' if walk.other_files > 1 else ''}")
    parts += [f"{format_count(count)} {reason}" for reason, count in sorted(walk.skipped.items())]
    return DatasetError(
        display(os.fsencode(directory)),
        expected="image files (jpg, png, tiff, webp, bmp, gif, ppm, jp2)",
        found=f"no image, but {', '.join(parts)}" if parts else "an empty directory",
        action="Give the directory that holds the class folders." if parts else "Check the path.",
    )


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "a file"
    return f"a {_special(mode)}"


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"


@dataclass(frozen=True, slots=True)
class _Place:
    """A directory to walk: path below the root ("" or ending in "/"), device and inode, and parent."""

    prefix: bytes
    identity: tuple[int, int]
    parent: _Place | None = None

    def holds(self, identity: tuple[int, int]) -> bool:
        """Tell whether a directory is this one or lies above it."""
        place: _Place | None = self
        while place is not None and place.identity != identity:
            place = place.parent
        return place is not None


@dataclass(slots=True)
class _Walk:
    other_files: int = 0
    other_bytes: int = 0
    odd_names: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def batches(self, root: bytes) -> Iterator[dict[str, list[object]]]:
        """Yield the columns of the images found, 50,000 rows at a time.

        About 5 us an entry, of which 3.5 us are the system's: a bare scandir and stat.
        """
        keys: list[object] = []
        sizes: list[object] = []
        times: list[object] = []
        pending = [_Place(b"", _identity(os.stat(root)))]  # noqa: PTH116 - bytes paths
        while pending:
            place = pending.pop()
            for name, about in self._entries(root, place, pending):
                if not is_image_name(name):
                    self.other_files += 1
                    self.other_bytes += about.st_size
                    continue
                key = place.prefix + name
                keys.append(key)
                sizes.append(about.st_size)
                times.append(about.st_mtime_ns)
                self.odd_names += not (key.isascii() or _is_utf8(key))
                if len(keys) == BATCH:
                    yield {"key": keys, "size": sizes, "mtime_ns": times}
                    keys, sizes, times = [], [], []
        if keys:
            yield {"key": keys, "size": sizes, "mtime_ns": times}

    def _entries(self, root: bytes, place: _Place, pending: list[_Place]) -> Iterator[tuple[bytes, os.stat_result]]:
        """Yield the regular files of one directory, and put its directories on the list of pending ones."""
        try:
            with os.scandir(os.path.join(root, place.prefix)) as entries:  # noqa: PTH118 - bytes paths
                for entry in entries:
                    if entry.name.startswith(b"."):
                        continue
                    about = self._stat(entry, place)
                    if about is None:
                        continue
                    if stat.S_ISREG(about.st_mode):
                        yield entry.name, about
                    elif stat.S_ISDIR(about.st_mode):
                        self._descend(entry, about, place, pending)
                    else:
                        self._skip(_special(about.st_mode), place.prefix + entry.name)
        except OSError as error:
            if not place.prefix:
                raise from_os_error(error) from error
            self._skip("unreadable directory", place.prefix)

    def _stat(self, entry: os.DirEntry[bytes], place: _Place) -> os.stat_result | None:
        try:
            return entry.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                reason = "symlink loop"
            elif error.errno in (errno.ENOENT, errno.ENOTDIR):
                # What is no link was there a moment ago: somebody else is removing files.
                reason = "broken symlink" if entry.is_symlink() else "vanished file"
            else:
                reason = "unreadable entry"
            self._skip(reason, place.prefix + entry.name)
            return None

    def _descend(self, entry: os.DirEntry[bytes], about: os.stat_result, place: _Place, pending: list[_Place]) -> None:
        # The chain of ancestors decides, not the set of all directories seen: two links to one directory are
        # two folders of the dataset, whichever is walked first. Plain directories are checked too: below a
        # link that leads above the root, they are how the walk comes back.
        identity = _identity(about)
        prefix = place.prefix + entry.name
        if place.holds(identity):
            self._skip("symlink loop", prefix)
        else:
            pending.append(_Place(prefix + b"/", identity, place))

    def _skip(self, reason: str, path: bytes) -> None:
        self.skipped[reason] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{display(path)}: {reason}")


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
