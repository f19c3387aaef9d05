"""CachedRuns: a cache for the values of each field, opened when the field is first read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from threading import Lock

from tiering.store.folder_fields import CellValues
from tiering.store.protocol import Store
from tiering.store.selection import unselected


class CachedRuns(Mapping[str, Store]):
    """Stores of the values of fields by name, each with a cache in front.

    A field that is never read takes no space in the cache.

    Args:
        runs: The stores behind the caches.
        cache: Puts a cache in front of a store.
    """

    def __init__(self, runs: Mapping[str, Store], cache: Callable[[Store], Store]) -> None:
        self._runs, self._cache = runs, cache
        self._opened: dict[str, Store] = {}
        self._lock = Lock()

    def __getitem__(self, name: str) -> Store:
        found = self._opened.get(name)
        if found is None:
            with self._lock:
                found = self._opened.get(name) or self._opened.setdefault(name, self._of(self._runs[name]))
        return found

    def _of(self, run: Store) -> Store:
        # The values of a table of metadata are in memory already.
        return run if isinstance(unselected(run), CellValues) else self._cache(run)

    def __contains__(self, name: object) -> bool:
        return name in self._runs

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def opened(self) -> list[Store]:
        """Return the caches that are open."""
        return list(self._opened.values())
