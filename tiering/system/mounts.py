"""The mounts of this process (proc_pid_mountinfo(5)), and the kind of file system that holds a path."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system.

    root: its mounted directory. point: where that is mounted. kind: the type, such as "ext4". options: of the type.
    """

    root: str
    point: str
    kind: str
    options: frozenset[str]


def mounts_of(text: str) -> Iterator[Mount]:
    """Yield the mounts in the text of a mountinfo file, in its order. Skip lines that are not mounts."""
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, details = before.split(" "), after.split(" ")
        if dash and len(fields) >= 5:
            options = frozenset(details[2].split(",")) if len(details) > 2 else frozenset()
            yield Mount(_unescaped(fields[3]), _unescaped(fields[4]), details[0], options)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


#: File systems whose pages come over a network, by the names that the kernel gives them.
NETWORK: Final = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb", "smb3", "smbfs", "afs", "9p", "ocfs2", "gfs2"),
        *("lustre", "gpfs", "beegfs", "ceph", "orangefs", "pvfs2", "glusterfs"),
        *(f"fuse.{name}" for name in ("glusterfs", "sshfs", "s3fs", "rclone", "goofys", "mount-s3", "beegfs")),
        *(f"fuse.{name}" for name in ("gcsfuse", "blobfuse2", "juicefs")),
    }
)

_MOUNTS: Final = Path("/proc/self/mountinfo")


def filesystem_of(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the file system that holds a path, as the kernel names it; None if it cannot be determined.

    mounts: text of a mountinfo file; by default that of this process. A path belongs to the mount with the longest
    matching mount point, and to the last one if several match equally.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return None
    real = os.path.realpath(path)
    best, kind = -1, None
    for mount in mounts_of(mounts):
        inside = real == mount.point or real.startswith(mount.point.rstrip("/") + "/")
        if inside and len(mount.point) >= best:
            best, kind = len(mount.point), mount.kind
    return kind
