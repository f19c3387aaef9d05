"""Memory that a process shares with the processes that it starts, forked or spawned, and a lock on it."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import context, reduction
from typing import Any, Final

#: A document in memory: a byte with the number of the half that holds it, and two halves, the first at byte 64. Each
#: half begins with the length of its JSON text.
_DOCUMENT: Final = 64
_HALF: Final = 1 << 20
_LENGTH: Final = 8


class SharedMemory:
    """Some zeroed bytes. Pickled to start a process, it is the same memory there; otherwise a pickle is a copy.

    Args:
        size: Bytes. Those that are never written take no memory.
    """

    def __init__(self, size: int) -> None:
        self._attach(os.memfd_create("tiering"), size)
        os.ftruncate(self._descriptor, size)
        self.bytes = mmap.mmap(self._descriptor, size)

    def _attach(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size

    def __reduce__(self) -> tuple[Any, tuple[Any, int]]:
        if context.get_spawning_popen() is not None:
            return _attached, (reduction.DupFd(self._descriptor), self._size)
        return _copied, (self.bytes[:].rstrip(b"\0"), self._size)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            os.close(self._descriptor)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock. It excludes other threads and processes, and ends with the process that holds it.

        Costs 6 us.
        """
        # An open file of its own: threads would share the lock of a common one, and forks would inherit it.
        held = os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            # A process that was forked meanwhile has the file open too, so closing it is not enough.
            fcntl.flock(held, fcntl.LOCK_UN)
            os.close(held)


def _attached(duplicate: Any, size: int) -> SharedMemory:
    found = SharedMemory.__new__(SharedMemory)
    found._attach(duplicate.detach(), size)  # noqa: SLF001 - the second constructor
    found.bytes = mmap.mmap(found._descriptor, size)  # noqa: SLF001 - as above
    return found


def _copied(data: bytes, size: int) -> SharedMemory:
    found = SharedMemory(size)
    found.bytes[: len(data)] = data
    return found


class SharedDocument:
    """A small JSON object in shared memory.

    Args:
        document: What it holds at first.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._memory = SharedMemory(_DOCUMENT + 2 * _HALF)
        self._write(document)

    def read(self) -> dict[str, Any]:
        """Return the document."""
        with self._memory.locked():
            return self._read()

    @contextmanager
    def changed(self) -> Iterator[dict[str, Any]]:
        """Change the document: no other process reads or changes it meanwhile. An exception leaves it as it was.

        Raises:
            ValueError: For a document of more than a MiB.
        """
        with self._memory.locked():
            document = self._read()
            yield document
            self._write(document)

    def _read(self) -> dict[str, Any]:
        memory = self._memory.bytes
        at = _DOCUMENT + memory[0] * _HALF
        length = int.from_bytes(memory[at : at + _LENGTH], "little")
        found: dict[str, Any] = json.loads(memory[at + _LENGTH : at + _LENGTH + length])
        return found

    def _write(self, document: dict[str, Any]) -> None:
        """Write into the other half, so that a process that is killed here changes nothing."""
        data = json.dumps(document).encode()
        if len(data) > _HALF - _LENGTH:
            raise ValueError(f"a shared document has at most {_HALF - _LENGTH:,} bytes, got {len(data):,}")
        memory = self._memory.bytes
        other = 1 - memory[0]
        at = _DOCUMENT + other * _HALF
        memory[at : at + _LENGTH + len(data)] = len(data).to_bytes(_LENGTH, "little") + data
        memory[0] = other
