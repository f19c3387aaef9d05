"""Count keys that several files share: an image and its mask or caption.

This module imports only the standard library; see tiering.sources.trees.entries for the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tiering.sources.trees.siblings import DESCRIPTIONS
from tiering.text import display

#: How many keys have their files named, and how many files of each.
_KEYS: Final = 10
_FILES: Final = 5


@dataclass(slots=True)
class SharedKeys:
    """How many keys are shared by several files, and the files of the first few."""

    count: int = 0
    named: list[list[str]] = field(default_factory=list)
    _key: bytes = b""
    _seen: int = 0
    _together: list[str] = field(default_factory=list)

    def add_all(self, prefix: bytes, names: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Record files of one directory, in the order of siblings.with_keys."""
        for name, key in names:
            if name in DESCRIPTIONS and key is not None:
                self.describe(prefix + name)
            elif key is not None:
                self.share(prefix + key, prefix + name)

    def share(self, key: bytes, path: bytes) -> int:
        """Record a file that may share a key. Return how many files of this key there are so far.

        Files of one key must come one after another.
        """
        if key != self._key:
            self._key, self._seen, self._together = key, 0, []
        self._seen += 1
        if len(self._together) < _FILES:
            self._together.append(display(path))
        if self._seen == 2:
            self._name(self._together)
        return self._seen

    def describe(self, path: bytes) -> None:
        """Record a file that describes the images of its directory and below."""
        self._name([display(path), "the images that it describes"])

    def merge(self, other: SharedKeys) -> None:
        """Add the counts of another directory."""
        self.count += other.count
        self.named += other.named[: _KEYS - len(self.named)]

    @property
    def examples(self) -> list[str]:
        """The files of the first few keys."""
        return [" and ".join(together) for together in self.named]

    def _name(self, together: list[str]) -> None:
        self.count += 1
        if len(self.named) < _KEYS:
            self.named.append(together)
