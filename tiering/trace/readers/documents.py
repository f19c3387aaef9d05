"""Read a sequence of JSON documents: one per line, or spread over lines, as tools print them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from tiering.trace.readers.base import Damage, byte_blocks
from tiering.trace.readers.objects import Requests, frame

_BLOCK = 1 << 22
#: Most characters of a document. No log writes larger ones.
_LONGEST = 1 << 24
_BATCH = 1 << 16
_DECODER = json.JSONDecoder()
#: Exceptions that a damaged or foreign document may cause in code that takes it apart.
_ODD = (ValueError, TypeError, KeyError, AttributeError, OverflowError)

#: Makes rows of objects.REQUESTS from a document, none if it moves no data. May raise any of _ODD.
Rows = Callable[[dict[str, Any]], list[tuple[object, ...]]]


def read_requests(
    found: Iterable[tuple[int, dict[str, Any]]], damage: Damage, rows: Rows, expected: str
) -> Iterator[pl.DataFrame]:
    """Turn the documents of a log, each with its line, into batches of events.

    expected: describes a valid document. Raises TraceError for a nonsensical one, or counts and skips it if
    damage.lenient.
    """
    requests, batch = Requests(), list[tuple[object, ...]]()
    for number, document in found:
        try:
            properties = document.get("properties") or {}
            damage.met([document.get("userAgent"), properties.get("userAgentHeader")])
            batch += rows(document)
        except _ODD as error:
            damage.at(number, f"{type(error).__name__}: {error}", expected=expected)
        if len(batch) >= _BATCH:
            yield requests.events(frame(batch))
            batch.clear()
    if batch:
        yield requests.events(frame(batch))
    requests.note(damage)


def documents(path: Path, damage: Damage) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of a text, each with the number of its first line.

    Objects may be on one line each, or side by side, or span from a line "{" to a line "}" with the same indentation.
    Commas between them, and the brackets of an array around all of them, are ignored. Raises TraceError for anything
    else.
    """
    begun, pieces, held, end = 0, list[str](), 0, ""
    for number, block in byte_blocks(path, damage, _BLOCK):
        for at, raw in enumerate(block.decode("utf-8", "replace").split("\n"), number):
            line = raw.rstrip().rstrip(",")
            if pieces and not raw.startswith("{") and held < _LONGEST:
                pieces.append(raw)
                held += len(raw)
                if line == end:
                    pieces[-1] = line
                    yield from _parsed("\n".join(pieces), begun, damage)
                    pieces.clear()
                continue
            if pieces:
                damage.at(begun, "a document that does not end")
                pieces.clear()
            text = line.strip().strip("[],")
            if text == "{":
                begun, pieces, held, end = at, [text], 1, line.replace("[", "").replace("{", "}")
            elif text:
                yield from _parsed(text, at, damage)
    if pieces:
        damage.at(begun, "a document that does not end")


def _parsed(text: str, number: int, damage: Damage) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return the objects of a text, which may be side by side."""
    at = 0
    while at < len(text):
        try:
            found, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            damage.at(number, repr(text if len(text) <= 80 else f"{text[:60]}...{text[-17:]}"))
            return
        yield number, found
        while text[at : at + 1] in (" ", ",", "\t"):
            at += 1
