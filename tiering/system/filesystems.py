"""What kind of file system a path lies on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tiering.system.mountinfo import mounts_of

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
    """Return the kind of file system that a path lies on, as the kernel names it; None where the system does not say.

    mounts: contents of /proc/self/mountinfo (proc_pid_mountinfo(5)); the system's own by default. Of all mounts that
    the path lies below, the one with the longest mount point holds it, and of equals the last.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return None
    place = os.path.realpath(path)
    best, kind = -1, None
    for mount in mounts_of(mounts):
        inside = place == mount.point or place.startswith(mount.point.rstrip("/") + "/")
        if inside and len(mount.point) >= best:
            best, kind = len(mount.point), mount.kind
    return kind
