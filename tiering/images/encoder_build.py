"""The software that re-encodes images, with versions: equal builds make equal bytes."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata
from typing import Final

from PIL import features

from tiering.images.picture import NATIVE
from tiering.literals import EncodedFormat

#: Changes whenever `reencode` makes other bytes of the same image.
_VERSION: Final = 1

#: Packages and libraries whose version may change the bytes.
_PACKAGES: Final = ("simplejpeg", "pillow", "pillow-heif", "pillow-jxl-plugin")
_LIBRARIES: Final[dict[EncodedFormat, tuple[str, ...]]] = {"jpeg": (), "webp": ("webp",), "png": ("zlib", "zlib_ng")}


@cache
def encoder_build(kind: EncodedFormat) -> str:
    """Return the software that decides the bytes which `reencode` makes of an image, with versions, in one line."""
    versions = [f"tiering-{_VERSION}"]
    for name in _PACKAGES:
        try:
            versions.append(f"{name}-{metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    versions += [f"{name}-{features.version(name)}" for name in ("littlecms2", *_LIBRARIES[kind])]
    return " ".join([*versions, "native" if NATIVE else "wheels", platform.machine()])
