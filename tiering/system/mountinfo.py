"""The mounts of this process, as /proc/self/mountinfo lists them (proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount. root: the directory of the file system that is mounted; point: where; kind, options: of file system."""

    root: str
    point: str
    kind: str
    options: frozenset[str]


def mounts_of(text: str) -> Iterator[Mount]:
    """Yield the mounts in the text of a mountinfo file, in its order; skip lines that are not mounts."""
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, said = before.split(" "), after.split(" ")
        if dash and len(fields) >= 5:
            options = frozenset(said[2].split(",")) if len(said) > 2 else frozenset()
            yield Mount(_unescaped(fields[3]), _unescaped(fields[4]), said[0], options)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
