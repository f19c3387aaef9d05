"""Names of exported files. Before anything is written, all are checked to be valid and different."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.arrays import row_parts
from tiering.errors import StoreError
from tiering.images.encoding import extension_for
from tiering.literals import EncodedFormat
from tiering.storage.names import is_relative
from tiering.store.manifest import Manifest
from tiering.store.protocol import Store, shape_of

#: The most bytes that file systems allow in one part of a path.
_LONGEST_PART: Final = 255
#: How many hashes of directories to collect before removing duplicates.
_WAITING: Final = 1 << 22

_SUSPECTS: Final = 1000

#: Extensions of re-encoded images. Names that end otherwise get the first one.
_ENCODED: Final[dict[EncodedFormat, tuple[bytes, ...]]] = {
    "jpeg": (b".jpg", b".jpeg", b".jpe", b".jfif"), "webp": (b".webp",), "png": (b".png",),
}  # fmt: skip

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Extensions:
    """The extensions that files of a store's samples may have: the first one is added to names without any of them."""

    fitting: tuple[bytes, ...] = (b"",)

    @classmethod
    def of(cls, manifest: Manifest) -> Extensions:
        """Return those of a store. Original files keep their names, whatever these are."""
        shape, settings = shape_of(manifest), manifest.settings
        if shape is not None:
            return cls((extension_for(shape),))
        return cls(_ENCODED[settings.reencoded.format]) if settings and settings.reencoded else cls()


def name_of(key: bytes, extensions: Extensions) -> bytes:
    """Return the name of the file that a sample becomes: its key, with an extension that fits its contents."""
    return key if key.lower().endswith(extensions.fitting) else key + extensions.fitting[0]


def base_of(name: bytes, *, whole: bool) -> bytes:
    """Return what the names of files beside an image start with: its name without the extension, or the whole name."""
    folder, slash, last = name.rpartition(b"/")
    return name if whole else folder + slash + (last.rpartition(b".")[0] or last)


def are_distinct(parts: Iterable[list[bytes]], count: int) -> bool:
    """Return whether names differ, with 8 bytes of memory per name. By chance, it finds distinct ones equal.

    parts: the names in lists. count: of all names.
    """
    taken = np.empty(count, dtype=np.uint64)
    at = 0
    for names in parts:
        taken[at : at + len(names)] = _hashes_of(names)
        at += len(names)
    taken.sort()
    return not bool((taken[1:] == taken[:-1]).any())


def check_names(store: Store, table: str = "") -> None:
    """Make sure that every sample becomes a separate file. Takes 9 bytes of memory per sample, and no Python objects.

    table: the name of a further file, "" for none.
    Raises StoreError for a key that is not a relative path or is too long for a file system, for two samples with one
    name, and for a sample whose name is a directory in the path of another.
    """
    taken = np.empty(len(store) + 1, dtype=np.uint64)
    directories = [np.empty(0, dtype=np.uint64)]
    count = waiting = 0
    for names in names_of(store, table):
        check_each(store, names)
        taken[count : count + len(names)] = _hashes_of(names)
        count += len(names)
        for parents in _above(names):
            directories.append(np.unique(_hashes_of(parents)))
            waiting += len(directories[-1])
            if waiting > _WAITING:
                directories, waiting = [np.unique(np.concatenate(directories))], 0
    if not count:
        return
    taken = taken[:count]
    taken.sort()
    above = np.unique(np.concatenate(directories))
    position = np.minimum(np.searchsorted(taken, above), count - 1)
    # Hashes can be equal by chance, so these are only suspects. One real clash among the first thousand is enough to
    # refuse the store. Files are created exclusively, which finds any other clash.
    suspects = np.concatenate(
        [taken[1:][taken[1:] == taken[:-1]][:_SUSPECTS], above[taken[position] == above][:_SUSPECTS]]
    )
    if len(suspects):
        _compare(store, table, pl.Series(suspects, dtype=pl.UInt64))


