"""JSON that other programs wrote, limited before it is parsed; and values of other programs written as JSON.

Python's parser nests as deep as its stack, accepts NaN, numbers of any length and duplicate names, and turns two bytes
of text into a hundred of memory. Files of a store or a cache must keep stricter limits.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from typing import Any, Final, NoReturn

import numpy as np

#: The deepest nesting of brackets. Our own files have four levels.
DEEPEST: Final = 32

#: The most values in a document: more than a million labels with their numbers, or two hundred thousand shards, need.
MOST_VALUES: Final = 3_000_000

#: Counts have at most 64 bits; a seed may have more.
_LONGEST_NUMBER: Final = 1 << 128

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_DEEPER: Final = (np.frombuffer(b"[{", dtype=np.uint8), np.frombuffer(b"]}", dtype=np.uint8))


def parse_json(data: bytes) -> Any:
    """Parse a JSON document (RFC 8259) more strictly than Python does.

    data: UTF-8. Returns what json.loads returns. Raises ValueError as json.loads does, and also for more than DEEPEST
    levels or MOST_VALUES values, NaN and Infinity, a duplicate name in an object, and a number of more than 128 bits.
    """
    _limit(data)
    # Pass a str: json.loads guesses the encoding of bytes.
    return json.loads(
        data.decode(), parse_constant=_no_number, parse_int=_whole, parse_float=_fraction, object_pairs_hook=_object
    )


def parse_foreign_json(data: bytes) -> Any:
    """Parse a JSON document that is data, not ours: with the same limits, but as other programs write it.

    Python's json.dumps writes NaN and Infinity, and some editors begin a file with a byte order mark. Of equal names in
    an object the last counts, as in json.loads. Raises ValueError as json.loads does, and for more than DEEPEST levels
    or MOST_VALUES values.
    """
    _limit(data)
    return json.loads(data.decode("utf-8-sig"))


def json_text(value: object) -> str:
    """Return a JSON document. Numbers that JSON does not have become null; dates become text, and bytes Base64."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, default=_plain)


def _limit(data: bytes) -> None:
    """Raise ValueError for too many levels or values, before anything is parsed."""
    outline = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    opening, closing = (np.isin(outline, kind) for kind in _DEEPER)
    depth = np.cumsum(opening.astype(np.int8) - closing.astype(np.int8), dtype=np.int64)
    if int(depth.max(initial=0)) > DEEPEST:
        raise ValueError(f"brackets nested more than {DEEPEST} deep")
    if int(opening.sum() + (outline == ord(",")).sum()) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is not a number in JSON")


def _whole(digits: str) -> int:
    number = int(digits) if len(digits) < 64 else _LONGEST_NUMBER
    if abs(number) >= _LONGEST_NUMBER:
        raise ValueError("a number of more than 128 bits")
    return number


def _fraction(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number too large for 64 bits")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {twice[:100]!r} twice in one object")
    return made


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: object) -> object:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
