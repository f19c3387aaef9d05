"""Streams that print no secrets: whatever a command, a log or a traceback writes passes through them."""

from __future__ import annotations

import sys
from typing import Any, TextIO, cast

from tiering.secrets import without_secrets


class DiscreetStream:
    """A text stream that leaves passwords, tokens and signatures of URLs out; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text without its secrets. Returns how much of it was taken, which is all."""
        self._stream.write(without_secrets(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write some lines, as write does."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def keep_secrets() -> None:
    """Let everything that this process prints on stdout and stderr go through such streams."""
    sys.stdout = cast("TextIO", DiscreetStream(sys.stdout))
    sys.stderr = cast("TextIO", DiscreetStream(sys.stderr))
