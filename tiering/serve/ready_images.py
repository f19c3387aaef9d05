"""ReadyImages: crops the images of batches into arrays, with random numbers that belong to each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np

from tiering.arrays import AnyArray, FloatArray, IndexArray, PixelArray
from tiering.errors import UsageError
from tiering.images.crop import Crop
from tiering.images.geometry import Geometry
from tiering.images.picture import open_picture, picture_of
from tiering.images.pixel_batch import draw_batch
from tiering.philox import SampleNumbers
from tiering.serve.buffers import Buffers
from tiering.serve.cropped_fields import Placement, cropped, stacked_masks
from tiering.store.sample import Buffer
from tiering.store.settings import StoredPixels

#: Where the views of an image come from, crop by crop.
Placements = list[Placement]

#: Cropped image fields of a sample, by name.
Masks = dict[str, AnyArray | None]

#: Encoded images become this many channels.
_COLOURS: Final = 3


class ReadyImages:
    """What the images of a loader become.

    Args:
        wanted: One or several descriptions of images.
        pixels: The pixels of the store; None if it holds encoded images.
        seed: Seed of the random numbers.

    Raises:
        UsageError: A description has numbers for other channels than those of the images, or asks for levels of pixels
            that have none.
        DatasetError: The pixels of the store are too few.
    """

    def __init__(self, wanted: Crop | Sequence[Crop], pixels: StoredPixels | None, seed: int) -> None:
        self._single = isinstance(wanted, Crop)
        self._wanted = (wanted,) if isinstance(wanted, Crop) else tuple(wanted)
        self._channels, self._seed, self._pixels = pixels.channels if pixels else _COLOURS, seed, pixels
        self._looks = [each.look(self._channels) for each in self._wanted]
        self._count = sum(each.views * (1 + each.numbers) for each in self._wanted)
        if pixels:
            for each in self._wanted:
                each.geometry(pixels.width, pixels.height, [0.5] * each.numbers)  # raises for too few pixels
                _check_type(each, pixels)

    @property
    def nbytes(self) -> int:
        """Bytes of a sample."""
        return sum(slot.nbytes for slot in self.empty())

    @property
    def channels_last(self) -> bool | tuple[bool, ...]:
        """Whether the last axis of the images has the channels; for each description, if there are several."""
        last = tuple(each.layout == "NHWC" for each in self._wanted)
        return last[0] if self._single else last

    def buffers(self, samples: int, batches: int) -> list[Buffers]:
        """Return the memory for the arrays of batches, as Buffers take these arguments."""
        return [
            Buffers(samples, each.shape(self._channels), np.dtype(each.dtype), batches, _axis(each.views))
            for each in self._wanted
        ]

    def slots(self, arrays: Sequence[PixelArray], begin: int, end: int) -> list[PixelArray]:
        """Return the parts of a batch's arrays for some of its samples, (n, views, *shape) each."""
        return [
            np.moveaxis(array, 0, 1)[begin:end] if each.views > 1 else array[begin:end, None]
            for each, array in zip(self._wanted, arrays, strict=True)
        ]

    def together(self, arrays: Sequence[PixelArray]) -> PixelArray | tuple[PixelArray, ...]:
        """Return the images of a batch: one array, or one for each description."""
        return arrays[0] if self._single else tuple(arrays)

    def drawn(self, indices: IndexArray, epoch: int, draws: IndexArray) -> DrawnImages:
        """Draw the random numbers of some samples.

        Args:
            indices: int64 (n,), the samples.
            epoch: The epoch that serves them.
            draws: int64 (n,), which draw of its sample each is.
        """
        return DrawnImages(self, self._numbers(indices, epoch, draws).tolist())

    def masks(self, values: Mapping[str, Buffer | None], placements: Placements) -> Masks:
        """Crop the image fields of one sample as its image was cropped.

        Args:
            values: Encoded images by the name of their field; None where the sample has none.
            placements: Where the views of its image come from.

        Returns:
            (views, height, width) each, with channels last if there are several; None as in `values`.

        Raises:
            DatasetError: One cannot be decoded, or has other sides than the image.
        """
        (crop, *_) = self._wanted
        return {
            name: None if value is None else cropped(name, value, placements, crop, self._pixels)
            for name, value in values.items()
        }

    def stacked(self, masks: Sequence[Masks], name: str) -> AnyArray:
        """Return a field of several samples as a batch has it: (n, height, width), or (n, views, ...) for several."""
        (crop, *_) = self._wanted
        found = stacked_masks([each[name] for each in masks], (crop.views, *crop.sides))
        return found if crop.views > 1 else found[:, 0]

    def make_all(
        self,
        pixels: PixelArray | list[PixelArray],
        indices: IndexArray,
        epoch: int,
        draws: IndexArray,
        slots: Sequence[PixelArray],
    ) -> None:
        """Make pictures of one size ready, all in one call.

        Args:
            pixels: (n, height, width, channels), or a list of n pictures.
            indices, epoch, draws: As for `drawn`.
            slots: Where to write them: an array (n, views, *shape) for each description.
        """
        numbers, at = self._numbers(indices, epoch, draws), 0
        height, width = pixels[0].shape[:2]
        for wanted, look, slot in zip(self._wanted, self._looks, slots, strict=True):
            for view in range(wanted.views):
                out = slot[:, view].transpose(0, 2, 3, 1) if wanted.layout == "NCHW" else slot[:, view]
                geometries = wanted.geometries(width, height, numbers[:, at + 1 : at + 1 + wanted.numbers])
                draw_batch(pixels, geometries, numbers[:, at] < wanted.flip, out, look)
                at += 1 + wanted.numbers

    def _numbers(self, indices: IndexArray, epoch: int, draws: IndexArray) -> FloatArray:
        return SampleNumbers(self._seed, epoch).at(indices, draws, self._count)

    def make(self, image: Buffer | PixelArray, numbers: Sequence[float], slots: Sequence[PixelArray]) -> Placements:
        """Make one image ready.

        Args:
            image: Encoded, or pixels (height, width, channels).
            numbers: Random numbers of its sample.
            slots: Where to write it: an array (views, *shape) for each description.

        Returns:
            Where its views come from.

        Raises:
            DatasetError: The image cannot be decoded, or is too small.
        """
        picture = picture_of(image) if isinstance(image, np.ndarray) else open_picture(image)
        unused = iter(numbers)
        found: list[Placement] = []
        for wanted, look, slot in zip(self._wanted, self._looks, slots, strict=True):
            parts: list[tuple[Geometry, PixelArray]] = []
            for view in slot:
                mirrored = next(unused) < wanted.flip
                geometry = wanted.geometry(picture.width, picture.height, list(islice(unused, wanted.numbers)))
                out = view.transpose(1, 2, 0) if wanted.layout == "NCHW" else view
                parts.append((geometry, out[:, ::-1] if mirrored else out))
                found.append(Placement(picture.width, picture.height, geometry, mirrored))
            picture.draw(parts, look)
        return found

    def of_sample(self, slots: Sequence[PixelArray]) -> PixelArray | tuple[PixelArray, ...]:
        """Return the images of one sample as a transform gets them: an axis of views only if there are several."""
        return self.together([slot if len(slot) > 1 else slot[0] for slot in slots])

    def empty(self) -> list[PixelArray]:
        """Return new arrays for one sample, (views, *shape) each."""
        return [np.empty((each.views, *each.shape(self._channels)), each.dtype) for each in self._wanted]


