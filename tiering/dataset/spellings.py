"""How people name the columns of a table: "Image Path", image_id and FileName are all columns of paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

#: Names of each column, in any case and without blanks, dots, hyphens and underscores; the first that is there counts.
SPELLINGS: Final = {
    "path": (
        *("path", "filepath", "imagepath", "imgpath", "file", "filename", "imagefile", "imagefilename", "imagename"),
        *("imgname", "imgfile", "fname", "image", "img", "images", "key", "imageid", "imgid", "relpath"),
    ),
    "label": (
        *("label", "labels", "class", "classes", "classid", "classlabel", "classname", "labelid", "labelname"),
        *("target", "targets", "category", "categories", "categoryid", "categoryname"),
    ),
    "split": ("split", "subset", "fold", "partition"),
}

_LEFT_AWAY: Final = re.compile(r"[\s_.\-]+")


def plain(name: str) -> str:
    """Return a column's name as SPELLINGS has it."""
    return _LEFT_AWAY.sub("", name.strip().strip('\ufeff"').lower())


def is_path_column(name: str) -> bool:
    """Tell whether a column has the name of one of paths."""
    return plain(name) in SPELLINGS["path"]


def recognised(names: Sequence[str]) -> dict[str, int]:
    """Return the place of each column that is known by its name: path, label and split, where they are."""
    places = {plain(name): place for place, name in reversed(list(enumerate(names)))}
    return {
        wanted: places[next(name for name in spellings if name in places)]
        for wanted, spellings in SPELLINGS.items()
        if places.keys() & set(spellings)
    }
