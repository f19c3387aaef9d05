"""Images in tar files, laid out as WebDataset does: the members of a sample share their name up to its first dot."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import polars as pl

from tiering.dataset.duplicates import Duplicates
from tiering.dataset.labels import SPLITS
from tiering.dataset.remote import connect, hash63, version_of
from tiering.dataset.walk import BATCH, display, is_image_name
from tiering.errors import DatasetError
from tiering.storage.failures import remote_errors
from tiering.storage.urls import name_of

_COMPRESSED: Final = re.compile(r"\.(tar\.\w+|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
_MAGICS: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}
_BLOCK: Final = 512
_LABEL_BYTES: Final = 4096

#: A listing reads a remote tar from front to back in pieces of this size, and skips what is larger.
_PIECE: Final = 8 << 20

#: An image in a tar: its key, size, version, label, split, number of the file, and offset.
Row = tuple[bytes, int, int, str | None, str | None, int, int]


def is_tar_name(name: str) -> bool:
    """Tell whether a name is a plain tar file's."""
    return name.lower().endswith(".tar")


def is_compressed_name(name: str) -> bool:
    """Tell whether a name is a compressed tar file's, in which nothing can be read at random."""
    return _COMPRESSED.search(name) is not None


def compressed(where: str, how: str = "a compressed one") -> DatasetError:
    """Return the error that refuses a compressed tar."""
    return DatasetError(
        where,
        expected="a plain tar file, in which samples can be read at random",
        found=how,
        action="Decompress it first (gunzip, unzstd).",
    )


def split_of(name: str) -> str | None:
    """Return the split that a tar file's name begins with: train-0000.tar belongs to train."""
    first = re.match("[a-z]+", name.lower())
    return first.group() if first and first.group() in SPLITS else None


def tar_batches(files: tuple[str, ...], schema: dict[str, Any]) -> Iterator[pl.DataFrame]:
    """Yield the images in tar files in the order they lie there, up to 50,000 rows at a time.

    files: paths or URLs. schema: the columns, of a Row.
    Raises DatasetError for what is no whole tar file, a name that occurs twice in one, members of a sample that lie
    apart, and where there is no image at all; MachineError where a file cannot be read.
    About 25 us a member, nearly all of it tarfile's (one core, headers in the page cache).
    """
    rows = (row for number, path in enumerate(files) for row in _images(path, number, alone=len(files) == 1))
    empty = True
    while batch := list(islice(rows, BATCH)):
        empty = False
        yield pl.DataFrame(batch, schema=schema, orient="row")
    if empty:
        where = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1:,} more"
        raise DatasetError(where, expected="images in the tar file", found="none", action="Check the path.")


def _images(path: str, number: int, *, alone: bool) -> Iterator[Row]:
    """Yield the images of one tar file and check that they are all that it holds, and whole."""
    name = name_of(path)
    prefix = b"" if alone else os.fsencode(name[: -len(".tar")]) + b"/"
    split = split_of(name)
    seen = Duplicates()
    lost_label = lost_image = b""
    samples = _samples(path)
    while batch := list(islice(samples, BATCH)):
        for sample in batch:
            for key, size, version, offset in sample.images:
                yield prefix + key, size, version, sample.label_of(key), split, number, offset
            if not sample.labels and sample.images:
                lost_image = lost_image or sample.images[0][0]
            elif sample.labels and not sample.images:
                lost_label = lost_label or next(iter(sample.labels))
            elif unused := sample.unused():
                raise DatasetError(
                    display(os.fsencode(path)),
                    expected="labels of images whose names are the same up to the first dot, as WebDataset has them",
                    found=f"{display(unused)}.cls, which is the label of no image",
                    action="Name the image and its label alike.",
                )
        seen.add(_keys(batch))
    if lost_label and lost_image:
        raise DatasetError(
            display(os.fsencode(path)),
            expected="the members of a sample one after another",
            found=f"a label without an image ({display(lost_label)}.cls) and an image without a label "
            f"({display(lost_image)})",
            action="Pack it again in order of name: tar --sort=name.",
        )
    twice = seen.first(lambda: (_keys([sample]) for sample in _samples(path)))
    if twice is not None:
        raise DatasetError(
            display(os.fsencode(path)),
            expected="members with different names",
            found=f"{display(twice)} twice",
            action="Remove one of the two.",
        )


@dataclass(slots=True)
class _Sample:
    """Neighbouring members of one WebDataset key, which is their name up to its first dot.

    images: key, size, version and offset of each. labels: by the name of the `.cls` member without this ending: the key
    itself (1.jpg and 1.cls), or of names with more dots that of one image (22.05.jpg and 22.05.cls).
    """

    stem: bytes
    images: list[tuple[bytes, int, int, int]] = field(default_factory=list)
    labels: dict[bytes, str | None] = field(default_factory=dict)

    def label_of(self, image: bytes) -> str | None:
        """Return the label of an image: that of its own name, or of the sample."""
        return self.labels.get(image.rpartition(b".")[0], self.labels.get(self.stem))

    def unused(self) -> bytes:
        """Return a label that is of no image, b"" if there is none."""
        used = {self.stem, *(key.rpartition(b".")[0] for key, *_ in self.images)} if self.labels else set()
        return next((name for name in self.labels if name not in used), b"")


