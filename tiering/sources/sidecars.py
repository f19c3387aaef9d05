"""Files beside images as fields of samples: 000.mask.png and 000.txt are the fields mask and txt of 000.jpg.

The ending of a file decides the kind of its field, as in WebDataset. A suffix of several parts names the field without
its ending: mask.png is the field mask, so 000.mask.png and 001.mask.tif are one field. If a field of another kind has
that name, the whole suffix is the name: depth_npy.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import polars as pl

from tiering.errors import DatasetError
from tiering.images.formats import IMAGE_EXTENSIONS
from tiering.literals import FieldKind
from tiering.sources.account import Ledger
from tiering.sources.fields import PLACE, FoundField, field_name, place_column
from tiering.text import display

#: Kinds by ending; files with another ending are bytes.
_KINDS: Final[dict[bytes, FieldKind]] = {
    **dict.fromkeys((b"cls", b"cls2", b"index", b"inx", b"id"), "integer"),
    **dict.fromkeys((b"txt", b"text", b"caption", b"transcript"), "string"),
    **dict.fromkeys((b"json", b"jsn"), "json"),
    b"npy": "array",
    **dict.fromkeys(IMAGE_EXTENSIONS, "image"),
}

#: More fields than this come from names that were not meant as fields.
MOST_FIELDS: Final = 64

_LONGEST: Final = 100


class Place(NamedTuple):
    """Where a file beside an image lies.

    suffix: what follows the image's key. key: path below Source.base; in one of several tars it starts with the name of
    the tar. size: bytes. version: changes when the file does. file, offset: as in SOURCE_SCHEMA.
    """

    suffix: bytes
    key: bytes
    size: int
    version: int
    file: int = -1
    offset: int = 0


def suffix_kind(suffix: bytes) -> FieldKind:
    """Return the kind of the field that files with a suffix hold."""
    return _KINDS.get(suffix.rpartition(b".")[2].lower(), "bytes")


class FieldNames:
    """Names fields by the suffixes of their files, and announces each one once.

    ledger: gets the fields.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._of_suffix: dict[bytes, str | None] = {}
        self._kinds: dict[str, FieldKind] = {}

    def name(self, suffix: bytes) -> str | None:
        """Return the field of files with a suffix; None for one that cannot be part of a field's schema.

        Raises DatasetError for more than MOST_FIELDS fields.
        """
        if suffix not in self._of_suffix:
            self._of_suffix[suffix] = self._new(suffix)
        return self._of_suffix[suffix]

    def _new(self, suffix: bytes) -> str | None:
        try:
            text = suffix.decode()
        except UnicodeDecodeError:
            return None
        if not text.isprintable() or not text.strip(" .") or len(suffix) > _LONGEST:
            return None
        kind = suffix_kind(suffix)
        first, *rest = text.lower().split(".")
        parts = rest if rest and first.encode() in IMAGE_EXTENSIONS else [first, *rest]
        whole = field_name("_".join(parts))
        for name in (field_name("_".join(parts[:-1])) if len(parts) > 1 else whole, whole):
            if self._kinds.get(name) == kind:
                return name
            if name not in self._ledger.fields:
                return self._announce(name, kind, text)
        return self._announce(field_name(whole, self._ledger.fields), kind, text)

    def _announce(self, name: str, kind: FieldKind, suffix: str) -> str:
        self._ledger.add_field(FoundField(name, kind, suffix))
        self._kinds[name] = kind
        if len(self._kinds) > MOST_FIELDS:
            raise DatasetError(
                f"files called IMAGE.{display(suffix.encode())}",
                expected=f"at most {MOST_FIELDS} kinds of files beside images",
                found=f"more: {', '.join(list(self._kinds)[:8])}, ...",
                action="Each would be a field of all samples. To pack just the images: `images_only`",
            )
        return name


class FieldPlaces:
    """Collects the files beside the images of one batch, and adds them to its frame.

    ledger: gets the fields, and the count of their files.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._names = FieldNames(ledger)
        self._waiting: dict[str, dict[bytes, Place]] = {}

    def attach(self, image: bytes, places: list[Place]) -> list[Place]:
        """Make files the fields of an image. Returns those that cannot be fields, because of their names.

        image: key of a sample of the batch. Raises DatasetError for two files of one field.
        """
        refused = []
        for place in places:
            name = self._names.name(place.suffix)
            if name is None:
                refused.append(place)
                continue
            of_field = self._waiting.setdefault(name, {})
            if image in of_field:
                raise DatasetError(
                    display(image), expected=f"one file for the field {name}",
                    found=f"two: {display(of_field[image].key)} and {display(place.key)}",
                    action="Remove or rename one of them. To pack just the images: `images_only`",
                )  # fmt: skip
            of_field[image] = place
            self._ledger.left_out.take(place.size)
        return refused

    def onto(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a frame with the columns of the fields collected so far, all of its own samples; forget these."""
        if not self._waiting:
            return frame
        waiting, self._waiting = self._waiting, {}
        keys = frame["key"].to_list()
        columns = []
        for name, of_field in waiting.items():
            found = [of_field.get(key) for key in keys]
            for part, kind in PLACE.items():
                values = [None if place is None else getattr(place, part) for place in found]
                columns.append(pl.Series(place_column(name, part), values, kind))
        return frame.with_columns(columns)
