"""The keys that `remove` took out of a store, as digests, so that an append does not bring them back.

A file of the store has the SHA-256 of each key, a line each, sorted. It holds no key, so it may stay after a purge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.arrays import MaskArray
from tiering.sources.account import line
from tiering.sources.left_out import REMOVED
from tiering.storage.location import Location
from tiering.store.columns import damaged, sound_bytes
from tiering.store.layout import is_removed_list, removed_list_name
from tiering.store.manifest import Manifest

if TYPE_CHECKING:
    from tiering.packing.listing import Listing

_LENGTH: Final = 64


class RemovedKeys:
    """Digests of keys. Takes 64 bytes of memory for each."""

    def __init__(self, digests: npt.NDArray[np.bytes_]) -> None:
        self._digests = digests

    def __len__(self) -> int:
        return len(self._digests)

    @classmethod
    def none(cls) -> RemovedKeys:
        """Return no digests."""
        return cls(np.empty(0, dtype=f"S{_LENGTH}"))

    @classmethod
    def of(cls, store: Location, manifest: Manifest) -> RemovedKeys:
        """Read those of a store. Raises StoreError if their file is damaged."""
        name = next(filter(is_removed_list, manifest.documents), None)
        if name is None:
            return cls.none()
        try:
            data = sound_bytes(store / name, manifest.documents[name])
        except FileNotFoundError as error:
            raise damaged(store / name, "the list of removed samples", "nothing") from error
        if data is None or len(data) % (_LENGTH + 1):
            raise damaged(store / name, "a digest on each line, with the CRC-32C of the manifest", "other bytes")
        rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, _LENGTH + 1)[:, :_LENGTH]
        return cls(np.ascontiguousarray(rows).view(f"S{_LENGTH}").reshape(-1))

    def have(self, keys: list[bytes]) -> MaskArray:
        """Return which keys are among them, bool (len(keys),)."""
        if not len(self) or not keys:
            return np.zeros(len(keys), dtype=bool)
        wanted = _digests(keys)
        at = np.minimum(np.searchsorted(self._digests, wanted), len(self) - 1)
        found: MaskArray = self._digests[at] == wanted
        return found

    def written(self, keys: Iterable[bytes], store: Location, manifest: Manifest, work: Location) -> dict[str, int]:
        """Write these and more keys as the list of the next generation.

        Returns the documents of that generation, by name, with their CRC-32C.
        """
        every = np.unique(np.concatenate([self._digests, _digests(list(keys))]))
        data = b"".join(digest + b"\n" for digest in every.tolist())
        name = removed_list_name(manifest.generation + 1)
        (store / name).write(data, work)
        known = {each: crc for each, crc in manifest.documents.items() if not is_removed_list(each)}
        return known | {name: int(google_crc32c.value(data))}


def leave_out_removed(listing: Listing, rows: npt.NDArray[np.int64], removed: RemovedKeys) -> npt.NDArray[np.int64]:
    """Return the rows of a listing whose keys were not removed from the store. The others are left out, and listed."""
    if not len(removed) or not len(rows):
        return rows
    keys = listing.keys(rows)
    gone = removed.have(keys)
    with listing.lines.open("ab") as lines:
        for at in np.flatnonzero(gone).tolist():
            size = max(0, int(listing.size[rows[at]]))
            listing.left_out.add(REMOVED, keys[at], size)
            lines.write(line(REMOVED, keys[at], size, ""))
    return rows[~gone]


def _digests(keys: list[bytes]) -> npt.NDArray[np.bytes_]:
    return np.array([hashlib.sha256(key).hexdigest().encode() for key in keys], dtype=f"S{_LENGTH}")
