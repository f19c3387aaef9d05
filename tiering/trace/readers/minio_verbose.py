"""Convert the output of `mc admin trace --verbose`, several lines per request, into the documents of --json.

Format: mc's cmd/admin-trace.go. A request begins with `[REQUEST s3.GetObject] [time] [Client IP: ...]`, continues with
its line and headers, and ends with `[RESPONSE] [time] [ Duration ... up down ]`, the status and the response's headers.
The server's name may precede each line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tiering.trace.readers.base import Damage, byte_blocks
from tiering.trace.readers.tables import first_lines
from tiering.trace.readers.times import DayClock

UNITS: dict[str, int] = {f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T", "P"), 1)} | {
    "B": 1
}
_SPANS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
_BLOCK = 1 << 22
_BEGIN = re.compile(
    r"(?P<before>.{0,200}?)\[REQUEST (?P<api>\w+\.\w+)\] +"
    r"\[(?P<date>\d{4}-\d\d-\d\dT)?(?P<time>\d\d:\d\d:\d\d\.\d{1,9})\]"
    r"(?: \[Client IP: (?P<client>[^\]]*)\])?"
)
_ANSWER = re.compile(
    r"\[RESPONSE\] \[[^\]]*\] \[ Duration (?P<took>[\dhmsnuµ.]+) .*?↑ (?P<rx>[\d.]{1,9} [KMGTP]?i?B) +"
    r"↓ (?P<tx>[\d.]{1,9} [KMGTP]?i?B) \]"
)
_LINE = re.compile(r"[A-Z]{3,7} (?P<path>/[^?]*)")
_STATUS = re.compile(r"(\d{3})(?: |$)")
_HEADER = re.compile(r"([\w-]{1,80}): (.*)")


def sniff(head: bytes) -> bool:
    """Return whether the text is that of --verbose: one of its first lines begins a request."""
    return any(map(_BEGIN.match, first_lines(head)))


def documents(path: Path, damage: Damage) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the requests as documents of --json, each with the number of its first line. Bodies are skipped.

    Raises TraceError for a request without a response, unless it is the last one, which may be cut off.
    """
    clock, begun, found, before = DayClock(), 0, dict[str, Any](), ""
    for number, block in byte_blocks(path, damage, _BLOCK):
        for at, raw in enumerate(block.decode("utf-8", "replace").split("\n"), number):
            begin = _BEGIN.match(raw)
            if begin is None:
                _add(found, raw.rstrip("\r").removeprefix(before))
                continue
            if found:
                yield from _ended(found, begun, damage)
            begun, before = at, begin["before"]
            found = {"api": begin["api"], "time": _time(begin, clock), "client": begin["client"] or ""}
    if "statusCode" in found.get("response", {}):
        yield begun, found
    elif found:
        damage.gaps.append("its last request is cut short")


def _ended(found: dict[str, Any], begun: int, damage: Damage) -> Iterator[tuple[int, dict[str, Any]]]:
    if "statusCode" in found.get("response", {}):
        yield begun, found
    else:
        damage.at(begun, "a request without an answer", expected="a request of mc admin trace --verbose")


def _add(found: dict[str, Any], line: str) -> None:
    """Add the contents of a line to the current request, if any."""
    if not found:
        return
    if "path" not in found:
        if match := _LINE.match(line):
            found |= {"path": match["path"].rstrip(), "request": {"headers": {}}}
    elif "response" not in found:
        if answer := _ANSWER.match(line):
            sizes = {way: _bytes(answer[way]) for way in ("rx", "tx")}
            found |= {"response": {"headers": {}}, "callStats": sizes}
            found["duration"] = round((seconds(answer["took"]) or 0.0) * 1e9)
        elif header := _HEADER.match(line):
            found["request"]["headers"].setdefault(header[1], header[2])
    elif "statusCode" not in found["response"]:
        if status := _STATUS.match(line):
            found["response"]["statusCode"] = int(status[1])
    elif header := _HEADER.match(line):
        found["response"]["headers"].setdefault(header[1], header[2])


def _time(begin: re.Match[str], clock: DayClock) -> str:
    """Return a time in the form of documents. Times without a date count from the first midnight."""
    if begin["date"]:
        return f"{begin['date']}{begin['time']}"
    hours, minutes, rest = begin["time"].split(":")
    of_day = np.array([int(hours) * 3600 + int(minutes) * 60 + float(rest)])
    return datetime.fromtimestamp(float(clock.since_first_midnight(of_day)[0]), UTC).isoformat()


def _bytes(text: str) -> int | None:
    number, unit = text.split(" ")
    try:
        return round(float(number) * UNITS[unit])
    except (ValueError, KeyError):
        return None


def seconds(text: str) -> float | None:
    """Parse a duration as Go prints it, such as "1m2.5s"."""
    pieces = re.findall(r"([\d.]+)(ms|µs|us|ns|h|m|s)", text)
    try:
        return sum(float(number) * _SPANS[unit] for number, unit in pieces) if pieces else None
    except ValueError:
        return None
