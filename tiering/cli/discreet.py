"""Streams that print no secrets. Everything that a command, a log or a traceback writes goes through them."""

from __future__ import annotations

import sys
from typing import Any, TextIO, cast

from tiering.text import without_secrets


class DiscreetStream:
    """A text stream that leaves out passwords, tokens and signatures of URLs; otherwise like the stream it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text without its secrets. Returns the length of the text given."""
        self._stream.write(without_secrets(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write some lines, as write does."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def keep_secrets() -> None:
    """Send everything that this process prints on stdout and stderr through such streams."""
    sys.stdout = cast("TextIO", DiscreetStream(sys.stdout))
    sys.stderr = cast("TextIO", DiscreetStream(sys.stderr))
