"""The stores made for training that advice offers: re-encoded images, and pixels with room to crop."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from tiering.images.reencoded import Reencoded
from tiering.images.shape import PixelShape
from tiering.literals import TrainingFormat

#: How an image of each format is made, the gentlest first.
TRAINING_FORMATS: Final = MappingProxyType[TrainingFormat, Reencoded | PixelShape](
    {
        "jpeg-400": Reencoded(max_side=400, quality=90),
        "jpeg-256": Reencoded(max_side=256, quality=90),
        "pixels-256": PixelShape(256, 256, 3),
    }
)


def flags_of(name: TrainingFormat) -> list[str]:
    """Return the flags with which `tiering convert` makes a store of this format, without its container.

    Example:
        >>> flags_of("jpeg-400")
        ['--max-side', '400', '--quality', '90']
    """
    how = TRAINING_FORMATS[name]
    if isinstance(how, PixelShape):
        return ["--resize", f"{how.height}x{how.width}", "--codec", "none"]
    return ["--max-side", str(how.max_side), "--quality", str(how.quality)]
