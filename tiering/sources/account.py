"""The account of a source: every file that a walk meets is either packed, or counted and named as left out.

The walk writes entries into a Ledger, one at a time. An Account is the value at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, BinaryIO, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tiering.errors import DatasetError, FormatError, NotFetchedError, TieringError
from tiering.sources.left_out import (
    DAMAGED,
    ERRORS,
    EXAMPLES,
    KINDS,
    MISSING,
    NOT_FETCHED,
    NOT_PACKED,
    SIDECAR,
    UNREADABLE_FILE,
    LeftOut,
    Tally,
)
from tiering.sources.trees.shared_keys import SharedKeys
from tiering.text import as_field, display, first_few

#: First line of the list of everything that is left out.
HEADER: Final = b"key\tkind\tbytes\treason\n"

Count = Annotated[int, Field(ge=0, le=1 << 53)]


class KindTotals(BaseModel):
    """The files of one kind that are left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Count
    bytes: Count
    examples: list[str] = Field(default=[], max_length=EXAMPLES)


class Account(BaseModel):
    """Everything that a walk over a source met: packed, or left out by kind.

    A directory that the walk does not enter (hidden, unreadable, a circular link) is one entry of no bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    met: Count = Field(description="files, links and unread directories: packed and left out")
    met_bytes: Count = Field(description="their bytes in the source")
    packed: Count
    packed_bytes: Count = Field(description="their bytes in the source")
    left_out: dict[str, KindTotals] = Field(default={}, description="entries by kind, as in tiering.sources.left_out")
    shared_keys: Count = Field(default=0, description="keys that several files share: an image and its mask or caption")
    shared_examples: list[str] = Field(default=[], max_length=10, description="the files of the first few such keys")

    @classmethod
    def of(cls, packed: int, size: int, left_out: LeftOut) -> Account:
        """Close an account. packed, size: number and bytes of the packed samples."""
        kinds = {
            kind: KindTotals(count=tally.count, bytes=tally.size, examples=tally.examples)
            for kind, tally in sorted(left_out.kinds.items(), key=lambda item: (item[0] not in ERRORS, item[0]))
        }
        return cls(
            met=packed + left_out.count(), met_bytes=size + left_out.size(), packed=packed, packed_bytes=size,
            left_out=kinds, shared_keys=left_out.shared.count, shared_examples=left_out.shared.examples,
        )  # fmt: skip

    @field_validator("left_out")
    @classmethod
    def _known(cls, kinds: dict[str, KindTotals]) -> dict[str, KindTotals]:
        if unknown := kinds.keys() - KINDS:
            message = f"no kind is called {min(unknown)!r}"
            raise ValueError(message)
        return kinds

    @model_validator(mode="after")
    def _adds_up(self) -> Account:
        count = self.packed + sum(kind.count for kind in self.left_out.values())
        size = self.packed_bytes + sum(kind.bytes for kind in self.left_out.values())
        if (count, size) != (self.met, self.met_bytes):
            message = f"{self.met:,} files of {self.met_bytes:,} bytes met, {count:,} of {size:,} accounted for"
            raise ValueError(message)
        return self

    @property
    def tallies(self) -> LeftOut:
        """The entries that are left out, as a LeftOut to which more can be added."""
        return LeftOut(
            {name: Tally(kind.count, kind.bytes, list(kind.examples)) for name, kind in self.left_out.items()},
            SharedKeys(self.shared_keys, [[each] for each in self.shared_examples]),
        )

    def count(self, *kinds: str) -> int:
        """Return how many entries of some kinds are left out."""
        return sum(kind.count for name, kind in self.left_out.items() if name in kinds)

    def size(self, *kinds: str) -> int:
        """Return the bytes of the entries of some kinds that are left out."""
        return sum(kind.bytes for name, kind in self.left_out.items() if name in kinds)

    @property
    def failed(self) -> int:
        """How many entries are left out although their owner meant them to be packed."""
        return self.count(*ERRORS)


class Ledger:
    """Records what a walk leaves out, and the keys that several files share.

    lines: an open file that gets a line for each entry; None only counts.
    images_only: True keeps only KEY.jpg of several images that share a key, if it exists; the others, such as masks,
    are left out. False lists such images too, because the source will be refused. None takes them as samples like any
    other.
    """

    def __init__(self, lines: BinaryIO | None = None, *, images_only: bool | None = False) -> None:
        self.left_out = LeftOut()
        self.images_only = images_only
        self._lines = lines
        self._first = b""

    def leave_out(self, kind: str, key: bytes, size: int = 0, reason: str = "") -> None:
        """Count and list one entry. key: its path below the source; a directory's ends in "/". size: bytes."""
        self.left_out.add(kind, key, size, reason)
        if self._lines is not None:
            self._lines.write(line(kind, key, size, reason))

    def share(self, key: bytes, path: bytes, size: int | None = None) -> None:
        """Record a file that may share a key. Files of one key must come one after another.

        size: bytes of an image; None for other files, which have a line of their own.
        """
        number = self.left_out.shared.share(key, path)
        text = b""
        if size is not None and self.images_only is False:
            text = line(SIDECAR, path, size, f"image that shares the key {display(key)}")
        if number == 1:
            self._first = text
        elif self._lines is not None:
            self._lines.write(self._first + text)
            self._first = b""

    def describe(self, path: bytes) -> None:
        """Record a file that describes the images of its directory."""
        self.left_out.shared.describe(path)


class SharedKeysWarning(UserWarning):
    """Files that share a key are served as separate samples, or not at all."""


def shared_keys(where: str, count: int, examples: list[str], listed: str = "") -> DatasetError:
    """Return the error that refuses files that share a key. Its text also serves as a warning.

    listed: the file that lists all of them.
    """
    keys = "1 key" if count == 1 else f"{count:,} keys"
    return DatasetError(
        where,
        expected="an image of its own for every sample",
        found=f"{keys} that several files share ({first_few(examples, len(examples), of=count)})",
        action=(f"All are listed in {listed}. " if listed else "")
        + "Masks, captions and other fields are not packed yet. To pack just the images: `images_only`",
    )


def kind_of(error: TieringError) -> str:
    """Return the kind under which an account counts an image that raised this error."""
    if isinstance(error, NotFetchedError):
        return NOT_FETCHED
    if isinstance(error, FormatError):
        return NOT_PACKED
    # For damage Pillow raises an OSError without a number.
    if isinstance(error.__cause__, OSError) and error.__cause__.errno is not None:
        return MISSING if isinstance(error.__cause__, FileNotFoundError) else UNREADABLE_FILE
    return DAMAGED


def line(kind: str, key: bytes, size: int, reason: str) -> bytes:
    """Return the line of the list for one entry that is left out."""
    return f"{as_field(display(key))}\t{kind}\t{size}\t{as_field(reason)}\n".encode()


def fields(lines: Iterable[bytes]) -> Iterator[tuple[str, str, int, str]]:
    """Yield key, kind, bytes and reason of each entry in a list, with or without its header line.

    Keys stay as written in the list. Lists of tiering up to 0.2 only have keys and reasons, of damaged images.
    """
    for each in lines:
        key, *rest = each.decode().rstrip("\n").split("\t")
        if each == HEADER or (len(rest) == 1 and rest[0] == "reason" and key == "key"):
            continue
        kind, size, reason = rest if len(rest) == 3 else (DAMAGED, "0", *rest)
        yield key, kind, int(size), reason
