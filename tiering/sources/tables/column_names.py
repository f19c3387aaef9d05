"""Recognise columns by their names: "Image Path", image_id and FileName are all columns of paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

#: Names of each column in lower case, without blanks, dots, hyphens and underscores. The first match counts.
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
    """Return a column's name in the spelling of SPELLINGS."""
    return _LEFT_AWAY.sub("", name.strip().strip('\ufeff"').lower())


def recognised(names: Sequence[str]) -> dict[str, int]:
    """Return the positions of the columns path, label and split, as far as their names are known."""
    positions = {plain(name): position for position, name in reversed(list(enumerate(names)))}
    return {
        wanted: positions[next(name for name in spellings if name in positions)]
        for wanted, spellings in SPELLINGS.items()
        if positions.keys() & set(spellings)
    }
