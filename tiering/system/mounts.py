"""The mounts of this process (proc_pid_mountinfo(5)), and the file system that holds a path."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system.

    Attributes:
        number: Its identifier in the table.
        parent: Identifier of the mount that it is mounted on.
        device: "major:minor" of its device; major 0 where the file system has no device of its own.
        root: The mounted directory of the file system; another one than "/" for a bind mount.
        point: Where that is mounted.
        flags: Options of the mount itself, such as "ro" and "relatime".
        kind: The type of the file system, such as "ext4".
        source: The device, server or name that was mounted, as the file system gives it.
        options: Options of the file system.
    """

    number: int
    parent: int
    device: str
    root: str
    point: str
    flags: frozenset[str]
    kind: str
    source: str
    options: frozenset[str]

    def option(self, name: str) -> str | None:
        """Return the value of an option such as upperdir=/a; None without it."""
        return next((each.partition("=")[2] for each in self.options if each.startswith(f"{name}=")), None)


def mounts_of(text: str) -> Iterator[Mount]:
    """Yield the mounts in the text of a mountinfo file, in its order. Skip lines that are not mounts."""
    # Only "\n" ends a line: the kernel escapes it in names, but not the other characters at which splitlines() splits.
    for line in text.split("\n"):
        before, dash, after = line.partition(" - ")
        fields, details = before.split(" "), after.split(" ")
        if not dash or len(fields) < 5 or not (fields[0].isdecimal() and fields[1].isdecimal()):
            continue
        source, options = (_unescaped(each) for each in (*details[1:3], "", "")[:2])
        yield Mount(
            number=int(fields[0]),
            parent=int(fields[1]),
            device=fields[2],
            root=_unescaped(fields[3]),
            point=_unescaped(fields[4]),
            flags=frozenset(fields[5].split(",")) if len(fields) > 5 else frozenset(),
            kind=details[0],
            source=source,
            options=frozenset(options.split(",")) if options else frozenset(),
        )


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


#: File systems whose pages come over a network, by the names that the kernel gives them.
NETWORK: Final = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb", "smb3", "smbfs", "afs", "9p", "ocfs2", "gfs2"),
        *("lustre", "gpfs", "beegfs", "ceph", "orangefs", "pvfs2", "glusterfs", "wekafs", "panfs"),
        *(f"fuse.{name}" for name in ("glusterfs", "sshfs", "s3fs", "rclone", "goofys", "mount-s3", "beegfs")),
        *(f"fuse.{name}" for name in ("gcsfuse", "blobfuse2", "juicefs", "ceph-fuse", "dfuse")),
    }
)

#: File systems that the kernel makes up. They hold no data.
KERNEL: Final = frozenset(
    {
        *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "pstore"),
        *("bpf", "mqueue", "hugetlbfs", "configfs", "fusectl", "binfmt_misc", "autofs", "efivarfs", "nsfs"),
        *("rpc_pipefs", "selinuxfs"),
    }
)

_ROOT: Final = Path("/")


def mount_table(root: Path = _ROOT) -> str | None:
    """Return the text of this process's mountinfo file; None if it cannot be read.

    root: the directory that holds /proc; a test can use another one.
    """
    try:
        return (root / "proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return None


def filesystem_of(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the file system that holds a path, as the kernel names it; None if it cannot be determined.

    mounts: text of a mountinfo file; by default that of this process.
    """
    found = mount_of(path, mounts)
    return None if found is None else found.kind


def mount_of(path: str | os.PathLike[str], mounts: str | None = None) -> Mount | None:
    """Return the mount that holds a path; None if it cannot be determined.

    A walk from the root of the tree of mounts, as the kernel looks a path up: a mount on a directory hides the mounts
    that were below that directory before.

    Args:
        path: Links in it are followed.
        mounts: Text of a mountinfo file; by default that of this process.
    """
    if mounts is None and (mounts := mount_table()) is None:
        return None
    real = os.path.realpath(path)
    left = [each for each in mounts_of(mounts) if holds(each.point, real)]
    numbers = {each.number for each in left}
    # The parent of a root is itself, or outside this process's root directory.
    roots = [each for each in left if each.parent == each.number or each.parent not in numbers]
    found = None
    below: Sequence[Mount] = roots
    while below:
        # The first directory on the way down decides, and of several mounts on it the last.
        shortest = min(len(each.point) for each in below) if found else max(len(each.point) for each in below)
        found = next(each for each in reversed(below) if len(each.point) == shortest)
        left = [each for each in left if each.number != found.number]
        below = [each for each in left if each.parent == found.number]
    return found


def holds(point: str, path: str) -> bool:
    """Return whether a real path is a mount point or below it."""
    return path == point or path.startswith(point.rstrip("/") + "/")