def _axis(views: int) -> int | None:
    return views if views > 1 else None


def _check_type(crop: Crop, pixels: StoredPixels) -> None:
    if pixels.dtype == "float32" and crop.dtype == "uint8":
        raise UsageError(
            f"{type(crop).__name__}: dtype", expected="float32 or float16 for a store of float32 pixels",
            found="uint8, whose white is 255", action='Add dtype="float32", with `mean` and `std` if needed.',
        )  # fmt: skip


class DrawnImages:
    """Samples of a piece of a batch with their random numbers."""

    def __init__(self, ready: ReadyImages, numbers: list[list[float]]) -> None:
        self._ready, self._numbers = ready, numbers

    def make(
        self, at: int, image: Buffer | PixelArray, slots: Sequence[PixelArray], fields: Mapping[str, Buffer | None]
    ) -> tuple[Any, Masks]:
        """Make the image of the sample at a position ready, with its image fields.

        Args:
            at: The position in the piece.
            image: Encoded, or pixels (height, width, channels).
            slots: Where to write it, (views, *shape) each; by default new arrays.
            fields: The encoded values of its image fields.

        Returns:
            The image, as one array, or one for each description; and its cropped fields.
        """
        slots = slots or self._ready.empty()
        placements = self._ready.make(image, self._numbers[at], slots)
        return self._ready.of_sample(slots), self._ready.masks(fields, placements)
