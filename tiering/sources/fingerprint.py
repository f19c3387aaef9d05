"""Identify a dataset without reading its images: a digest over all keys and sizes."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


class Fingerprint:
    """A running SHA-256 over keys, sizes and, optionally, versions. It does not depend on how samples are batched."""

    def __init__(self) -> None:
        self._parts = {name: hashlib.sha256() for name in ("key", "length", "size", "version")}

    def update(
        self, keys: list[bytes], size: npt.NDArray[np.int64], version: npt.NDArray[np.int64] | None = None
    ) -> None:
        """Add samples. keys: n of them. size: bytes, int64 (n,). version: int64 (n,)."""
        self._parts["key"].update(b"".join(keys))
        self._parts["length"].update(np.fromiter(map(len, keys), dtype="<i8", count=len(keys)).tobytes())
        self._parts["size"].update(np.ascontiguousarray(size, dtype="<i8").tobytes())
        if version is not None:
            self._parts["version"].update(np.ascontiguousarray(version, dtype="<i8").tobytes())

    def hexdigest(self) -> str:
        """Return the digest of all samples added so far, as 64 hexadecimal digits."""
        together = hashlib.sha256()
        for part in self._parts.values():
            together.update(part.digest())
        return together.hexdigest()
