"""Read the members of a tar file from front to back, and resolve links to the members that they name."""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from tiering.errors import DatasetError
from tiering.sources.left_out import SPECIAL, TAR_LINK, unlooked
from tiering.sources.trees.remote import connect, version_of
from tiering.storage.failures import remote_errors
from tiering.text import display

_MAGICS: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}
_BLOCK: Final = 512

#: A listing reads a remote tar from front to back in pieces of this size, and skips larger members.
_PIECE: Final = 8 << 20

#: A longer chain of links to links is treated as a circle.
_LONGEST_CHAIN: Final = 40


class Member(NamedTuple):
    """A file in a tar.

    key: its path. size, offset: its bytes and where they start; for a link, those of the target. changed: modification
    time. kind: why walks ignore it (tiering.sources.left_out), or ""; reason: details.
    """

    key: bytes
    size: int
    offset: int
    changed: float
    kind: str = ""
    reason: str = ""


#: First byte and size of a link's target, or the reason why it has none.
_Target = tuple[int, int] | str


def members(path: str, file: BinaryIO, size: int) -> Iterator[Member]:
    """Yield the members of a tar in their order, except directories.

    path: path or URL of the tar. file: the open tar, which may be moved between two members. size: of the tar, in
    bytes.
    If there are links, two more passes over the headers resolve them.
    Raises DatasetError if it is not a complete tar file, for names that lead out of it, and for sparse files.
    About 25 us per member, nearly all of it in tarfile (one core, headers in the page cache).
    """
    where = display(path)
    targets: dict[bytes, _Target] | None = None
    for key, member in _headers(file, size, where):
        kind = next((kind for part in _marked(key) if (kind := unlooked(part))), "")
        if kind:
            yield Member(key, member.size, member.offset_data, member.mtime, kind)
        elif member.issym() or member.islnk():
            if targets is None:
                targets = _targets(path)
            found = targets.get(key, "it changed during the walk")
            if isinstance(found, str):
                yield Member(key, 0, 0, member.mtime, TAR_LINK, found)
            else:
                yield Member(key, found[1], found[0], member.mtime)
        elif member.isreg():
            yield Member(key, member.size, member.offset_data, member.mtime)
        else:
            yield Member(key, 0, 0, member.mtime, SPECIAL, "FIFO" if member.isfifo() else "device")


def opened(path: str) -> tuple[BinaryIO, int, str]:
    """Open a tar file. Return it with its size in bytes and a text that changes with its version."""
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
        raise DatasetError(display(path), found="there is nothing at that path", action="Check the path.") from None


def compressed(where: str, how: str = "a compressed one") -> DatasetError:
    """Return the error that refuses a compressed tar."""
    return DatasetError(
        where,
        expected="a plain tar file, in which samples can be read at random",
        found=how,
        action="Decompress it first (gunzip, unzstd).",
    )


def _headers(file: BinaryIO, size: int, where: str) -> Iterator[tuple[bytes, tarfile.TarInfo]]:
    """Yield the members of a tar with their keys, without directories."""
    _refuse_compressed(file, where)
    member: tarfile.TarInfo | None = None
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                # TarFile keeps every member for look-ups, which are not needed here.
                tar.members = []  # type: ignore[attr-defined] # unknown to typeshed
                if member.offset_data + member.size > size and member.isreg():
                    raise _cut(where, size, member.name)
                if not member.isdir() and (key := _key_of(member, where)):
                    yield key, member
            end = tar.offset
    except (tarfile.TarError, ValueError, OverflowError) as error:  # the last two from numbers in damaged headers
        raise _no_tar(where, str(error), size) from error
    # TarFile mistakes a damaged header or the end of the file for the end of the archive.
    file.seek(end)
    block = file.read(_BLOCK)
    if len(block) < _BLOCK or size % _BLOCK:
        raise _cut(where, size, "")
    if any(block):
        raise _no_tar(where, f"no valid header at byte {end:,}", size)


def _key_of(member: tarfile.TarInfo, where: str) -> bytes:
    """Return the key of a member, b"" for the root itself."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    shown = display(member.name.encode("utf-8", "surrogateescape"))
    if ".." in parts:
        raise DatasetError(where, expected="names below the tar's own root", found=shown, action="Rename it.")
    key = "/".join(parts).encode("utf-8", "surrogateescape")
    if member.issparse() and not any(unlooked(part) for part in _marked(key)):
        raise DatasetError(
            where, expected="members in one piece", found=f"{shown} with holes", action="Pack it without --sparse."
        )
    return key


def _marked(key: bytes) -> list[bytes]:
    """Return the parts of a key. Those of directories end in "/"."""
    *folders, name = key.split(b"/")
    return [*(folder + b"/" for folder in folders), name]


def _targets(path: str) -> dict[bytes, _Target]:
    """Find the targets of the links in a tar. It keeps nothing about other members."""
    links: dict[bytes, bytes | str] = {}
    for key, member in _again(path):
        if member.issym() or member.islnk():
            links[key] = _named(key, member)
    ends = {key: _end(key, links) for key in links}
    wanted = {end for end in ends.values() if isinstance(end, bytes)}
    found = {key: (member.offset_data, member.size) for key, member in _again(path) if key in wanted and member.isreg()}
    return {
        key: end if isinstance(end, str) else found.get(end, f"it names {display(end)}, but no file has that name")
        for key, end in ends.items()
    }


def _again(path: str) -> Iterator[tuple[bytes, tarfile.TarInfo]]:
    with remote_errors(path):
        file, size, _ = opened(path)
        with file:
            yield from _headers(file, size, display(path))


def _named(key: bytes, member: tarfile.TarInfo) -> bytes | str:
    """Return the key that a link names, or the reason why it names none.

    Hard links are relative to the root of the tar.
    """
    target = member.linkname.encode("utf-8", "surrogateescape")
    base = b"" if member.islnk() else key.rpartition(b"/")[0]
    if member.issym() and target.startswith(b"/"):
        return f"it leads out of the tar, to {display(target)}"
    found = posixpath.normpath(posixpath.join(base, target.lstrip(b"/")))
    return f"it leads out of the tar, to {display(target)}" if found.startswith(b"..") else found


def _end(key: bytes, links: dict[bytes, bytes | str]) -> bytes | str:
    """Follow links until one names something that is not a link."""
    here: bytes | str = key
    for _ in range(_LONGEST_CHAIN):
        if isinstance(here, str) or here not in links:
            return here
        here = links[here]
    return "links that lead to each other"


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


def _no_tar(where: str, reason: str, size: int) -> DatasetError:
    if any(sign in reason for sign in ("end of data", "truncated", "empty header")):
        return _cut(where, size, "")
    return DatasetError(where, expected="a whole tar file", found=reason, action="Copy it again.")
