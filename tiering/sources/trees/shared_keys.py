"""Keys that several files share: an image and its mask or caption. Whoever meets such files counts them here.

The module needs nothing but the standard library: see tiering.sources.trees.entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tiering.sources.trees.siblings import DESCRIPTIONS
from tiering.text import display

#: Keys of which the files are named, and files named of each.
_KEYS: Final = 10
_FILES: Final = 5


@dataclass(slots=True)
class Shared:
    """How many keys several files share, and the files of the first few. Those of several places add up."""

    count: int = 0
    named: list[list[str]] = field(default_factory=list)
    _key: bytes = b""
    _seen: int = 0
    _together: list[str] = field(default_factory=list)

    def tell(self, prefix: bytes, names: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take note of files of one directory, in the order that siblings.with_keys gives them."""
        for name, key in names:
            if name in DESCRIPTIONS and key is not None:
                self.describe(prefix + name)
            elif key is not None:
                self.share(prefix + key, prefix + name)

    def share(self, key: bytes, path: bytes) -> int:
        """Take note of a file that may share a key; return how many there are of this key by now.

        Files of one key come one after another.
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
        """Take note of a file that describes the images of its directory, and those below it."""
        self._name([display(path), "the images that it describes"])

    def merge(self, other: Shared) -> None:
        """Add what was counted elsewhere."""
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


class Names:
    """What the names in a directory have in common: those of one extension and one dot share no key."""

    def __init__(self) -> None:
        self._endings: set[str] = set()
        self._dotted = False

    def add(self, endings: set[str], *, dotted: bool) -> None:
        """Take note of some names. endings: how they end; dotted: whether one has several dots."""
        self._endings |= endings
        self._dotted |= dotted

    @property
    def may_share(self) -> bool:
        """Whether some of them may share a key."""
        return self._dotted or len(self._endings) > 1
