"""ChunkCache: decoded chunks in memory, up to a bound; each is decoded once however many threads want it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock


class ChunkCache:
    """Decoded chunks by number. The oldest is dropped first.

    limit: how many to hold, at least 1. A dropped chunk stays alive while a caller still uses it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._held: dict[int, Future[bytes]] = {}
        self._lock = Lock()

    def get(self, number: int, decode: Callable[[int], bytes]) -> bytes:
        """Return a chunk, decoding it if no thread has. If decoding fails, raise its error and forget the chunk."""
        with self._lock:
            held = self._held.get(number)
            mine = held is None
            if held is None:
                held = self._held[number] = Future()
                if len(self._held) > self._limit:
                    del self._held[next(iter(self._held))]
        if mine:
            try:
                held.set_result(decode(number))
            except BaseException as error:  # noqa: BLE001 - passed to all waiting threads, and raised below
                with self._lock:
                    self._held.pop(number, None)
                held.set_exception(error)
        return held.result()

    def forget(self, number: int) -> None:
        """Drop a damaged chunk."""
        with self._lock:
            self._held.pop(number, None)

    def clear(self) -> None:
        """Drop all chunks."""
        with self._lock:
            self._held = {}
