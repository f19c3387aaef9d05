"""Pieces: parts of a batch, read, decoded and transformed on threads."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Final, Literal, cast

import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import TieringError
from tiering.images.image import decode as decode_image
from tiering.serve.batches import NONE_FILLED, Batch
from tiering.serve.faults import Failed, blamed, named
from tiering.serve.field_reads import FieldReads, joined
from tiering.serve.ready_images import Masks, ReadyImages
from tiering.serve.sampling import further_on
from tiering.store.concat import pixel_views
from tiering.store.protocol import Images, Store, Values, shape_of
from tiering.store.sample import Buffer, Sample
from tiering.store.selection import unselected

#: How a loader handles a sample that cannot be decoded or transformed.
OnError = Literal["raise", "skip"]

#: Skipped samples that are logged one by one; all are counted.
_MOST_LOGGED: Final = 10

_log: Final = logging.getLogger("tiering")


@dataclass(frozen=True, slots=True)
class Part:
    """The samples of a piece, before it is made.

    Attributes:
        indices: int64 (n,), the numbers of the samples.
        epoch: The epoch that serves them.
        draws: int64 (n,), which draw of its sample each is.
        slots: Arrays of a batch to write to, samples first.
    """

    indices: IndexArray
    epoch: int
    draws: IndexArray
    slots: Sequence[PixelArray]


@dataclass(frozen=True, slots=True)
class Piece:
    """A finished piece of a batch.

    Attributes:
        images: Its images, as in a Batch; those that were written to slots are not repeated.
        nbytes: Bytes of the images; objects of unknown size count as 0.
        filled: For each position whose sample was skipped, the number of the sample that was served instead.
        fields: Its fields by name, as in a Batch.
    """

    images: Images | list[Any]
    nbytes: int
    filled: dict[int, int] = field(default_factory=dict)
    fields: dict[str, Values] = field(default_factory=dict)


class PieceMaker:
    """Makes pieces of batches.

    With `on_error="skip"`, another sample replaces one that cannot be decoded or transformed, so that every batch keeps
    its size. The replacement depends only on the sample, not on threads, ranks or interruptions.

    Args:
        store: The store to read from.
        transform: As for the Loader.
        on_error: As for the Loader.
        seed: As for the Loader, for the random numbers of transforms.
        decode: Whether to decode encoded images.
        fields: Reads the fields that are served with the images.
        ready: Crops the images, if they are to be cropped.
        read: Reads the samples; by default the store does.
        stand_ins: Yields the samples that may replace a failed one; by default those 1, 2, 4, 8 and so on further in
            the store, which soon leaves a damaged stretch behind.
    """

    def __init__(
        self,
        store: Store,
        transform: Callable[[Sample], Any] | None,
        on_error: OnError,
        *,
        seed: int,
        decode: bool,
        fields: FieldReads,
        ready: ReadyImages | None = None,
        read: Callable[[IndexArray, PixelArray | None], Images] | None = None,
        stand_ins: Callable[[int], Iterator[int]] | None = None,
    ) -> None:
        self._stand_ins = stand_ins or partial(further_on, 0, len(store))
        self._store, self._transform, self._skips, self._seed = store, transform, on_error == "skip", seed
        self._read, self._ready = read or store.read, ready
        self._holds_pixels = shape_of(unselected(store).manifest) is not None
        self._decodes = decode and not self._holds_pixels
        # A crop needs only a part of most pixels, so it takes them from where they are mapped.
        self._views = self._holds_pixels and ready is not None and read is None
        self._logged = 0
        self._fields = fields

    def piece(self, part: Part) -> Piece | Failed:
        """Make a piece. Return errors instead of raising them: an exception would end the epoch.

        Costs 0.1 us a sample on top of reading, decoding and the transform.
        """
        try:
            return self._made(part)
        except Exception as error:  # noqa: BLE001 - raised where the batch is asked for
            return Failed(error)

    def _made(self, part: Part) -> Piece:
        store, indices = self._store, part.indices
        direct = part.slots[0] if part.slots and not self._ready else None
        try:
            views = pixel_views(store, indices) if self._views else None
            images: Images | list[PixelArray] = views or self._read(indices, direct)
        except Exception as error:  # noqa: BLE001 - raised again, with the name of the sample
            raise blamed(store, indices, error)  # noqa: B904 - mostly the same error
        if self._transform is None and not self._decodes and not self._ready:
            return Piece(images, _bytes_of(images), fields=self._fields.read(indices))
        masked = self._fields.cropped
        if self._transform is None and self._ready and self._holds_pixels and not masked:
            pixels = cast("PixelArray | list[PixelArray]", images)
            self._ready.make_all(pixels, indices, part.epoch, part.draws, part.slots)
            return Piece([], sum(slot.nbytes for slot in part.slots), fields=self._fields.read(indices))
        return self._made_one_by_one(part, images)

    def _made_one_by_one(self, part: Part, images: Images | list[PixelArray]) -> Piece:
        """Make a piece of images that were read; with `on_error="skip"`, replace those that fail."""
        finish = self._finisher(part)
        made: list[Any] = []
        masks: list[Masks] = []
        filled: dict[int, int] = {}
        for at, image in enumerate(images):
            try:
                finished = finish(at, image)
            except Exception as error:  # noqa: BLE001 - it may be anything that a transform raises
                fault = named(self._store, int(part.indices[at]), image, error)
                if not self._skips:
                    raise fault from fault.__cause__
                filled[at], finished = self._stand_in(part, at, fault)
            made.append(finished[0])
            masks.append(finished[1])
        size = sum(slot.nbytes for slot in part.slots) or _bytes_of(made)
        served = part.indices.copy()
        served[list(filled)] = list(filled.values())
        fields = self._fields.read(served)
        if self._ready:
            fields |= {name: self._ready.stacked(masks, name) for name in self._fields.cropped}
        return Piece(made, size, filled, fields)

    def _finisher(self, part: Part) -> Callable[[int, Buffer | PixelArray], tuple[Any, Masks]]:
        """Return a function that decodes and transforms the image at a position of a part, or writes it to its slot.

        It also returns the cropped fields of the image.
        """
        ready = self._ready.drawn(part.indices, part.epoch, part.draws) if self._ready else None
        sampled = self._sampled(part) if self._transform else None
        encoded = self._fields.encoded(part.indices)

        def finish(at: int, image: Buffer | PixelArray) -> tuple[Any, Masks]:
            masks: Masks = {}
            if ready:
                own = {name: values[at] for name, values in encoded.items()}
                image, masks = ready.make(at, image, [slot[at] for slot in part.slots], own)
            elif self._decodes:
                image = decode_image(cast("Buffer", image))
            if self._transform and sampled:
                return self._transform(sampled(at, image, masks)), masks
            return image, masks

        return finish

    def _sampled(self, part: Part) -> Callable[[int, Any, Masks], Sample]:
        """Return a function that makes the Sample at a position of a part from its image and its cropped fields."""
        labels, keys = self._store.index.label[part.indices].tolist(), self._store.index.keys(part.indices)
        numbers, draws = part.indices.tolist(), part.draws.tolist()
        fields = self._fields.samples(part.indices)

        def sample(at: int, image: Any, masks: Masks) -> Sample:
            views = {name: mask if mask is None or len(mask) > 1 else mask[0] for name, mask in masks.items()}
            return Sample(
                image, labels[at], os.fsdecode(keys[at]), fields[at] | views,
                numbers[at], part.epoch, self._seed, draws[at],
            )  # fmt: skip

        return sample

    def _stand_in(self, part: Part, at: int, fault: Exception) -> tuple[int, tuple[Any, Masks]]:
        """Return the number of the sample that replaces a failed one, and its finished image with its cropped fields.

        If none of those that may replace it can be served, the sample is not the cause, and the fault is raised.
        """
        draws, slots = part.draws[at : at + 1], [slot[at : at + 1] for slot in part.slots]
        for number in self._stand_ins(int(part.indices[at])):
            other = Part(np.array([number], dtype=np.int64), part.epoch, draws, slots)
            try:
                (image,) = self._store.read(other.indices)
                made = self._finisher(other)(0, image)
            except Exception:  # noqa: BLE001, S112 - it is reported in its own turn
                continue
            self._log_skip(number, fault)
            return number, made
        fault.add_note("None of the samples that were tried in its place could be served either.")
        raise fault from fault.__cause__

    def _log_skip(self, number: int, fault: Exception) -> None:
        self._logged += 1
        if self._logged <= _MOST_LOGGED:
            text = f"{fault.where}: {fault.found}" if isinstance(fault, TieringError) else _with_notes(fault)
            _log.warning("%s. Skipped; sample %s is served in its place.", text, f"{number:,}")
        elif self._logged == _MOST_LOGGED + 1:
            _log.warning("Further skipped samples are only counted: see stats().")


def _bytes_of(images: Images | list[Any]) -> int:
    if isinstance(images, np.ndarray):
        return images.nbytes
    return sum(len(each) if isinstance(each, bytes) else getattr(each, "nbytes", 0) for each in images)


def _with_notes(fault: Exception) -> str:
    return ": ".join([*getattr(fault, "__notes__", []), type(fault).__name__, *([str(fault)] if str(fault) else [])])


def joined_pieces(
    store: Store, indices: IndexArray, images: Images | tuple[PixelArray, ...] | None, pieces: list[Piece | Failed],
    piece: int, collate: Callable[[list[Any]], Any],
) -> Batch | Failed:  # fmt: skip
    """Join the pieces of a batch, or return the first that failed.

    Args:
        store: The store that the samples come from.
        indices: int64 (n,), the samples of the batch.
        images: The arrays that they were written to, if any.
        pieces: The pieces in order.
        piece: Samples in each piece but the last.
        collate: Joins the images of all samples, if they were not written to arrays.
    """
    made: list[Piece] = []
    filled: dict[int, int] = {}
    for each in pieces:
        if isinstance(each, Failed):
            return each
        filled.update({len(made) * piece + at: number for at, number in each.filled.items()})
        made.append(each)
    if filled:
        indices = indices.copy()
        indices[list(filled)] = list(filled.values())
    if images is None:
        try:
            images = collate([*chain.from_iterable(each.images for each in made)])
        except Exception as error:  # noqa: BLE001 - raised where the batch is asked for
            return Failed(error)
    replaced = np.array(list(filled), dtype=np.int64) if filled else NONE_FILLED
    fields = joined([each.fields for each in made])
    return Batch(images, store.index.label[indices], indices, store, replaced, fields)


def stacked(results: list[Any]) -> Any:
    """Return the results of a transform as one array if they are arrays of one shape and type; else the list.

    Tensors of PyTorch are stacked by PyTorch.
    """
    first = results[0]
    kind, shape, numbers = type(first), getattr(first, "shape", None), getattr(first, "dtype", None)
    if shape is None or numbers is None:
        return results
    if any(type(each) is not kind or each.shape != shape or each.dtype != numbers for each in results):
        return results
    if kind is np.ndarray or isinstance(first, np.generic):
        return np.stack(results)
    torch = sys.modules.get("torch")
    return torch.stack(results) if torch and isinstance(first, torch.Tensor) else results
