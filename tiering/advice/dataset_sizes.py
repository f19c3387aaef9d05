"""Data: a dataset as the performance model sees it, with the distribution of its sizes and not their mean alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile

#: Formats that hold pixels as they are, and therefore compress and cost no decoding to speak of.
RAW: Final = frozenset({"BMP", "TIFF", "PPM", "PGM", "PNM", "TGA"})


@dataclass(frozen=True, slots=True)
class Data:
    """A dataset: how many samples, how many bytes in all, and of which sizes.

    sizes: (share of the samples, B), whose shares sum to 1 and whose mean is bytes / samples; empty where only the mean
    is known. pixels: of a mean image, 0 where nobody knows. raw: its files hold pixels as they are. row_bytes: of a
    sample as training takes it, decoded to one shape; 0 where there is no such shape.
    Raises ValueError below 1 sample or byte, and for impossible shares, sizes and pixels.
    """

    samples: int
    bytes: int
    sizes: tuple[tuple[float, float], ...] = ()
    pixels: float = 0.0
    raw: bool = False
    row_bytes: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.bytes < 1:
            message = f"data: expected at least 1 sample and 1 byte, found {self.samples} and {self.bytes}"
            raise ValueError(message)
        if self.pixels < 0 or self.row_bytes < 0 or any(share < 0 or size < 0 for share, size in self.sizes):
            message = f"data: expected shares, sizes and pixels of at least 0, found {self}"
            raise ValueError(message)

    @property
    def mean(self) -> float:
        """B of a mean sample."""
        return self.bytes / self.samples

    @property
    def spread(self) -> tuple[tuple[float, float], ...]:
        """(share of the samples, B) of each size; the mean alone where no more is known."""
        return self.sizes or ((1.0, self.mean),)


def data_of(profile: DatasetProfile, resize: tuple[int, int] | None = None) -> Data:
    """Return a profiled dataset as the model sees it.

    resize: (height, width) that training brings images to; by default the one shape that all of them have, if so.
    Raises ValueError for a profile without images.
    """
    pixels = profile.pixel_bytes_mean / 3
    row = 0
    if resize is not None:
        row = resize[0] * resize[1] * 3
    elif profile.distinct_shapes == 1 and profile.shapes:
        row = profile.shapes[0].height * profile.shapes[0].width * 3
    raw = sum(count for name, count in profile.formats.items() if name.upper() in RAW)
    points = sorted((float(share), size) for share, size in profile.size_quantiles.items())
    return Data(
        profile.files,
        profile.bytes,
        sizes=spread_of(points, profile.bytes / profile.files) if profile.files else (),
        pixels=pixels,
        raw=2 * raw > sum(profile.formats.values()),
        row_bytes=row,
    )


def spread_of(quantiles: Sequence[tuple[float, float]], mean: float) -> tuple[tuple[float, float], ...]:
    """Turn quantiles into (share, B), taking sizes to lie evenly between two of them.

    quantiles: (share at most so large, B) in rising order, from 0 to 1; mean: B, of all samples, which the result has.
    Returns nothing for fewer than two quantiles or where they tell no sizes.
    """
    pairs = [(high - low, (small + large) / 2) for (low, small), (high, large) in pairwise(quantiles) if high > low]
    total = sum(share * size for share, size in pairs)
    whole = sum(share for share, _ in pairs)
    if total <= 0:
        return ()
    scale = mean * whole / total
    return tuple((share / whole, size * scale) for share, size in pairs)
