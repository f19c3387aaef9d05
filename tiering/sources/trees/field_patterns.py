"""Patterns that find the field of an image in a tree of files beside the images: masks/{stem}.png.

`{stem}` is the path of the image below the images' directory, without its ending; `{name}` is the last part of that.
`{stem%_left}` leaves out the ending _left, as in a shell; an image whose stem has another ending has no such field. `*`
is one directory, the same for image and field: */masks/{stem}.png finds train/masks/1.png for train/images/1.jpg.

Example: in ADE20K, `annotations/{stem}.png` is the mask of images/training/1.jpg: annotations/training/1.png.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tiering.errors import UsageError
from tiering.images.formats import is_image_name
from tiering.sources.found_field import FIELD_NAME, RESERVED, FoundField
from tiering.sources.labels.folders import IMAGE_FOLDERS
from tiering.sources.left_out import unlooked
from tiering.sources.sidecars import suffix_kind

_PLACEHOLDER: Final = re.compile(r"\{(stem|name)(?:%([^{}/]+))?\}")

#: Directories of images beside those of other files: the common names, and that of Cityscapes.
_FOLDERS: Final = IMAGE_FOLDERS | {b"leftimg8bit"}

#: Returns the names in a directory. Those of directories end in "/".
Names = Callable[[bytes], list[bytes]]


@dataclass(frozen=True, slots=True)
class FieldPattern:
    """Where the files of a field lie.

    field: its name. text: the pattern. before, after: what surrounds the placeholder. whole: whether that is {stem}.
    ending: of stems, which is left out. required: whether it is an error if no image has such a file.
    """

    field: str
    text: str
    before: bytes
    after: bytes
    whole: bool
    ending: bytes = b""
    required: bool = True

    @property
    def found(self) -> FoundField:
        """The field as a source announces it."""
        name = self.text.rpartition("/")[2]
        extension = name.rpartition(".")[2] if "." in name else ""
        suffix = f"{self.field}.{extension}" if extension else self.field
        return FoundField(self.field, suffix_kind(self.after), suffix, f"files {self.text}")

    @property
    def directory(self) -> bytes:
        """The directory of its files, "" or ending in "/", in which * is any directory."""
        return self.before[: self.before.rfind(b"/") + 1]

    @property
    def own_directory(self) -> bytes:
        """The last part of that directory, "" or ending in "/"."""
        return self.directory[self.directory[:-1].rfind(b"/") + 1 :]

    @property
    def top(self) -> bytes:
        """The lowest directory, "" or ending in "/", that holds all its files."""
        fixed = self.directory.partition(b"*")[0]
        return fixed[: fixed.rfind(b"/") + 1]

    def regex(self) -> bytes:
        """Return a regular expression that its files match, and no other."""
        within = b"[^/]+/".join(map(re.escape, self.before.split(b"*/")))
        return within + (b".+" if self.whole else b"[^/]+") + re.escape(self.after)

    def folder_above(self, key: bytes) -> bytes | None:
        """Return the directory above a key in which the pattern expects the field's directory and the images.

        It is "" or ends in "/". None if the key lies elsewhere.
        """
        wanted = self.directory.split(b"/")[:-2]
        *folders, _ = key.split(b"/", len(wanted))
        if len(folders) < len(wanted) or any(map(_differs, wanted, folders)):
            return None
        return b"".join(folder + b"/" for folder in folders)

    def key_of(self, image: bytes, within: Callable[[bytes], bytes]) -> bytes | None:
        """Return the key of an image's field, None if it can have none.

        within: returns the images' directory beside the directory of the field, by the directory that holds both.
        """
        folder = self.folder_above(image)
        if folder is None:
            return None
        images = within(folder) if self.directory else b""
        if not image.startswith(images):
            return None
        name = image[len(images) :].rpartition(b"/")[2]
        stem = image[len(images) : len(image) - len(name)] + (name.rpartition(b".")[0] or name)
        stem = stem if self.whole else stem.rpartition(b"/")[2]
        if not stem.endswith(self.ending):
            return None
        begin = folder + self.own_directory + self.before[len(self.directory) :]
        return begin + stem[: len(stem) - len(self.ending)] + self.after


def parse_patterns(fields: Mapping[str, str]) -> tuple[FieldPattern, ...]:
    """Return the patterns of fields. fields: pattern by name. Raises UsageError."""
    return tuple(_parsed(name, text) for name, text in fields.items())


def images_folder(names: list[bytes], fields: set[bytes]) -> bytes:
    """Return the directory of images among the directories in one: "" for that directory itself.

    It is the one called images (or image, imgs, img, JPEGImages, leftImg8bit). Without it, it is the only one beside
    those of fields, if there is no image in the directory itself.
    names: in the directory; those of directories end in "/". fields: the directories of fields.
    """
    folders = [name for name in names if name.endswith(b"/") and name not in fields and not unlooked(name)]
    named = [name for name in folders if name[:-1].lower() in _FOLDERS]
    if len(named) == 1:
        return named[0]
    return folders[0] if len(folders) == 1 and not any(map(is_image_name, names)) else b""


def _differs(wanted: bytes, folder: bytes) -> bool:
    return wanted not in (b"*", folder)


def _parsed(name: str, text: str) -> FieldPattern:
    if not FIELD_NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(
            "fields", rule="must be a name of letters, digits, - and _, other than image, key, label and split",
            found=name, action="Type, for example: `fields` mask=masks/{stem}.png",
        )  # fmt: skip
    before, *rest = _PLACEHOLDER.split(text)
    directories = before.split("/")[:-1]
    if (
        len(rest) != 3
        or {"{", "}"} & {*before, *rest[2]}
        or not before + rest[2]
        or any(part in ("", ".", "..") for part in directories)
        or any(part in (".", "..") for part in rest[2].split("/"))
        or "*" in rest[2] + before.replace("*/", "") or (directories and directories[-1] == "*")
    ):  # fmt: skip
        raise UsageError(
            "fields", rule="must be a path below the dataset with one {stem} or {name}: masks/{stem}.png", found=text,
            action="Give the directory above images and masks as the dataset.",
        )  # fmt: skip
    kind, ending, after = rest
    return FieldPattern(
        name, text, before.encode("utf-8", "surrogateescape"), after.encode("utf-8", "surrogateescape"),
        kind == "stem", (ending or "").encode("utf-8", "surrogateescape"),
    )  # fmt: skip
