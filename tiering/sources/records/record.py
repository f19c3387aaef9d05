"""Samples of a dataset that another program packed: records, whose images are ranges of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from tiering.sources.fields import FoundField

#: First byte and size in bytes of a value in a file.
Part = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Record:
    """A sample.

    image: None if it has none; lacking then says why. head: the first bytes of the image. values: of fields that are
    kept in frames. parts: of fields that are ranges of the file. name: of the sample in its file, such as an LMDB key;
    "" to number it. split: None for that of its file, "" for none.
    """

    image: Part | None
    head: bytes = b""
    label: str | None = None
    split: str | None = None
    values: dict[str, bytes | None] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    name: str = ""
    lacking: str = "no image"


class RecordFormat(Protocol):
    """An open dataset of one format."""

    @property
    def fields(self) -> Sequence[FoundField]:
        """The fields of its samples."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """The names of its classes in the order of their numbers, if the dataset numbers them."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the user about what is left out."""
        ...

    def records(self, number: int, out: Sink) -> Iterator[Record]:
        """Yield the records of one file. number: of the file. out: takes what must be unpacked."""
        ...


class Sink:
    """Takes the unpacked bytes of a file, and knows how many there were. Without a file it only counts."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file = file
        self.size = 0

    def add(self, data: bytes) -> Part:
        """Write bytes, and return where they are."""
        begin = self.size
        if self._file is not None:
            self._file.write(data)
        self.size += len(data)
        return begin, len(data)
