"""FieldReads: the fields that a loader serves with its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tiering.arrays import AnyArray, IndexArray
from tiering.errors import UsageError
from tiering.images.exact import decode_as_stored
from tiering.store.field_values import no_field, single
from tiering.store.protocol import Store, Values
from tiering.store.sample import Buffer


class FieldReads:
    """Announces and reads some fields together with the images of the same samples.

    Args:
        store: The store to read from.
        names: The fields to read, of those in `store.fields`; there may be none.
        decode: Whether image fields are decoded, as they are stored: a palette image gives its indices.
        crop: Whether image fields are cropped with their images. Then `read` leaves them out, and `encoded` has them.

    Attributes:
        names: The fields.
        cropped: The fields that are cropped.

    Raises:
        UsageError: The store has no such field, or one name stands in place of several.
    """

    def __init__(self, store: Store, names: Sequence[str], *, decode: bool, crop: bool = False) -> None:
        if isinstance(names, str):
            raise UsageError("fields", rule="must be names in a list or tuple", found=repr(names))
        for name in names:
            if name not in store.fields:
                raise no_field(name, store.fields)
        self.names = tuple(names)
        self._store = store
        self._runs = [store.runs[name] for name in names if name in store.runs]
        images = tuple(name for name in names if store.fields[name].kind == "image")
        self.cropped = images if crop else ()
        self._decoded = set(images if decode else ())
        self._read = tuple(name for name in names if name not in self.cropped)

    def announce(self, indices: IndexArray) -> None:
        """Announce that these samples will be read soon, with their fields."""
        self._store.announce(indices)
        for run in self._runs:
            run.announce(indices)

    @property
    def resident(self) -> bool:
        """Whether nothing needs to be announced."""
        return self._store.resident and all(run.resident for run in self._runs)

    def read(self, indices: IndexArray) -> dict[str, Values]:
        """Return the fields of samples by name, as Store.read_fields does. Thread-safe."""
        if not self._read:
            return {}
        found = self._store.read_fields(self._read, indices)
        for name in self._decoded:
            found[name] = [None if each is None else decode_as_stored(each) for each in found[name]]
        return found

    def encoded(self, indices: IndexArray) -> dict[str, list[Buffer | None]]:
        """Return the values of the fields that are cropped."""
        if not self.cropped:
            return {}
        return {name: list(values) for name, values in self._store.read_fields(self.cropped, indices).items()}

    def samples(self, indices: IndexArray) -> list[dict[str, Any]]:
        """Return the fields of each sample by name, as Sample has them."""
        every = self.read(indices)
        return [{name: single(values[at : at + 1]) for name, values in every.items()} for at in range(len(indices))]


def joined(parts: Sequence[Mapping[str, Values]]) -> dict[str, Values]:
    """Return fields of consecutive pieces of a batch as those of the whole batch."""
    return {name: _together([part[name] for part in parts]) for name in parts[0]}


def _together(values: Sequence[Values]) -> Values:
    if len(values) == 1:
        return values[0]
    if isinstance(values[0], list):
        return [each for part in values for each in part]
    arrays: list[AnyArray] = [part for part in values if not isinstance(part, list)]
    if any(isinstance(part, np.ma.MaskedArray) for part in arrays):
        mask = np.concatenate([np.ma.getmaskarray(part) for part in arrays])
        return np.ma.MaskedArray(np.concatenate([np.ma.getdata(part) for part in arrays]), mask)
    return np.concatenate(arrays)
