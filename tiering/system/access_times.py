"""How a mount records when its files are read (mount(8): atime, relatime, noatime).

relatime, the default of Linux, records a read only if the recorded one is older than 24 hours or than the last change.
So the newest access time of many files may be a day older than the last read of any of them. With noatime, and on a
read-only mount, it says nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, Literal

from tiering.system.mounts import NETWORK, Mount, holds, mount_table, mounts_of

AccessTimes = Literal["each read", "once a day", "by the server", "not kept"]

#: Meanings, in a sentence.
MEANINGS: Final[dict[AccessTimes, str]] = {
    "each read": "every read is recorded",
    "once a day": "a read is recorded at most once in 24 hours (relatime)",
    "by the server": "the server decides which reads are recorded",
    "not kept": "reads are not recorded (noatime, or mounted read-only)",
}


@dataclass(frozen=True, slots=True)
class MountedAt:
    """A mount. point: where. kind: type of the file system. access_times: which reads it records."""

    point: str
    kind: str
    access_times: AccessTimes


def mounted(text: str | None = None) -> list[MountedAt]:
    """Return the mounts of this process; where several have the same mount point, only the last.

    text: text of a mountinfo file; by default that of this process. Empty if that cannot be read.
    """
    if text is None:
        text = mount_table() or ""
    found = (MountedAt(each.point, each.kind, _rule(each)) for each in mounts_of(text))
    return [*{each.point: each for each in found}.values()]


def mount_above(path: str | os.PathLike[str], mounts: list[MountedAt]) -> MountedAt | None:
    """Return the mount that holds a real path: the one with the longest mount point; None without any."""
    holding = [each for each in mounts if holds(each.point, os.fspath(path))]
    return max(holding, key=lambda each: len(each.point), default=None)


def _rule(mount: Mount) -> AccessTimes:
    if "noatime" in mount.flags or "ro" in mount.flags:
        return "not kept"
    if mount.kind in NETWORK:
        return "by the server"
    return "once a day" if "relatime" in mount.flags else "each read"
