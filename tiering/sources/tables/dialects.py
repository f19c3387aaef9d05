"""Find out how a text table is written: its encoding, its separator, and whether it has a header.

Tables come from spreadsheets, databases and shell scripts, so the first line decides. A separator fits if it splits the
line into names of which one is a column of paths. In a table without a header, one field must be the name of an image.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tiering.errors import DatasetError, UsageError
from tiering.images.formats import is_image_name
from tiering.sources.tables.column_names import SPELLINGS, recognised
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory

#: How many bytes to look at.
HEAD: Final = 1 << 16

#: One or more blanks separate the fields in lists of Caffe and ImageNet: "n01440764/1.JPEG 0".
BLANKS: Final = " "
_SEPARATORS: Final = (",", "\t", ";", "|")

_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text table is written.

    separator: one character, or BLANKS. header: whether the first line names the columns. names: of the columns;
    without a header, the fields of the first line. spaced: whether a blank follows each separator. chosen: positions of
    the columns path, label and split, as far as they exist.
    """

    separator: str
    header: bool
    names: tuple[str, ...]
    spaced: bool
    chosen: Mapping[str, int]


def dialect_of(head: str, columns: Mapping[str, str], where: str) -> Dialect:
    """Find out how a table is written.

    head: its beginning. columns: the columns of path, label and split, by name or by number from 0, if the user chose
    them. where: the name of the table in errors. Raises DatasetError if no column of paths can be identified,
    UsageError for chosen columns that do not exist.
    """
    lines = [line for line in head.lstrip("\ufeff").splitlines() if line.strip()]
    if not lines:
        raise DatasetError(where, expected="rows", found="an empty table", action="Check the file.")
    candidates = [_Candidate.of(lines[0], separator) for separator in (*_SEPARATORS, BLANKS)]
    numbered = all(value.isdigit() for value in columns.values())
    if columns and not numbered:
        found = _widest([each for each in candidates if set(columns.values()) <= set(each.names)] or candidates[:-1])
        return found.dialect(header=True, chosen=choose(found.names, columns, where))
    headed = [found for found in candidates if found.is_header]
    if columns:
        found = _widest(headed or candidates)
        chosen = choose(found.names, columns, where)
        return found.dialect(header=bool(headed) or _is_above_images(found, lines, chosen), chosen=chosen)
    if headed:
        found = _widest(headed)
        return found.dialect(header=True, chosen=recognised(found.names))
    headless = [found for found in candidates if _names_image(found)]
    if not headless:
        raise no_paths(where, _widest(candidates[:-1]).names)
    found = _widest(headless)
    return found.dialect(header=False, chosen=_guessed(found.names, where))


def choose(names: list[str], columns: Mapping[str, str], where: str) -> dict[str, int]:
    """Return the positions of columns named by name or by number from 0. Raises UsageError for unknown ones."""
    positions: dict[str, int] = {}
    for wanted, column in columns.items():
        if column in names:
            positions[wanted] = names.index(column)
        elif column.isdigit() and int(column) < len(names):
            positions[wanted] = int(column)
        else:
            raise UsageError(
                "columns",
                rule=f"must be a column of {where}: {', '.join(names)}, or a number from 0 to {len(names) - 1}",
                found=column, action="Name it as the first line does.",
            )  # fmt: skip
    return positions


def no_paths(where: str, names: list[str]) -> DatasetError:
    """Return the error for a table without a column of paths."""
    return DatasetError(
        where,
        expected=f"a column of paths named {', '.join(SPELLINGS['path'][:9])} or the like",
        found=f"the columns {', '.join(names)}",
        action="Say which it is: `columns` path=NAME,label=NAME; without a header by number, from 0: "
        "`columns` path=0,label=1",
    )


