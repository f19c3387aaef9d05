"""The fields of an export: those that become files beside the image, and those that go into a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tiering.errors import StoreError
from tiering.images.formats import HEAD, IMAGE_EXTENSIONS, usual_extension
from tiering.images.npy import npy_document
from tiering.storage.location import Location
from tiering.store.schema import LABEL, Field

#: Kinds that no table of text holds.
_IN_FILES: Final = frozenset({"image", "bytes", "array"})

#: The most bytes in a suffix: the name of a file has at most 255.
_LONGEST: Final = 100


@dataclass(frozen=True, slots=True)
class FileField:
    """A field that becomes files. suffix: of their names; without an extension if the contents decide it."""

    field: Field
    suffix: str
    by_content: bool = False

    def suffix_of(self, data: bytes) -> str:
        """Return the suffix of the file of a value."""
        return f"{self.suffix}.{extension_of_image(data)}" if self.by_content else self.suffix


@dataclass(frozen=True, slots=True)
class ExportedFields:
    """The fields of an export. files: those that become files beside the image. columns: those of a table."""

    files: tuple[FileField, ...]
    columns: tuple[Field, ...]

    @property
    def all(self) -> list[Field]:
        """All of them."""
        return [*(each.field for each in self.files), *self.columns]


def exported_fields(fields: Mapping[str, Field], location: Location, taken: Iterable[str] = ()) -> ExportedFields:
    """Divide the fields of a store into files and columns.

    A field that came from files becomes files with the same suffix. An image, bytes or an array without a suffix gets
    one from its name: mask.png, blob.bin, depth.npy. All else is a column.

    location: of the store. taken: suffixes that are in use already; a number with one of them is a column.
    Raises StoreError for a suffix that cannot be part of a file's name.
    """
    used = {each.casefold() for each in taken}
    files, columns, unnamed = list[FileField](), list[Field](), list[Field]()
    for field in fields.values():
        if field.name == LABEL.name:
            continue
        if field.suffix and not (field.numeric and field.suffix.casefold() in used):
            _check_suffix(field, location)
            used |= {field.suffix.casefold(), field.suffix.casefold().rpartition(".")[0]}
            files.append(FileField(field, field.suffix))
        else:
            (unnamed if field.kind in _IN_FILES else columns).append(field)
    for field in unnamed:
        # A part of digits would belong to the name of the image: 22.05.png.
        stem = f"field_{field.name}" if field.name.isdigit() else field.name
        while stem.casefold() in used:
            stem += "_"
        used.add(stem.casefold())
        if field.kind == "image":
            files.append(FileField(field, stem, by_content=True))
        else:
            files.append(FileField(field, f"{stem}.{'npy' if field.kind == 'array' else 'bin'}"))
    return ExportedFields(tuple(files), tuple(columns))


def _check_suffix(field: Field, location: Location) -> None:
    suffix = field.suffix
    if "/" in suffix or "\0" in suffix or not suffix.strip(".") or len(suffix.encode()) > _LONGEST:
        raise StoreError(
            str(location), expected=f"a suffix of the field {field.name} that can end the name of a file",
            found=repr(suffix)[:_LONGEST],
        )  # fmt: skip


def extension_of_image(data: bytes) -> str:
    """Return the extension for an image by its first bytes, "bin" if they are unknown."""
    extension = usual_extension(bytes(data[:HEAD]))
    return extension if extension is not None and extension.encode() in IMAGE_EXTENSIONS else "bin"


def file_of(field: Field, value: Any) -> bytes:
    """Return the contents of the file of a value: its bytes, the text of a number, a vector as a .npy document."""
    if not field.numeric:
        return bytes(value)
    if field.kind != "vector":
        return repr(value.item()).encode()
    return npy_document(value)
