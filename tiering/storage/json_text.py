"""JSON out of a file that somebody else may have made: bounded before it is parsed, and with one meaning.

Python's parser nests as deep as its stack, takes NaN, numbers of any length and a name twice, and turns two bytes of
text into a hundred of memory. What is read from a store or a cache is held to less.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, Final, NoReturn

import numpy as np

#: Brackets within brackets. Ours have four.
DEEPEST: Final = 32

#: Values of a document at most: a million labels with their numbers, or two hundred thousand shards, and as much again.
MOST_VALUES: Final = 3_000_000

#: Numbers have at most 64 bits wherever they count something; a seed may have more.
_LONGEST_NUMBER: Final = 1 << 128

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_DEEPER: Final = (np.frombuffer(b"[{", dtype=np.uint8), np.frombuffer(b"]}", dtype=np.uint8))


def parse_json(data: bytes) -> Any:
    """Parse a JSON document (RFC 8259), stricter than Python does.

    data: UTF-8. Returns what json.loads returns. Raises ValueError, for the same and for more than DEEPEST levels or
    MOST_VALUES values, NaN and Infinity, a name that stands twice in an object, and a number of more than 128 bits.
    """
    outline = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    opening, closing = (np.isin(outline, kind) for kind in _DEEPER)
    depth = np.cumsum(opening.astype(np.int8) - closing.astype(np.int8), dtype=np.int64)
    if int(depth.max(initial=0)) > DEEPEST:
        raise ValueError(f"more than {DEEPEST} brackets within one another")
    if int(opening.sum() + (outline == ord(",")).sum()) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    # A str, because bytes would have their encoding guessed.
    return json.loads(
        data.decode(), parse_constant=_no_number, parse_int=_whole, parse_float=_fraction, object_pairs_hook=_object
    )


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no number in JSON")


def _whole(digits: str) -> int:
    number = int(digits) if len(digits) < 64 else _LONGEST_NUMBER
    if abs(number) >= _LONGEST_NUMBER:
        raise ValueError("a number of more than 128 bits")
    return number


def _fraction(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number beyond what 64 bits can tell")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {twice[:100]!r} twice in one object")
    return made
