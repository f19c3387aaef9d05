"""A dataset as the performance model sees it: how many samples, and of which sizes.

The model needs the whole distribution of sizes, because a device's time for a read is no straight line of its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile

#: Formats that hold plain pixels. They compress well, and decoding them costs next to nothing.
RAW: Final = frozenset({"BMP", "TIFF", "PPM", "PGM", "PNM", "TGA"})


@dataclass(frozen=True, slots=True)
class DatasetSizes:
    """The sizes of a dataset.

    Attributes:
        samples: Number of samples, at least 1.
        bytes: Bytes of all encoded samples, at least 1.
        sizes: Pairs of (share of the samples, bytes). The shares sum to 1 and the mean is bytes / samples. Empty where
            only the mean is known.
        pixels: Pixels of a mean image; 0 where unknown.
        raw: Whether the files hold plain pixels.
        row_bytes: Bytes of a sample decoded to the one shape that training takes; 0 where there is no such shape.

    Raises:
        ValueError: Below 1 sample or byte, or for a negative share, size or number of pixels.
    """

    samples: int
    bytes: int
    sizes: tuple[tuple[float, float], ...] = ()
    pixels: float = 0.0
    raw: bool = False
    row_bytes: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.bytes < 1:
            message = f"dataset sizes: expected at least 1 sample and 1 byte, found {self.samples} and {self.bytes}"
            raise ValueError(message)
        if self.pixels < 0 or self.row_bytes < 0 or any(share < 0 or size < 0 for share, size in self.sizes):
            message = f"dataset sizes: expected shares, sizes and pixels of at least 0, found {self}"
            raise ValueError(message)

    def times(self, count: int) -> DatasetSizes:
        """Return the sizes of this dataset, read this many times."""
        return replace(self, samples=count * self.samples, bytes=count * self.bytes)

    @property
    def mean(self) -> float:
        """Bytes of a mean encoded sample."""
        return self.bytes / self.samples

    @property
    def spread(self) -> tuple[tuple[float, float], ...]:
        """Pairs of (share of the samples, bytes); the mean alone where no more is known."""
        return self.sizes or ((1.0, self.mean),)


def sizes_of(profile: DatasetProfile, resize: tuple[int, int] | None = None) -> DatasetSizes:
    """Return the sizes of a profiled dataset.

    Args:
        profile: The dataset's profile.
        resize: (height, width) to which training brings images. By default the one shape that all images have, if any.

    Raises:
        ValueError: For a profile without images.
    """
    row = 0
    if resize is not None:
        row = resize[0] * resize[1] * 3
    elif profile.distinct_shapes == 1 and profile.shapes:
        row = profile.shapes[0].height * profile.shapes[0].width * 3
    raw = sum(count for name, count in profile.formats.items() if name.upper() in RAW)
    points = sorted((float(share), size) for share, size in profile.size_quantiles.items())
    return DatasetSizes(
        profile.files,
        profile.bytes,
        sizes=spread_of(points, profile.bytes / profile.files) if profile.files else (),
        pixels=profile.pixel_bytes_mean / 3,
        raw=2 * raw > sum(profile.formats.values()),
        row_bytes=row,
    )


def spread_of(quantiles: Sequence[tuple[float, float]], mean: float) -> tuple[tuple[float, float], ...]:
    """Turn quantiles into pairs of (share, bytes), with sizes spread evenly between two quantiles.

    Args:
        quantiles: Pairs of (share of the samples, the bytes that this share does not exceed), rising from 0 to 1.
        mean: Bytes of a mean sample. The result is scaled to have this mean.

    Returns:
        Shares that sum to 1, and bytes. Empty for fewer than two quantiles, or where all sizes are 0.
    """
    pairs = [(high - low, (small + large) / 2) for (low, small), (high, large) in pairwise(quantiles) if high > low]
    total = sum(share * size for share, size in pairs)
    whole = sum(share for share, _ in pairs)
    if total <= 0:
        return ()
    scale = mean * whole / total
    return tuple((share / whole, size * scale) for share, size in pairs)
