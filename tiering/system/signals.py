"""Signals that end a process: raise them as interruptions, and postpone them during a clean-up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from tiering.errors import TieringError

#: Windows has no SIGHUP. tiering does not run there, but it says so (tiering.system.require_linux).
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

#: Signals that a command gets which this process runs for the user, where the system has them.
_FORWARDED: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT") if hasattr(signal, name)
)

#: Delay before a swallowed signal is sent again. The destructor that swallowed it has ended by then.
_AGAIN_SECONDS: Final = 0.01


class EndingSignal(KeyboardInterrupt):
    """SIGTERM or SIGHUP as an interruption. exit_code: the one that shells expect of a program ended by the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def exit_code_of(interruption: KeyboardInterrupt) -> int:
    """Return the exit code of an interruption: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return interruption.exit_code if isinstance(interruption, EndingSignal) else 128 + signal.SIGINT


@contextmanager
def ending_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt the block as Ctrl-C does, so that it cleans up. Call it in the main thread.

    Schedulers end jobs with SIGTERM. A signal that is already ignored stays ignored: nohup ignores SIGHUP. Where the
    exception strikes in compiled code, that may raise another one in its place (Polars: a TypeError); a block that ends
    so was interrupted, too.
    """
    struck: list[KeyboardInterrupt] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        struck.append(KeyboardInterrupt() if number == signal.SIGINT else EndingSignal(number))
        raise struck[-1]

    heard = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        with _repeated():
            yield
    except (TypeError, ValueError, SystemError) as error:
        if not struck or isinstance(error, TieringError):
            raise
        raise struck[-1] from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _repeated() -> Iterator[None]:
    """Send a signal again if a destructor swallowed its exception: Python only prints exceptions of destructors."""
    before, done = sys.unraisablehook, threading.Event()

    def again(number: int) -> None:
        if not done.is_set():
            os.kill(os.getpid(), number)

    def swallowed(raised: sys.UnraisableHookArgs) -> None:
        if not isinstance(raised.exc_value, KeyboardInterrupt):
            before(raised)
            return
        timer = threading.Timer(_AGAIN_SECONDS, again, [exit_code_of(raised.exc_value) - 128])
        timer.daemon = True
        timer.start()

    sys.unraisablehook = swallowed
    try:
        yield
    finally:
        done.set()
        sys.unraisablehook = before


@contextmanager
def put_off() -> Iterator[None]:
    """Postpone an interruption of the block to its end. Threads other than the main one are never interrupted.

    Blocking the signals is not enough: the kernel delivers them to any other thread, and Python handles them in this
    one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, remember) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


@contextmanager
def passing_on(target: Callable[[], int | None]) -> Iterator[None]:
    """Pass signals on to a command. Those from a terminal reach all processes anyway. target: returns its number."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            if (pid := target()) is not None:
                os.kill(pid, number)

    def interrupted(number: int, frame: FrameType | None) -> None:
        if not _of_terminal():
            forward(number, frame)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _of_terminal() -> bool:
    """Return whether this process is in the foreground of a terminal, which signals the whole group."""
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


@dataclass(slots=True)
class Remembered:
    """A signal that arrived, for a loop that ends by itself. `fileno()` becomes readable when one does."""

    _reading: int
    interruption: KeyboardInterrupt | None = None

    def fileno(self) -> int:
        """Return a descriptor to wait for."""
        return self._reading


@contextmanager
def remembered(*, passed_on: bool = False) -> Iterator[Remembered]:
    """Remember signals that end a process instead of raising them, so that a loop can finish its work.

    passed_on: leave the signals to `passing_on`. Threads other than the main one never get signals.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    found = Remembered(reading)

    def remember(number: int, _frame: FrameType | None) -> None:
        found.interruption = KeyboardInterrupt() if number == signal.SIGINT else EndingSignal(number)
        with suppress(BlockingIOError):
            os.write(writing, b"!")

    is_main = threading.current_thread() is threading.main_thread()
    heard = [
        number for number in _ENDING if is_main and not passed_on and signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, remember) for number in heard}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
