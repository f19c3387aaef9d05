"""The errors that tiering raises, and the exit code of each on the command line.

TieringError                (exit code 1 is not an error: `verify` found damage)
├── UsageError             2   the request cannot be met as made
├── InputError             3   an input cannot be used
│   ├── DatasetError           a dataset directory, or an image in it
│   │   ├── NotFetchedError        a git-lfs or git-annex pointer instead of an image
│   │   └── FormatError            an image that no installed decoder reads
│   ├── TraceError             a trace file
│   ├── ProfileError           a profile.json
│   ├── ModelError             a classifier file
│   ├── CatalogError           a catalog of tiers
│   └── StoreError             a packed dataset
└── MachineError           4   disk full, no permission, a server that is down
"""

from __future__ import annotations

import errno
import re
import shlex
from typing import ClassVar, Final

from tiering.text import display, shown, without_secrets

#: What is found where nothing was given, or more than one thing.
_NOTHING: Final = ("none", "nothing", "neither")
_TOO_MANY: Final = ("both", "all")
#: Values that may be given, and a value that was.
_LIMIT: Final = re.compile(
    r"(above|at least|at most|from|one of|auto|letters|HxW|a share|a time)\b|\d\S*( \w+)? to |\w+( or \w+)+$"
)
_VALUE: Final = re.compile(r"-?[\d.]|'|nan|inf|\w+$")


class TieringError(Exception):
    """Base of every error that tiering raises on purpose.

    Args:
        where: The file, line, shard or parameter that the error is about.
        expected: What should have been there; "" if that is obvious.
        found: What was there instead.
        action: What to do next, as a sentence.

    All four may contain file names. The message is a single line without secrets or invisible characters
    (tiering.text).
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, where: str, *, expected: str = "", found: str, action: str = "") -> None:
        where, expected, found, action = map(without_secrets, (where, expected, found, action))
        self.where, self.expected, self.found, self.action = where, expected, found, action
        super().__init__(shown(" ".join(part for part in (f"{self._problem()}.", action) if part)))

    def _problem(self) -> str:
        """Return what is wrong, as one would say it: "expected X, found Y" where both are things."""
        where, expected, found = self.where, self.expected, self.found
        if expected and found == where:
            return f"{where} is not {expected}"
        return f"{where}: {self._said(where, expected, found)}"

    def _said(self, where: str, expected: str, found: str) -> str:
        if not expected or found.startswith("no such "):
            return found
        absent = found.lower().startswith("no module")
        if absent or (self.exit_code == UsageError.exit_code and found in _NOTHING):
            return f"needs {expected}{', which is not installed' * absent}"
        if found in _TOO_MANY:
            return f"takes {expected}, not {found}"
        if where.startswith("--") and where.rpartition(" ")[2] == found.strip("'"):
            return f"must be {expected}"
        if _LIMIT.match(expected) and _VALUE.match(found):
            return f"must be {expected}, not {found}"
        return f"expected {expected}, found {found}"

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes with all four parts."""
        return _rebuild, (type(self), self.where, self.expected, self.found, self.action)


def _rebuild(kind: type[TieringError], where: str, expected: str, found: str, action: str) -> TieringError:
    return kind(where, expected=expected, found=found, action=action)


class UsageError(TieringError):
    """The request cannot be met as made, for example because its output exists already."""

    exit_code = 2


class InputError(TieringError):
    """An input cannot be used."""

    exit_code = 3


class DatasetError(InputError):
    """A dataset directory, or an image in it, cannot be used."""


class NotFetchedError(DatasetError):
    """A file holds a pointer to an image that git-lfs or git-annex has not fetched yet."""


class FormatError(DatasetError):
    """An image has a format that tiering cannot decode, or only with an extra that is not installed."""


class TraceError(InputError):
    """A trace cannot be read."""


class ProfileError(InputError):
    """A profile.json cannot be read."""


class ModelError(InputError):
    """A classifier file cannot be loaded."""


class CatalogError(InputError):
    """A catalog of tiers cannot be read."""


class StoreError(InputError):
    """A packed dataset cannot be opened or read."""


class MachineError(TieringError):
    """The machine prevents it: the disk is full, a permission is missing, a server is down."""

    exit_code = 4


def command(*words: object) -> str:
    """Return a command line that can be pasted into a shell, whatever characters its words contain.

    Example: `command("tiering", "verify", "my photos.lmdb")` returns `tiering verify 'my photos.lmdb'`.
    """
    return shlex.join(str(word) for word in words)


_ADVICE = {
    errno.ENOSPC: "Free some space there, or write to another disk.",
    errno.EDQUOT: "The quota is used up: free some space, or write to another disk.",
    errno.EACCES: "Check who may read and write it (ls -l).",
    errno.EPERM: "Check who may read and write it (ls -l).",
    errno.EROFS: "The file system is mounted read-only: write to another one.",
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
    errno.ENOENT: "Check the path.",
    errno.EIO: "The device reported an error: see the kernel log.",
}


def from_os_error(error: OSError, location: object = "input/output") -> TieringError:
    """Turn an OSError into a TieringError that says where it happened and what to do.

    A path that does not exist is bad input (exit code 3). Everything else is the environment (4).
    location: what to name if the system named no file.
    """
    kind = InputError if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR) else MachineError
    # The system names a file as it was given: as text, as bytes, or by the number of its descriptor.
    named = None if isinstance(error.filename, int) else error.filename
    where = display(named) if isinstance(named, bytes) else str(named or location)
    found = (error.strerror or str(error)).lower()
    return kind(where, found=found, action=_ADVICE.get(error.errno or 0, ""))
