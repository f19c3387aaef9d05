"""Reads a large JSON document element by element: an object of arrays, as COCO's annotations are.

Only one element and a piece of the file are in memory, whatever the size of the document.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

_PIECE: Final = 1 << 20

#: The most characters of one element.
_LONGEST: Final = 64 << 20

_BLANK: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()


def elements(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield the name of each member of an object, with its value; of an array, with each of its elements.

    file: a JSON document in UTF-8 whose outermost value is an object.
    Raises ValueError for anything else. About 15 ms for a megabyte (one core).
    """
    text = _Text(file)
    try:
        text.expect("{")
        if text.take("}"):
            return
        while True:
            name = text.value()
            if not isinstance(name, str):
                raise ValueError("an object without names")  # noqa: TRY004 - as for any other bad document
            text.expect(":")
            if not text.take("["):
                yield name, text.value()
            elif not text.take("]"):
                yield name, text.value()
                while text.take(","):
                    yield name, text.value()
                text.expect("]")
            if not text.take(","):
                text.expect("}")
                return
    except RecursionError as error:
        raise ValueError("values nested too deep") from error


class _Text:
    """The text of a document, of which a window is in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._window = ""
        self._at = 0
        self._ended = False

    def take(self, sign: str) -> bool:
        """Skip a sign, if it comes next. Return whether it did."""
        self._skip_blanks()
        if not self._window.startswith(sign, self._at):
            return False
        self._at += 1
        return True

    def expect(self, sign: str) -> None:
        """Skip a sign. Raises ValueError for another one."""
        if not self.take(sign):
            found = self._window[self._at : self._at + 20] or "the end"
            raise ValueError(f"{found!r} instead of {sign!r}")

    def value(self) -> Any:
        """Return the next value."""
        self._skip_blanks()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._window, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise ValueError(f"{error.msg} in {self._window[self._at : self._at + 60]!r}") from error
                continue
            # A number at the end of the window may go on.
            if end < len(self._window) or not self._more():
                self._at = end
                return found

    def _skip_blanks(self) -> None:
        while True:
            found = _BLANK.match(self._window, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._window) or not self._more():
                return

    def _more(self) -> bool:
        """Read another piece, and forget what was used. Return False at the end of the file."""
        if self._ended:
            return False
        if len(self._window) - self._at > _LONGEST:
            raise ValueError(f"a value of more than {_LONGEST:,} characters")
        # The window grows by half, so that a long value is not parsed again for each piece of it.
        data = self._file.read(max(_PIECE, (len(self._window) - self._at) // 2))
        self._ended = not data
        self._window = self._window[self._at :] + self._decoder.decode(data, final=self._ended)
        self._at = 0
        return True
