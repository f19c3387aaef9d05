"""Share the directories of a large tree among processes that run one of our scanning programs.

A program is a module of `tiering/sources/trees/` that imports only the standard library. It answers tasks from its
standard input until that ends, and so it also ends if this process dies.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from tiering.errors import MachineError
from tiering.sources.trees.entries import receive, send

#: Bytes of tasks that may wait in a pipe. The system buffers 64 KiB before a writer blocks.
_IN_PIPE: Final = 32 << 10
_TASKS_AHEAD: Final = 2
#: Bytes to read at once. os.read() allocates that much, even if fewer bytes have arrived.
_READ_AT_ONCE: Final = 1 << 20


def scan_together(
    program: str,
    arguments: Sequence[bytes],
    where: str,
    pending: list[Any],
    workers: int,
    message: Callable[[Any], object],
    take: Callable[[Any], Iterable[Any]],
) -> None:
    """Give tasks to processes, the deepest directories first, until none is left.

    Args:
        program: Module whose main() answers tasks.
        arguments: Its command line.
        where: What is scanned, for errors.
        pending: Tasks; empty afterwards.
        workers: Number of processes.
        message: Returns what to send for a task.
        take: Takes an answer, and returns the tasks that follow from it.

    Raises:
        MachineError: If a process ends early.
    """
    with ExitStack() as stack:
        choice = stack.enter_context(selectors.DefaultSelector())
        crew = [_ScanProcess(stack, program, arguments) for _ in range(workers)]
        for worker in crew:
            choice.register(worker.answers, selectors.EVENT_READ, worker)
        while True:
            for worker in sorted(crew, key=lambda each: len(each.waiting)):
                while pending and worker.has_room():
                    worker.ask(message(pending.pop()))
            if not any(worker.waiting for worker in crew):
                return
            for key, _ in choice.select():
                found = key.data.answer()
                if found is None:
                    raise _ended(where)
                pending += reversed([*take(found)])


def _ended(where: str) -> MachineError:
    return MachineError(
        where,
        found="a process that scanned part of it has ended",
        action="Start again. The process may have run out of memory.",
    )


class _UnbufferedPipe:
    """Takes no more bytes out of a pipe than a caller reads.

    A buffer may take the next answer as well. Then the pipe is empty, and select() waits for an answer that has already
    arrived.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def fileno(self) -> int:
        return int(self._pipe.fileno())

    def read(self, size: int) -> bytes:
        parts = []
        while size and (part := os.read(self._pipe.fileno(), min(size, _READ_AT_ONCE))):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class _ScanProcess:
    def __init__(self, stack: ExitStack, program: str, arguments: Sequence[bytes]) -> None:
        package = str(Path(__file__).parents[2])
        start = f"import sys; sys.path.insert(0, sys.argv.pop()); from {program} import main; main()"
        # Without site-packages and their start-up files, Python starts in 20 ms.
        words = [sys.executable, "-S", "-E", "-c", start, *map(os.fsdecode, arguments), package]
        process = stack.enter_context(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))  # noqa: S603
        stack.callback(self._stop, process)
        self.tasks, self.answers = cast("BinaryIO", process.stdin), cast("BinaryIO", _UnbufferedPipe(process.stdout))
        self.waiting: list[int] = []

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        with suppress(BrokenPipeError):  # A task that did not reach the process is still in the buffer.
            cast("BinaryIO", process.stdin).close()

    def has_room(self) -> bool:
        return not self.waiting or (len(self.waiting) < _TASKS_AHEAD and sum(self.waiting) < _IN_PIPE)

    def ask(self, message: object) -> None:
        size = 0
        with suppress(BrokenPipeError):  # The process has ended, and answer() will say so.
            size = send(self.tasks, message)
        self.waiting.append(size)

    def answer(self) -> object:
        """Wait for an answer. None if the process has ended."""
        found = receive(self.answers)
        if found is not None:
            self.waiting.pop(0)
        return found
