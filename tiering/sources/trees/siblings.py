"""Find files of one directory that belong to one sample: an image, its mask, its caption.

Files belong to an image KEY.jpg if their names continue its key: KEY.txt, KEY.png, KEY.mask.png. The rest of the
name is the suffix of a sidecar. Of several images called KEY.EXTENSION, one is the sample, and the others are its
sidecars: jpg comes first, then jpeg, webp and png, then the other formats in alphabetical order.

Parts of digits belong to the name of an image, so 22.jpg and 22.05.jpg are two samples, and 22.05.txt belongs to the
second. So are photo.jpg and photo.jpg.png, where one name starts with another complete name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain, groupby, islice, repeat
from typing import Final, NamedTuple

from tiering.images.formats import extension_of, is_image_name

#: Formats of the image among several of one key, the first one first. Arrays are images only where there are no others.
PREFERRED: Final = (b"jpg", b"jpeg", b"webp", b"png", b"npy")

#: Tables that describe the images of their directory, in Hugging Face's ImageFolder.
DESCRIPTIONS: Final = (b"metadata.csv", b"metadata.jsonl", b"metadata.parquet")

#: How many names are processed at once.
TOGETHER: Final = 5000


class Sidecar(NamedTuple):
    """A file beside an image. name: of the file. suffix: what follows the image's key, such as mask.png."""

    name: bytes
    suffix: bytes


class Sidecars(NamedTuple):
    """What an image has beside it. key: the name of the image without its extension. files: sorted by name."""

    key: bytes
    files: tuple[Sidecar, ...]


class Beside(NamedTuple):
    """What a sidecar is beside. image: name of the image. key: that name without its extension."""

    image: bytes
    key: bytes

    def suffix(self, name: bytes) -> bytes:
        """Return what follows the key in the name of the sidecar."""
        return name[len(self.key) + 1 :]


#: What a file is to others of its directory; None for a file of its own.
Role = Sidecars | Beside | None


def with_roles(names: Iterable[bytes]) -> Iterator[tuple[bytes, Role]]:
    """Yield each name with its role.

    names: of one directory, sorted bytewise; those of directories end in "/".
    Floor: 0.2 us per name of a file of its own, since many names are checked at once.
    """
    return chain.from_iterable(zip(part, repeat(None)) if roles is None else roles for part, roles in by_parts(names))


def by_parts(names: Iterable[bytes]) -> Iterator[tuple[list[bytes], Iterable[tuple[bytes, Role]] | None]]:
    """Yield names in parts, and with them what with_roles yields for each; None if all are files of their own."""
    rest = iter(names)
    part: list[bytes] = []
    while more := list(islice(rest, TOGETHER)):
        part += more
        # Names that may belong together are neighbours, so the last ones wait for the next part.
        last, end = first_part(part[-1]), len(part)
        if first_part(part[0]) == last:
            continue
        while first_part(part[end - 1]) == last:
            end -= 1
        yield part[:end], _roles(part[:end])
        part = part[end:]
    yield part, _roles(part)


def _roles(names: list[bytes]) -> Iterable[tuple[bytes, Role]] | None:
    if len({name.partition(b".")[0] for name in names}) == len(names):
        return None
    return _grouped(names)


def _grouped(names: list[bytes]) -> Iterator[tuple[bytes, Role]]:
    for _, group in groupby(names, key=first_part):
        members = list(group)
        if len(members) == 1:
            yield members[0], None
        else:
            roles = roles_of(members, [name for name in members if is_image_name(name)])
            yield from ((name, roles.get(name)) for name in members)


def roles_of(names: Iterable[bytes], images: Collection[bytes]) -> dict[bytes, Role]:
    """Return the roles of files whose names are the same up to the first dot. Files of their own may be missing.

    names: those of directories end in "/", and have no role. images: those of images.
    """
    files = {name for name in names if not name.endswith(b"/")}
    found: dict[bytes, bytes] = {}
    for name in sorted(files.intersection(images), key=_preference):
        found.setdefault(name.rpartition(b".")[0], name)
    beside: dict[bytes, list[Sidecar]] = {}
    roles: dict[bytes, Role] = {}
    for name in sorted(files):
        key = _key_of(name, found, files, is_image=name in images)
        if key is not None and found[key] != name:
            beside.setdefault(key, []).append(Sidecar(name, name[len(key) + 1 :]))
            roles[name] = Beside(found[key], key)
    for key, sidecars in beside.items():
        roles[found[key]] = Sidecars(key, tuple(sidecars))
    return roles


def numbered(name: bytes) -> bytes:
    """Return a name up to its first dot and the digits that follow: 22.05 of 22.05.jpg and 22.05.mask.png."""
    parts = name.split(b".")
    end = 1
    while end < len(parts) - 1 and parts[end].isdigit():
        end += 1
    return b".".join(parts[:end])


def is_plain(name: bytes, key: bytes) -> bool:
    """Return whether a name is its key and an extension: KEY.jpg, not KEY.mask.png."""
    return name.rpartition(b".")[0] == key


def _preference(name: bytes) -> tuple[int, bytes]:
    extension = extension_of(name)
    return (PREFERRED.index(extension) if extension in PREFERRED else len(PREFERRED)), name


def first_part(name: bytes) -> bytes:
    """Return a name up to its first dot. Files that belong together have the same one."""
    return name.partition(b".")[0] or name


def _key_of(name: bytes, images: Collection[bytes], files: set[bytes], *, is_image: bool) -> bytes | None:
    """Return the shortest key of an image that a name continues; None if there is none. images: the keys of images."""
    parts = name.split(b".")
    for end in range(1, len(parts)):
        key = b".".join(parts[:end])
        if key not in images or any(part.isdigit() or not part for part in parts[end:-1]):
            continue
        if is_image and any(b".".join(parts[:at]) in files for at in range(2, len(parts))):
            continue
        return key
    return None