def _keys(samples: list[_Sample]) -> pl.Series:
    return pl.Series([key for sample in samples for key, *_ in sample.images], dtype=pl.Binary)


def _samples(path: str) -> Iterator[_Sample]:
    sample = _Sample(b"")
    # Whatever goes wrong below is the file system's, local or not.
    with remote_errors(path):
        file, size, version = _open(path)
        with file:
            for key, member in _members(file, size, display(os.fsencode(path))):
                folder, slash, name = key.rpartition(b"/")
                stem = folder + slash + name.partition(b".")[0]
                if stem != sample.stem:
                    yield sample
                    sample = _Sample(stem)
                if is_image_name(name):
                    changed = hash63(f"{version} {member.mtime}")
                    sample.images.append((key, member.size, changed, member.offset_data))
                elif name.lower().endswith(b".cls"):
                    file.seek(member.offset_data)
                    text = file.read(min(member.size, _LABEL_BYTES))
                    sample.labels[key[: -len(".cls")]] = display(text).strip() or None
    yield sample


def _members(file: BinaryIO, size: int, where: str) -> Iterator[tuple[bytes, tarfile.TarInfo]]:
    """Yield the regular files in a tar with their keys: no links, devices or hidden ones."""
    _refuse_compressed(file, where)
    member: tarfile.TarInfo | None = None
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                # TarFile remembers every member, for look-ups that nobody makes here.
                tar.members = []  # type: ignore[attr-defined] # unknown to typeshed
                if member.offset_data + member.size > size and member.isreg():
                    raise _cut(where, size, member.name)
                key = _key_of(member, where)
                if key is not None:
                    yield key, member
            end = tar.offset
    except (tarfile.TarError, ValueError, OverflowError) as error:  # the last two from numbers in damaged headers
        raise _no_tar(where, str(error), size) from error
    # TarFile takes a damaged header, and the end of the file, for the end of the archive.
    file.seek(end)
    block = file.read(_BLOCK)
    if len(block) < _BLOCK or size % _BLOCK:
        raise _cut(where, size, "")
    if any(block):
        raise _no_tar(where, f"no valid header at byte {end:,}", size)


def _key_of(member: tarfile.TarInfo, where: str) -> bytes | None:
    """Return the key of a member, or None when it is left out."""
    if not member.isreg():
        return None
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    shown = display(member.name.encode("utf-8", "surrogateescape"))
    if ".." in parts:
        raise DatasetError(where, expected="names below the tar's own root", found=shown, action="Rename it.")
    if not parts or any(part.startswith(".") for part in parts):
        return None
    if member.issparse():
        raise DatasetError(
            where, expected="members in one piece", found=f"{shown} with holes", action="Pack it without --sparse."
        )
    return "/".join(parts).encode("utf-8", "surrogateescape")


def _open(path: str) -> tuple[BinaryIO, int, str]:
    """Open a tar file; return it with its size in bytes and what tells its version."""
    try:
        if "://" not in path:
            file = Path(path).open("rb")  # noqa: SIM115 - the caller closes it
            about = os.fstat(file.fileno())
            return file, about.st_size, str(about.st_mtime_ns)
        system, inner = connect(path)
        info = system.info(inner)
        remote = system.open(inner, "rb", block_size=_PIECE, cache_type="readahead")
        return cast("BinaryIO", remote), int(info["size"]), str(version_of(info))
    except FileNotFoundError:
        raise DatasetError(
            display(os.fsencode(path)), expected="a tar file", found="nothing at that path", action="Check the path."
        ) from None


def _refuse_compressed(file: BinaryIO, where: str) -> None:
    head = file.read(8)
    file.seek(0)
    for magic, name in _MAGICS.items():
        if head.startswith(magic):
            raise compressed(where, f"one compressed by {name}")


def _cut(where: str, size: int, member: str) -> DatasetError:
    inside = f", inside {display(member.encode('utf-8', 'surrogateescape'))}" if member else ", without an end mark"
    return DatasetError(
        where,
        expected="a whole tar file",
        found=f"a truncated one: it ends at byte {size:,}{inside}",
        action="Copy it again.",
    )


def _no_tar(where: str, said: str, size: int) -> DatasetError:
    if any(sign in said for sign in ("end of data", "truncated", "empty header")):
        return _cut(where, size, "")
    return DatasetError(where, expected="a whole tar file", found=said, action="Copy it again.")
