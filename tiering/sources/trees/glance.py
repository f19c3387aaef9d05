"""List a directory quickly for a sampled profile: all names, sizes if they are free, and the start of a few files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from tiering.errors import from_os_error
from tiering.images.formats import is_image_name, needs_a_look
from tiering.sources.left_out import BY_CONTENT, EXAMPLES, NOT_AN_IMAGE, NOT_PACKED, PACKED, SIDECAR, LeftOut, Tally
from tiering.sources.trees.contents import look_at
from tiering.sources.trees.local import CHUNK, Directory, Identity, entered, refused
from tiering.sources.trees.remote_folder import FOLDER, IMAGE, OPEN, Entry, RemoteFolder
from tiering.sources.trees.siblings import Beside, with_roles
from tiering.text import display

#: How many files without an image's name are inspected per directory. They represent the others.
_LOOKED_AT: Final = 32


@dataclass(slots=True)
class DirectoryContents:
    """The contents of one directory.

    count: image files, by name. images: the names of all, or of a random sample. sizes: their bytes if the listing has
    them, else None. folders: for each directory, its name, its likely amount of contents (in any unit; only ratios
    count), and whether it is known to contain no directory. left_out: all other entries, extrapolated from a few files;
    images recognised only by content have the kind BY_CONTENT.
    """

    count: int = 0
    images: list[bytes] = field(default_factory=list)
    sizes: list[int] | None = None
    folders: list[tuple[bytes, float, bool]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


class NameSample:
    """A simple random sample of names that arrive in parts, in their order, with their sizes."""

    def __init__(self, keep: int, random: np.random.Generator) -> None:
        self.count = 0
        self._keep, self._random, self._limit = keep, random, 1.0
        self._rows: list[tuple[float, bytes, int]] = []

    def add(self, names: Sequence[bytes], sizes: Sequence[int] | None = None) -> None:
        """Add names, and their sizes if known."""
        self.count += len(names)
        numbers = self._random.random(len(names)).tolist()
        rows = zip(numbers, names, sizes or [0] * len(names), strict=True)
        self._rows += [row for row in rows if row[0] < self._limit]
        if len(self._rows) > 2 * self._keep + CHUNK:
            self._thin()

    def names(self) -> list[bytes]:
        """Return the names of the sample."""
        self._thin()
        return [name for _, name, _ in self._rows]

    def sizes(self) -> list[int]:
        """Return the sizes of the sample."""
        self._thin()
        return [size for _, _, size in self._rows]

    def _thin(self) -> None:
        if len(self._rows) > self._keep:
            self._limit = sorted(number for number, _, _ in self._rows)[self._keep]
            self._rows = [row for row in self._rows if row[0] < self._limit]


class _Looked(NamedTuple):
    """One of the inspected files without an image's name: its kind by name and by content, with the reason."""

    name: bytes
    size: int
    named: str
    kind: str
    reason: str


def glance(root: bytes, prefix: bytes, keep: int, random: np.random.Generator) -> DirectoryContents:
    """List a local directory, at about 1 us per entry. keep: how many images to keep by name, drawn at random.

    Common file systems give a directory a size that grows with its number of entries, and one link for each directory
    in it. So the amount of its contents can be estimated, and most directories without subdirectories need not be
    listed.
    Raises MachineError if the root cannot be read.
    """
    found = DirectoryContents()
    try:
        with entered(root, prefix, _chain(root, prefix)) as directory:
            if isinstance(directory, Directory):
                _fill(found, directory, prefix, keep, random)
            else:
                found.left_out.add(directory[0], prefix, reason=directory[1])
    except OSError as error:
        if not prefix:
            raise from_os_error(error) from error
        kind, reason = refused(error)
        found = DirectoryContents()
        found.left_out.add(kind, prefix, reason=reason)
    return found


def _chain(root: bytes, prefix: bytes) -> tuple[Identity, ...]:
    """Return the directories that lead to one, as a walk would have recorded them."""
    parts = prefix.split(b"/")[:-1]
    above = [b"/".join(parts[:depth]) for depth in range(len(parts))]
    found = (os.stat(os.path.join(root, path)) for path in above)  # noqa: PTH116, PTH118 - bytes paths
    return tuple((about.st_dev, about.st_ino) for about in found)


def _fill(
    found: DirectoryContents, directory: Directory, prefix: bytes, keep: int, random: np.random.Generator
) -> None:
    kept = NameSample(keep, random)
    others: list[bytes] = []
    folders: list[bytes] = []
    endings: set[bytes] = set()
    for files in directory.files(prefix, found.left_out, folders):
        names = [os.fsencode(entry.name) for entry in files]
        images = list(filter(is_image_name, names))
        if len(images) < len(names):
            others += [name for name in names if not is_image_name(name)]
        kept.add(images)
        endings |= {name.partition(b".")[2] for name in images} if len(endings) < 2 else set()
    # Names with a single extension and one dot each have nothing beside them.
    roles = dict(with_roles(sorted(directory.names()))) if others or len(endings) > 1 else {}
    beside = {name: role for name, role in roles.items() if isinstance(role, Beside)}
    if beside:
        others = [name for name in others if name not in beside or needs_a_look(name)]
        kept = NameSample(keep, random)
        for files in directory.files(prefix, LeftOut(), []):
            names = [os.fsencode(entry.name) for entry in files]
            kept.add([name for name in names if is_image_name(name) and name not in beside])
        _count_beside(found, directory, beside, random)
    found.count, found.images = kept.count, kept.names()
    if others:
        _look_at_few(found, directory, prefix, others, beside, random)
    for name in folders:
        try:
            about = os.stat(name, dir_fd=directory.handle)
        except OSError as error:
            kind, reason = refused(error)
            found.left_out.add(kind, prefix + name, reason=reason)
        else:
            found.folders.append((name[:-1], float(about.st_size), about.st_nlink == 2))