def find_twin(parts: Iterable[list[bytes]], name: bytes) -> bytes | None:
    """Return the first other name that differs only in letter case or in how accents are encoded."""
    import unicodedata  # noqa: PLC0415 - only needed for an error on an unusual file system

    def folded(each: bytes) -> str:
        return unicodedata.normalize("NFKC", each.decode("utf-8", "surrogateescape")).casefold()

    wanted = folded(name)
    return next((each for names in parts for each in names if each != name and folded(each) == wanted), None)


def names_of(store: Store, table: str = "") -> Iterator[list[bytes]]:
    """Yield the names of the images' files in batches, and that of a table."""
    extensions = Extensions.of(store.manifest)
    if table:
        yield [table.encode()]
    for rows in row_parts(len(store)):
        yield [name_of(key, extensions) for key in store.index.keys(rows)]


def _above(names: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the parent directories of the names, then the parents of those, and so on, as relative paths."""
    while names := {name.rpartition(b"/")[0] for name in names if b"/" in name}:
        yield list(names)


def _hashes_of(names: list[bytes]) -> Hashes:
    """Return 64 bits for each name."""
    return pl.Series(names, dtype=pl.Binary).hash().to_numpy()


def check_each(store: Store, names: Iterable[bytes]) -> None:
    """Raise StoreError for a name that is no relative path, or too long for a file system."""
    for name in names:
        if not is_relative(name):
            raise StoreError(
                str(store.location), expected="keys that are relative paths", found=os.fsdecode(name)[:100] or "''"
            )
        if len(name) > _LONGEST_PART and max(map(len, name.split(b"/"))) > _LONGEST_PART:
            raise StoreError(
                str(store.location), expected=f"names of at most {_LONGEST_PART} bytes, as file systems require",
                found=os.fsdecode(name),
            )  # fmt: skip


def check_text(store: Store, where: str) -> None:
    """Raise StoreError for a key that is not UTF-8. where: what holds keys as text."""
    for rows in row_parts(len(store)):
        keys = store.index.keys(rows)
        try:
            b"\n".join(keys).decode()
        except UnicodeDecodeError:
            wrong = next(key for key in keys if not _is_text(key))
            raise StoreError(
                str(store.location), expected=f"keys in UTF-8, because {where} holds them as text",
                found=os.fsdecode(wrong),
            ) from None  # fmt: skip


def _is_text(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _compare(store: Store, table: str, suspects: pl.Series) -> None:
    """Compare the names behind suspected hashes, and raise StoreError for two that are equal."""
    seen: set[bytes] = set()
    for names in names_of(store, table):
        for name in _among(names, suspects):
            if name in seen:
                _refuse(store, table, name, name, "one file")
            seen.add(name)
    for names in names_of(store, table):
        for above in (above for parents in _above(names) for above in _among(parents, suspects)):
            if above in seen:
                inside = next(name for name in names if name.startswith(above + b"/"))
                _refuse(store, table, above, inside, "a file and a directory")


def _among(names: list[bytes], suspects: pl.Series) -> list[bytes]:
    series = pl.Series(names, dtype=pl.Binary)
    return series.filter(series.hash().is_in(suspects.implode())).to_list()


def _refuse(store: Store, table: str, one: bytes, other: bytes, what: str) -> NoReturn:
    """Raise StoreError with the keys of the samples that would become one file."""
    extensions = Extensions.of(store.manifest)
    wanted = {one, other}
    keys = [table.encode()] if table and table.encode() in wanted else []
    for rows in row_parts(len(store)):
        keys += [key for key in store.index.keys(rows) if name_of(key, extensions) in wanted]
    raise clash(store, sorted(keys)[:2], what)


def clash(store: Store, keys: list[bytes], what: str) -> StoreError:
    """Return the error for two samples that cannot both become files."""
    shown = " and ".join(os.fsdecode(key) for key in keys)
    return StoreError(
        str(store.location), expected="samples that become files of different names",
        found=f"{shown}, which would be {what}", action="Nothing was written.",
    )  # fmt: skip
