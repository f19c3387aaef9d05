"""Pieces: parts of a batch, read, decoded and transformed on threads."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import TieringError
from tiering.images.image import decode as decode_image
from tiering.serve.faults import Failed, blamed, named
from tiering.store.protocol import Buffer, Images, Sample, Store, shape_of

#: How a loader handles a sample that cannot be decoded or transformed.
OnError = Literal["raise", "skip"]

#: Skipped samples that are logged one by one; all are counted.
_MOST_LOGGED: Final = 10

_log: Final = logging.getLogger("tiering")


@dataclass(frozen=True, slots=True)
class Piece:
    """A finished piece of a batch.

    Attributes:
        images: Its images, as in a Batch.
        filled: For each position whose sample was skipped, the number of the sample that was served instead.
    """

    images: Images | list[Any]
    filled: dict[int, int] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of the images; objects of unknown size count as 0."""
        if isinstance(self.images, np.ndarray):
            return self.images.nbytes
        return sum(len(each) if isinstance(each, bytes) else getattr(each, "nbytes", 0) for each in self.images)


class PieceMaker:
    """Makes pieces of batches.

    With `on_error="skip"`, another sample replaces one that cannot be decoded or transformed, so that every batch keeps
    its size. The replacement depends only on the sample, not on threads, ranks or interruptions.

    Args:
        store: The store to read from.
        transform: As for the Loader.
        on_error: As for the Loader.
        decode: Whether to decode encoded images.
    """

    def __init__(
        self, store: Store, transform: Callable[[Sample], Any] | None, on_error: OnError, *, decode: bool
    ) -> None:
        self._store, self._transform, self._skips = store, transform, on_error == "skip"
        self._decodes = decode and shape_of(store.manifest) is None
        self._logged = 0

    def piece(self, indices: IndexArray, out: PixelArray | None) -> Piece | Failed:
        """Make a piece. Return errors instead of raising them: an exception would end the epoch.

        Costs 0.1 us a sample on top of reading, decoding and the transform.

        Args:
            indices: int64 (n,), the samples.
            out: As for Store.read.
        """
        try:
            return self._made(indices, out)
        except Exception as error:  # noqa: BLE001 - raised where the batch is asked for
            return Failed(error)

    def _made(self, indices: IndexArray, out: PixelArray | None) -> Piece:
        store, decodes, transform = self._store, self._decodes, self._transform
        try:
            images: Images | list[Any] = store.read(indices, out)
        except Exception as error:  # noqa: BLE001 - raised again, with the name of the sample
            raise blamed(store, indices, error)  # noqa: B904 - mostly the same error
        if not decodes and transform is None:
            return Piece(images)
        labels, keys = store.index.label[indices].tolist(), store.index.keys(indices)
        made: list[Any] = []
        filled: dict[int, int] = {}
        for image, label, key in zip(images, labels, keys, strict=True):
            try:
                pixels = decode_image(image) if decodes else image
                made.append(transform(Sample(pixels, label, os.fsdecode(key))) if transform else pixels)
            except Exception as error:  # noqa: BLE001 - it may be anything that a transform raises
                index = int(indices[len(made)])
                fault = named(store, index, image, error)
                if not self._skips:
                    raise fault from fault.__cause__
                filled[len(made)], stand_in = self._stand_in(index, fault)
                made.append(stand_in)
        return Piece(made, filled)

    def _stand_in(self, index: int, fault: Exception) -> tuple[int, Any]:
        """Return the number of the sample that replaces a failed one, and its decoded or transformed image.

        It tries the sample 1, 2, 4, 8 and so on further in the store: that soon leaves a damaged stretch behind. If
        none of them can be served, the sample is not the cause, and the fault is raised.
        """
        samples = len(self._store)
        for power in range((samples - 1).bit_length()):
            number = (index + (1 << power)) % samples
            try:
                sample = self._store[number]
                pixels = decode_image(cast("Buffer", sample.image)) if self._decodes else sample.image
                whole = Sample(pixels, sample.label, sample.key)
                made = self._transform(whole) if self._transform else pixels
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


def _with_notes(fault: Exception) -> str:
    return ": ".join([*getattr(fault, "__notes__", []), type(fault).__name__, *([str(fault)] if str(fault) else [])])