def _count_beside(
    found: DirectoryContents, directory: Directory, beside: Mapping[bytes, Beside], random: np.random.Generator
) -> None:
    """Count the files beside images as fields. The sizes of a few represent those of all."""
    sure = [name for name in beside if not needs_a_look(name)]
    for name in sure:
        found.left_out.take(0, beside[name].suffix(name).lower())
    few = [sure[at] for at in random.permutation(len(sure))[:_LOOKED_AT].tolist()]
    found.left_out.field_bytes += sum(_size(name, directory) for name in few) * len(sure) // max(1, len(few))


def _size(name: bytes, directory: Directory) -> int:
    try:
        return os.stat(name, dir_fd=directory.handle).st_size
    except OSError:
        return 0


def _look_at_few(
    found: DirectoryContents,
    directory: Directory,
    prefix: bytes,
    others: list[bytes],
    beside: Mapping[bytes, Beside],
    random: np.random.Generator,
) -> None:
    named = Counter(SIDECAR if name in beside else NOT_AN_IMAGE for name in others)
    looked = []
    for name in (others[at] for at in random.permutation(len(others))[:_LOOKED_AT].tolist()):
        by_name = SIDECAR if name in beside else NOT_AN_IMAGE
        kind, reason = look_at(name, name, directory.handle)
        if kind == NOT_AN_IMAGE or (kind == NOT_PACKED and by_name == SIDECAR):
            kind = by_name
        looked.append(_Looked(name, _size(name, directory), by_name, kind or BY_CONTENT, reason))
    mean = sum(each.size for each in looked) // len(looked)
    _stand_for(found, prefix, {kind: (count, mean * count) for kind, count in named.items()}, looked)


def glance_remote(folder: RemoteFolder, keep: int, random: np.random.Generator) -> DirectoryContents:
    """List a remote directory as glance does. The contents of its directories are unknown before they are listed.

    Raises MachineError if the server does not answer.
    """
    found, prefix = DirectoryContents(), folder.key
    images = NameSample(keep, random)
    few = {kind: NameSample(_LOOKED_AT, random) for kind in (NOT_AN_IMAGE, SIDECAR)}
    bytes_: Counter[str] = Counter()
    untold = False
    for part in folder.parts():
        for entry in part:
            name, size, _, role, kind, reason = entry
            if kind == PACKED:
                return DirectoryContents(left_out=LeftOut({PACKED: Tally(1, 0, [display(prefix)])}))
            if kind == FOLDER:
                found.folders.append((name[:-1], 1.0, False))
            elif entry.is_beside and isinstance(role, Beside):
                found.left_out.take(size or 0, role.suffix(name).lower())
            elif kind not in (IMAGE, OPEN):
                found.left_out.add(kind, prefix + name, size or 0, reason)
        by_name = [entry for entry in part if entry.kind == IMAGE and not entry.is_beside]
        images.add([entry.name for entry in by_name], [entry.size or 0 for entry in by_name])
        untold = untold or any(entry.size is None for entry in by_name)
        for kind, kept in few.items():
            unsure = [
                entry for entry in part if entry.kind == OPEN and isinstance(entry.role, Beside) == (kind == SIDECAR)
            ]
            kept.add([entry.name for entry in unsure], [entry.size or 0 for entry in unsure])
            bytes_[kind] += sum(entry.size or 0 for entry in unsure)
    found.count, found.images = images.count, images.names()
    found.sizes = None if untold else images.sizes()
    for named, kept in few.items():
        chosen = zip(kept.names(), kept.sizes(), strict=True)
        settled = folder.look_at([Entry(name, size, 0, None, OPEN) for name, size in chosen])
        same = (NOT_AN_IMAGE, NOT_PACKED) if named == SIDECAR else (NOT_AN_IMAGE,)
        looked = [
            _Looked(each.name, each.size or 0, named, named if each.kind in same else each.kind or BY_CONTENT,
                    each.reason)
            for each in settled
        ]  # fmt: skip
        _stand_for(found, prefix, {named: (kept.count, bytes_[named])}, looked)
    return found


def _stand_for(
    found: DirectoryContents, prefix: bytes, named: dict[str, tuple[int, int]], looked: Sequence[_Looked]
) -> None:
    """Count the files without an image's name: the inspected ones represent all whose name is similar.

    named: number and bytes of all of them, by the kind that their names suggest.
    """
    for kind, (count, size) in named.items():
        here = [each for each in looked if each.named == kind]
        left, left_size = count, size
        for other in sorted({each.kind for each in here} - {kind}):
            of_kind = [each for each in here if each.kind == other]
            share = round(count * len(of_kind) / len(here))
            bytes_ = round(sum(each.size for each in of_kind) * count / len(here))
            _add(found, other, share, bytes_, prefix, of_kind)
            left, left_size = left - share, max(left_size - bytes_, 0)
        _add(found, kind, left, left_size, prefix, [each for each in here if each.kind == kind])


def _add(found: DirectoryContents, kind: str, count: int, size: int, prefix: bytes, examples: list[_Looked]) -> None:
    if kind == SIDECAR:
        found.left_out.field_files += count
        found.left_out.field_bytes += size
    elif count:
        named = [
            f"{display(prefix + each.name)} ({each.reason})" if each.reason else display(prefix + each.name)
            for each in examples[:EXAMPLES]
        ]
        found.left_out.merge(LeftOut({kind: Tally(count, size, named)}))
