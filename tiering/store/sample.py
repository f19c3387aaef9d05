"""Sample: one image with its label, key and fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from tiering.arrays import PixelArray
from tiering.philox import generator

Buffer = bytes | memoryview

#: The fields of a sample that has none.
NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Sample:
    """One image: its bytes or pixels, its label and its key.

    Attributes:
        image: The encoded bytes, of the original file or re-encoded, or pixels of shape (height, width, channels):
            uint8, or the type that the store keeps. If the store is a mapped file, encoded bytes are a view of it,
            which is valid as long as it is referenced.
        label: Number of its class, see Manifest.classes; -1 if it has none.
        key: Path of the original relative to the dataset, with POSIX separators. Bytes that are not UTF-8 become
            surrogate escapes, so that os.fsencode(key) is byte-exact.
        fields: Its other fields by name, as in Store.read_field; None for a field without a value.
        index: Its number in the store.
        epoch: The epoch that serves it; 0 outside of epochs.
        seed: The seed of the epochs.
        draw: Tells apart the draws of a sample that an epoch serves more than once; 0 for one that comes once.

    Example:
        >>> sample["caption"]  # doctest: +SKIP
        'A dog on a beach.'
    """

    image: Buffer | PixelArray
    label: int
    key: str
    fields: Mapping[str, Any] = field(default_factory=lambda: NO_FIELDS)
    index: int = 0
    epoch: int = 0
    seed: int = 0
    draw: int = 0

    @cached_property
    def rng(self) -> np.random.Generator:
        """Random numbers for a transform, which depend on seed, epoch and sample alone: see `tiering.philox`."""
        return generator(self.seed, self.epoch, self.index, self.draw)

    def __getitem__(self, name: str) -> Any:
        """Return a field by its name; also "image", "label" and "key". Raises KeyError for a field it does not have."""
        return getattr(self, name) if name in ("image", "label", "key") else self.fields[name]
