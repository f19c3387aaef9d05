"""A small terminal: what a program that runs in it shows on its screen."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from typing import Self

_CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|[\r\n]")


class Screen:
    """The lines that a program shows, as far as Rich's live views need it: they move up, and erase lines."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines = [""]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        """Show some text."""
        end = 0
        for control in _CONTROL.finditer(text):
            self._write(text[end : control.start()])
            end = control.end()
            if control[0] == "\n":
                self._row += 1
                if self._row == len(self.lines):
                    self.lines.append("")
            elif control[0] == "\r":
                self._column = 0
            elif control[2] == "A":
                # The cursor stops at the top of the screen: a view that is too high leaves lines behind.
                self._row = max(self._row - int(control[1] or 1), len(self.lines) - self.rows, 0)
            elif control[2] == "K":
                self.lines[self._row] = ""
        self._write(text[end:])

    def _write(self, text: str) -> None:
        for letter in text:
            if self._column == self.columns:
                self._row, self._column = self._row + 1, 0
                self.lines.insert(self._row, "")
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + letter + line[self._column + 1 :]
            self._column += 1

    def text(self) -> str:
        """Return the lines that are on the screen."""
        return "\n".join(line.rstrip() for line in self.lines[-self.rows :])


class InTerminal:
    """A program whose standard streams are a terminal of some columns and rows. Its block kills what still runs."""

    def __init__(self, words: Sequence[object], columns: int, rows: int) -> None:
        self.screen = Screen(columns, rows)
        self._main, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        # A session of its own, whose terminal this is, so that Ctrl-C reaches it.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment | {"TERM": "xterm-256color"},
        )
        os.close(theirs)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.type("\x03")
            self.wait()
        os.close(self._main)

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self._main, text.encode())

    def until(self, condition: Callable[[str], bool], seconds: float = 120) -> str:
        """Wait until the screen shows something; return the screen."""
        end = time.monotonic() + seconds
        while not condition(self.screen.text()):
            assert self._took(end - time.monotonic()), f"ended, or too late:\n{self.screen.text()}"
        return self.screen.text()

    def wait(self, seconds: float = 120) -> int:
        """Wait for the end of the program; return its exit code. The screen then shows its last words."""
        end = time.monotonic() + seconds
        while self._took(end - time.monotonic()):
            pass
        return self.process.wait(max(0.1, end - time.monotonic()))

    def _took(self, seconds: float) -> bool:
        """Take what the program writes next. Return whether it may write more."""
        if seconds <= 0 or not select.select([self._main], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._main, 1 << 16)
        except OSError:  # the program has ended
            return False
        self.screen.feed(self._decoder.decode(data))
        return True
