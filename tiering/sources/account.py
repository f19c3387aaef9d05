"""The account of a source: every file that a walk meets is a sample, a field of one, or left out by name.

The walk writes entries into a Ledger, one at a time. An Account is the value at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, BinaryIO, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tiering.errors import FormatError, NotFetchedError, TieringError
from tiering.images.formats import is_array_name, is_raw_name
from tiering.sources.found_field import FIELD_NAME, RESERVED, FoundField
from tiering.sources.left_out import (
    DAMAGED,
    ERRORS,
    EXAMPLES,
    KINDS,
    LABEL,
    MISSING,
    NOT_AN_IMAGE,
    NOT_FETCHED,
    NOT_PACKED,
    UNREADABLE_FILE,
    LeftOut,
    Tally,
)
from tiering.text import as_field, display

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
    """Everything that a walk over a source met: packed as a sample or a field of one, or left out by kind.

    A directory that the walk does not enter (hidden, unreadable, a circular link) is one entry of no bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    met: Count = Field(description="files, links and unread directories: packed, fields and left out")
    met_bytes: Count = Field(description="their bytes in the source")
    packed: Count = Field(description="samples")
    packed_bytes: Count = Field(description="their bytes in the source")
    field_files: Count = Field(default=0, description="files that are fields of samples: masks, captions")
    field_bytes: Count = Field(default=0, description="their bytes in the source")
    left_out: dict[str, KindTotals] = Field(default={}, description="entries by kind, as in tiering.sources.left_out")
    shared_keys: Count = Field(default=0, description="only in manifests of earlier versions: keys of several files")
    shared_examples: list[str] = Field(default=[], max_length=10, description="the files of the first few such keys")

    @classmethod
    def of(cls, packed: int, size: int, left_out: LeftOut) -> Account:
        """Close an account. packed, size: number and bytes of the packed samples."""
        kinds = {
            kind: KindTotals(count=tally.count, bytes=tally.size, examples=tally.examples)
            for kind, tally in sorted(left_out.kinds.items(), key=lambda item: (item[0] not in ERRORS, item[0]))
        }
        return cls(
            met=packed + left_out.field_files + left_out.count(),
            met_bytes=size + left_out.field_bytes + left_out.size(),
            packed=packed, packed_bytes=size, field_files=left_out.field_files, field_bytes=left_out.field_bytes,
            left_out=kinds,
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
        count = self.packed + self.field_files + sum(kind.count for kind in self.left_out.values())
        size = self.packed_bytes + self.field_bytes + sum(kind.bytes for kind in self.left_out.values())
        if (count, size) != (self.met, self.met_bytes):
            message = f"{self.met:,} files of {self.met_bytes:,} bytes met, {count:,} of {size:,} accounted for"
            raise ValueError(message)
        return self

    @property
    def tallies(self) -> LeftOut:
        """The entries that are no samples, as a LeftOut to which more can be added."""
        return LeftOut(
            {name: Tally(kind.count, kind.bytes, list(kind.examples)) for name, kind in self.left_out.items()},
            self.field_files,
            self.field_bytes,
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
    """Records what a walk leaves out, and the fields that it finds.

    lines: an open file that gets a line for each entry; None only counts.
    images_only: False makes files beside an image its fields. True leaves them out, but takes KEY.png beside KEY.jpg as
    a sample of its own. None takes every image as a sample, as tiering up to 0.2 did, and leaves out other files.
    arrays: Whether .npy files are the samples of a source without any image. Otherwise they are left out.
    raw_bytes: Bytes of a raw array, a .raw or .bin file. Such files are then samples like .npy files. None leaves them
    out.
    """

    def __init__(
        self,
        lines: BinaryIO | None = None,
        *,
        images_only: bool | None = False,
        arrays: bool = False,
        raw_bytes: int | None = None,
    ) -> None:
        self.left_out = LeftOut()
        #: How many files a walk, or records a reader, has met so far. For progress alone, and read from another thread.
        self.met = 0
        self.images_only, self.arrays, self.raw_bytes = images_only, arrays, raw_bytes
        #: The fields that the source has, by name.
        self.fields: dict[str, FoundField] = {}
        #: The names of its classes in the order of their numbers; empty if it does not number them.
        self.classes: tuple[str, ...] = ()
        #: Returns for the key of a file whether it is one of the annotations, which count as label files.
        self.is_label_file: Callable[[bytes], bool] | None = None
        self._lines = lines

    def leave_out(self, kind: str, key: bytes, size: int = 0, reason: str = "") -> None:
        """Count and list one entry. key: its path below the source; a directory's ends in "/". size: bytes."""
        if kind == NOT_AN_IMAGE and self.is_label_file is not None and self.is_label_file(key):
            kind = LABEL
        self.left_out.add(kind, key, size, reason)
        if self._lines is not None:
            self._lines.write(line(kind, key, size, reason))

    def apart(self) -> Ledger:
        """Return an empty ledger under which the same files are samples."""
        return Ledger(images_only=self.images_only, arrays=self.arrays, raw_bytes=self.raw_bytes)

    def may_be_array(self, name: bytes) -> bool:
        """Return whether a file is an array, and so a sample if the source has no image. name: of the file."""
        return self.arrays and (is_array_name(name) or (self.raw_bytes is not None and is_raw_name(name)))

    def is_raw(self, name: bytes, size: int) -> bool:
        """Return whether a file is a raw array, whatever image its first numbers look like. size: bytes."""
        return size == self.raw_bytes and is_raw_name(name)

    def add_field(self, field: FoundField) -> None:
        """Announce a field, before the first frame that has it. Announcing it again changes nothing.

        Raises ValueError for a name that a field may not have, or that another field has.
        """
        if not FIELD_NAME.fullmatch(field.name) or field.name in RESERVED:
            raise ValueError(f"no field can be called {field.name!r}")
        twin = next((name for name in self.fields if name.casefold() == field.name.casefold()), field.name)
        if (known := self.fields.setdefault(twin, field)) != field:
            raise ValueError(f"two fields are called {field.name!r}: {known} and {field}")

    def number_classes(self, names: Sequence[str]) -> None:
        """Announce the names of the classes in the order of their numbers, if the source numbers them."""
        self.classes = tuple(names)


class Beside(Ledger):
    """Records in another ledger what a walk leaves out, except some files.

    known: the keys of these files.
    """

    def __init__(self, ledger: Ledger, known: frozenset[bytes]) -> None:
        super().__init__(images_only=None)
        self._ledger, self._known = ledger, known

    def leave_out(self, kind: str, key: bytes, size: int = 0, reason: str = "") -> None:
        """Record an entry, unless it is one of the files."""
        if key not in self._known:
            self._ledger.leave_out(kind, key, size, reason)


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
