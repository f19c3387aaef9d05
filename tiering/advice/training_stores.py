"""Stores made for training, as the performance model sees them: other bytes, and other processor times.

Their sizes and costs come from a sample of the images where the profile has one (`reencoded`), and from calibration
where costs were measured. Otherwise typical ones of photographs stand in: 1,000 of ImageNet, 2 cores of AMD EPYC,
2026-11, benchmarks/reencoded_sizes.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tiering.advice.cpu_costs import Costs, Work, pixels_of, typical_costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.job import Job
from tiering.advice.prediction import Setting
from tiering.images.reencoded import Reencoded
from tiering.images.shape import PixelShape
from tiering.images.training_formats import TRAINING_FORMATS
from tiering.literals import Format, TrainingFormat
from tiering.units import format_percent

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.dataset.reencoded_sample import ReencodedFigures

#: Typical bytes of JPEG for each pixel at quality 90, by format. Smaller pictures have more detail in each pixel.
_BYTES_PER_PIXEL: Final = {"jpeg-400": 0.40, "jpeg-256": 0.435}
#: Processor time to decode and crop a JPEG: s, s for each byte, s for each pixel. Only their ratios count.
_FIXED_S, _BYTE_S, _PIXEL_S = 1.36e-4, 6.1e-9, 1.46e-9
#: Processor time to crop 224 x 224 out of pixels, and to encode a pixel; that to decode and resize a whole JPEG, for
#: JPEGs and for pixels, as a share of the time to decode and crop it.
_CROP_S, _ENCODE_S, _WHOLE, _TO_PIXELS = 1.3e-4, 8.8e-9, 1.5, 2.4
#: A store must have this share of the originals' pixels at most: otherwise it is lossy for little.
_MOST_PIXELS: Final = 0.9
#: Width / height of pictures whose shapes are not known.
_ASPECT: Final = 4 / 3
#: Modes of Pillow with 8 bits for each of the colours that a JPEG keeps.
_PLAIN: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})


@dataclass(frozen=True, slots=True)
class TrainingStore:
    """A store made for training.

    Attributes:
        name: Its format.
        data: The dataset as it would be stored.
        setting: What all predictions share, with the costs of this store.
        formats: How the model may keep it.
        low, high: Bytes of the interval that contains data.bytes in 95 of 100 samples.
        figures: What was measured on a sample of the images; None for typical sizes.
        measured: Whether the costs were measured on this machine.
    """

    name: TrainingFormat
    data: DatasetSizes
    setting: Setting
    formats: tuple[Format, ...]
    low: int
    high: int
    figures: ReencodedFigures | None
    measured: bool

    @property
    def decoding(self) -> Work:
        """The work to make an image ready: to decode and crop it, or to crop pixels."""
        costs = self.setting.costs
        return costs.crop if "pixels" in self.formats else costs.decode


@dataclass(frozen=True, slots=True)
class ImageSizes:
    """Bytes and pixels of a mean image, and processor times as shares of decoding and cropping an original."""

    mean: float
    pixels: float
    decode_ratio: float
    make_ratio: float
    low: float
    high: float

    def is_smaller(self, data: DatasetSizes) -> bool:
        """Return whether its pictures have clearly fewer pixels than the originals."""
        return self.pixels <= _MOST_PIXELS * pixels_of(data)


def training_stores(
    profile: DatasetProfile, data: DatasetSizes, job: Job, setting: Setting
) -> tuple[list[TrainingStore], list[str]]:
    """Return the stores made for training that suit a dataset, and a sentence for each reason against others.

    Args:
        profile: The dataset's profile.
        data: Its sizes.
        job: The training.
        setting: What all predictions share, with the costs of the originals.
    """
    reason = next(_unsuitable(profile, job), None)
    if reason is not None:
        return [], [f"Stores made for training: {reason}"]
    found, reasons = [], []
    masks = next((field.name for field in profile.fields if field.kind == "image"), None)
    for name in TRAINING_FORMATS:
        figures = profile.reencoded.get(name)
        shapes = [(shape.width, shape.height, shape.count) for shape in profile.shapes]
        sizes = typical_sizes(name, data, shapes) if figures is None else _measured(figures)
        if not sizes.is_smaller(data):
            reasons.append(f"{name}: the images have hardly more pixels than that.")
        elif "pixels" in name and masks is not None:
            reasons.append(f"{name}: the images of the field {masks} keep their sides, and would no longer fit.")
        elif "pixels" not in name or setting.loading.decode:
            found.append(_store(name, sizes, data, setting, figures))
    return found, reasons


def _unsuitable(profile: DatasetProfile, job: Job) -> Iterator[str]:
    """Yield why no such store may be made."""
    if job.originals == "drop":
        yield "they need the originals, which `originals` drops."
    plain = sum(count for mode, count in profile.modes.items() if mode in _PLAIN)
    if profile.modes and 2 * plain < sum(profile.modes.values()):
        share = format_percent(1 - plain / sum(profile.modes.values()))
        yield f"{share} of the images have more than 8 bits, or other bands than a JPEG keeps."


def _store(
    name: TrainingFormat, sizes: ImageSizes, data: DatasetSizes, setting: Setting, figures: ReencodedFigures | None
) -> TrainingStore:
    pixels = isinstance(TRAINING_FORMATS[name], PixelShape)
    stored = DatasetSizes(
        data.samples,
        max(1, round(data.samples * sizes.mean)),
        pixels=sizes.pixels,
        row_bytes=round(sizes.mean) if pixels else 0,
    )
    return TrainingStore(
        name,
        stored,
        replace(setting, costs=_costs(name, sizes, stored, setting.costs)),
        ("pixels",) if pixels else ("lmdb", "zarr"),
        round(data.samples * sizes.low),
        round(data.samples * sizes.high),
        figures,
        name in setting.costs.training,
    )


def _costs(name: TrainingFormat, sizes: ImageSizes, stored: DatasetSizes, costs: Costs) -> Costs:
    """Return the costs of a store, from those of the originals."""
    own = costs.training.get(name)
    if own is None:
        decode = replace(costs.decode, seconds=costs.decode.seconds * sizes.decode_ratio)
        make_s = costs.decode.seconds * sizes.make_ratio
        view = Work(0.0) if stored.row_bytes else typical_costs(stored).view
    else:
        view, decode, make_s = own.view, own.decode, own.make_s
    if stored.row_bytes:
        return replace(costs, row=view, crop=decode, make_s=make_s, codings={})
    return replace(costs, view=view, decode=decode, make_s=make_s, codings={})


def _measured(figures: ReencodedFigures) -> ImageSizes:
    size = figures.size
    return ImageSizes(size.value, figures.pixels, figures.decode_ratio, figures.make_ratio, size.low, size.high)


def typical_sizes(name: TrainingFormat, data: DatasetSizes, shapes: Sequence[tuple[int, int, int]] = ()) -> ImageSizes:
    """Return what photographs typically become.

    Args:
        name: The format of the store.
        data: The originals.
        shapes: Width and height of originals, and how many have them, where that is known.
    """
    how = TRAINING_FORMATS[name]
    original = _jpeg_s(data.mean, pixels_of(data))
    if isinstance(how, PixelShape):
        size, pixels, decode_s = float(how.nbytes), float(how.height * how.width), _CROP_S
    else:
        pixels = _shrunk(shapes, data, how)
        size = min(data.mean, pixels * _BYTES_PER_PIXEL[name])
        decode_s = _jpeg_s(size, pixels)
    make_s = _TO_PIXELS * original if isinstance(how, PixelShape) else _WHOLE * original + _ENCODE_S * pixels
    return ImageSizes(size, pixels, decode_s / original, make_s / original, size, size)


def _jpeg_s(size: float, pixels: float) -> float:
    return _FIXED_S + _BYTE_S * size + _PIXEL_S * pixels


def _shrunk(shapes: Sequence[tuple[int, int, int]], data: DatasetSizes, how: Reencoded) -> float:
    """Return the pixels of a mean image after it is re-encoded."""
    if not shapes:
        height = (pixels_of(data) / _ASPECT) ** 0.5
        shapes = [(round(height * _ASPECT), round(height), 1)]
    total = sum(count for *_, count in shapes)
    return sum(count * math.prod(how.size(width, height)) for width, height, count in shapes) / total
