"""`Reencoded`: the size, format and quality of re-encoded images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from tiering.errors import UsageError
from tiering.literals import EncodedFormat

_LARGEST_SIDE: Final = 65_535


@dataclass(frozen=True, slots=True)
class Reencoded:
    """How images are re-encoded, to be stored instead of the original files.

    The proportions stay, and images are only ever shrunk.

    Args:
        max_side: The longest side that an image may have, in pixels; None for no limit.
        short_side: The length of the shorter side above which an image is shrunk, in pixels; None for no limit.
        quality: From 1 to 100, as libjpeg and libwebp count. PNG has none: it is lossless.
        format: "jpeg", "webp" (lossy) or "png".

    Raises:
        UsageError: A limit is below 1, both limits are given, or the quality or the format does not exist.

    Example:
        >>> Reencoded(max_side=400).size(500, 375)
        (400, 300)
    """

    max_side: int | None = None
    short_side: int | None = None
    quality: int = 90
    format: EncodedFormat = "jpeg"

    def __post_init__(self) -> None:
        if self.max_side is not None and self.short_side is not None:
            raise UsageError("max_side", rule="takes one limit, this or `short_side`", found="both")
        for name, limit in (("max_side", self.max_side), ("short_side", self.short_side)):
            if limit is not None and not 1 <= limit <= _LARGEST_SIDE:
                raise UsageError(name, rule=f"must be 1 to {_LARGEST_SIDE:,} pixels", found=f"{limit:,}")
        if not 1 <= self.quality <= 100:
            raise UsageError("quality", rule="must be 1 to 100", found=f"{self.quality}")
        if self.format not in get_args(EncodedFormat):
            raise UsageError("format", rule=f"must be {' or '.join(get_args(EncodedFormat))}", found=repr(self.format))

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of an image after it is shrunk, in pixels; those given if it is small enough.

        The side with the limit gets exactly that many pixels, the other is rounded to the nearest, and is at least 1.
        """
        limit = self.max_side or self.short_side
        side = max(width, height) if self.max_side else min(width, height)
        if limit is None or side <= limit:
            return width, height
        return _scaled(width, limit, side), _scaled(height, limit, side)


def _scaled(side: int, limit: int, of: int) -> int:
    return max(1, (2 * side * limit + of) // (2 * of))
