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
import shlex
from typing import ClassVar, Self, TypeVar

from tiering.text import display, shown, without_secrets

_Kind = TypeVar("_Kind", bound="TieringError")


class TieringError(Exception):
    """Base of every error that tiering raises on purpose.

    The message says what is wrong in one of four ways, and then what to do:

    | given | message |
    | --- | --- |
    | `rule="must be at least 1", found="0"` | where: must be at least 1, not 0. |
    | `rule="needs an index"` | where: needs an index. |
    | `expected="4,096 samples", found="3,981"` | where: expected 4,096 samples, found 3,981. |
    | `expected="a size"` | where is not a size. |
    | `found="no such directory"` | where: no such directory. |

    Args:
        where: The file, line, shard or parameter that the error is about.
        rule: What a value must be, or what is missing, as the rest of a sentence with `where`.
        expected: The thing that should have been there.
        found: What was there instead; without `rule` and `expected`, what is wrong as a sentence.
        action: What to do next, as a sentence.

    All of them may contain file names. The message is a single line without secrets or invisible characters
    (tiering.text).
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, where: str, *, rule: str = "", expected: str = "", found: str = "", action: str = "") -> None:
        self.where, self.rule, self.expected, self.found, self.action = map(
            without_secrets, (where, rule, expected, found, action)
        )
        super().__init__(shown(" ".join(part for part in (f"{self._problem()}.", action) if part)))

    def _problem(self) -> str:
        if self.rule:
            return f"{self.where}: {self.rule}{f', not {self.found}' if self.found else ''}"
        if self.expected and not self.found:
            return f"{self.where} is not {self.expected}"
        return f"{self.where}: {f'expected {self.expected}, found ' if self.expected else ''}{self.found}"

    def with_parts(self, **parts: str) -> Self:
        """Return an error of the same kind with other parts, named as in __init__."""
        return _rebuild(type(self), self._parts() | parts)

    def _parts(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("where", "rule", "expected", "found", "action")}

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes with all parts."""
        return _rebuild, (type(self), self._parts())


def _rebuild(kind: type[_Kind], parts: dict[str, str]) -> _Kind:
    return kind(**parts)


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


def needs_package(package: str, error: ImportError) -> str:
    """Return the rule for an error about a package that could not be imported, for whatever reason.

    Example: `needs_package("plotly", error)` returns "needs plotly, which is not installed".
    """
    absent = isinstance(error, ModuleNotFoundError)
    return f"needs {package}, which {'is not installed' if absent else f'cannot be imported ({error})'}"


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