@contextmanager
def as_utf8(path: Path) -> Iterator[Path]:
    """Yield the path of a text file in UTF-8: the file itself, or a copy if it is in UTF-16 or UTF-32."""
    with path.open("rb") as file:
        encoding = _encoding(file.read(HEAD))
    if encoding is None:
        yield path
        return
    with scratch_directory() as directory:
        copy = Location.of(directory) / f"table{path.suffix}"
        decoder = codecs.getincrementaldecoder(encoding)()
        with path.open("rb") as file, copy.creating() as out:
            try:
                while piece := file.read(_PIECE):
                    out.write(decoder.decode(piece).encode())
                out.write(decoder.decode(b"", final=True).encode())
            except UnicodeError as error:
                raise DatasetError(
                    str(path), expected="a table in UTF-8 or UTF-16", found=str(error), action="Check the file."
                ) from error
        yield directory / copy.name


def is_list(head: bytes) -> bool:
    """Return whether a text file lists images: its first line names an image, or a column of paths."""
    text = head.decode(_encoding(head) or "utf-8", "replace").lstrip("\ufeff")
    first = next((line for line in text.splitlines() if line.strip()), "")
    found = [_Candidate.of(first, separator) for separator in (*_SEPARATORS, BLANKS)]
    return "\0" not in first and any((each.is_header and len(each.names) > 1) or _names_image(each) for each in found)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The first line, split by one of the separators."""

    separator: str
    names: list[str]
    spaced: bool = False

    @classmethod
    def of(cls, line: str, separator: str) -> _Candidate:
        if separator == BLANKS:
            words = re.split(r"[ \t]+", line.strip())
            # The name of an image may hold blanks itself: "my cats/2.jpg 3".
            named = len(words) > 2 and _is_image(words[-2]) and not _is_image(words[-1])
            return cls(separator, [" ".join(words[:-1]), words[-1]] if named else words)
        fields = next(csv.reader([line], delimiter=separator), [""])
        spaced = len(fields) > 1 and all(name.startswith(" ") for name in fields[1:])
        return cls(separator, [name.strip() for name in fields], spaced)

    @property
    def is_header(self) -> bool:
        """Whether it names a column of paths. Between blanks every word must be known, since it may be a sentence."""
        known = recognised(self.names)
        return "path" in known and (self.separator != BLANKS or 1 < len(self.names) == len(known))

    def dialect(self, *, header: bool, chosen: Mapping[str, int]) -> Dialect:
        return Dialect(self.separator, header, tuple(self.names), self.spaced, chosen)


def _names_image(found: _Candidate) -> bool:
    return any(map(_is_image, found.names))


def _widest(candidates: list[_Candidate]) -> _Candidate:
    """Return the candidate with the most fields. Blanks are the last choice, because file names may contain them."""
    others = [found for found in candidates if found.separator != BLANKS and len(found.names) > 1]
    return max(others or reversed(candidates), key=lambda found: len(found.names))


def _is_above_images(found: _Candidate, lines: list[str], chosen: Mapping[str, int]) -> bool:
    """Return whether the first line is a header in unknown words: only the second line names an image."""
    if len(lines) < 2 or "path" not in chosen or _is_image(found.names[chosen["path"]]):
        return False
    below = _Candidate.of(lines[1], found.separator).names
    return len(below) > chosen["path"] and _is_image(below[chosen["path"]])


def _guessed(fields: list[str], where: str) -> dict[str, int]:
    """Return the columns of a table without a header, if its first line leaves no doubt."""
    paths = [position for position, name in enumerate(fields) if _is_image(name)]
    others = [position for position in range(len(fields)) if position not in paths]
    # A field before the path is a row number as often as a class (images.txt of CUB-200), so it does not count as one.
    if len(paths) > 1 or len(others) > 1 or others == [0]:
        raise DatasetError(
            where,
            expected="a first line that names the columns, or two columns, a path and then a label",
            found=f"{len(fields)} columns without names ({', '.join(fields[:6])})",
            action="Say which are which, counted from 0: `columns` path=0,label=1",
        )
    return {"path": paths[0]} | ({"label": others[0]} if others else {})


def _is_image(name: str) -> bool:
    return is_image_name(name.strip().encode("utf-8", "surrogateescape"))


def _encoding(head: bytes) -> str | None:
    """Return the encoding if it is UTF-16 or UTF-32, by its mark or its zero bytes; None for anything else."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    some = head[:200]
    if len(some) > 3 and not any(some[1::2]):
        return "utf-16-le"
    return "utf-16-be" if len(some) > 3 and not any(some[0::2]) else None
