"""The tier that holds a dataset now, seen from the mount table of this machine or from the scheme of its URL.

A file system in memory, behind a network or on a disk whose kind shows maps to a class of the catalog. A disk that
a hypervisor or a cloud provides does not show what is behind it, so it maps to none, and the note says so. A tier that
`tiering probe` measured on the same mount, or in the same bucket, has better figures than any class and comes first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tiering.advice.catalog import find_tier
from tiering.advice.tier import Tier
from tiering.errors import command
from tiering.storage.bucket import AZURE, GOOGLE, S3
from tiering.system.disks import Disk, Storage, storage_of
from tiering.text import display, first_few, without_secrets

_ROOT: Final = Path("/")
_OBJECT_STORES: Final = (*S3, *GOOGLE, *AZURE)
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class CurrentTier:
    """Where a dataset is now.

    Attributes:
        tier: Name of a tier in the catalog; None if none can be told from here.
        note: What was seen and what it was taken for, in a sentence or two.
    """

    tier: str | None
    note: str


#: The class of a file system without a disk of its own, by the kernel's name for its type.
_BY_FILE_SYSTEM: Final = {
    **dict.fromkeys(("tmpfs", "ramfs", "hugetlbfs"), "dram"),
    **dict.fromkeys(("nfs", "nfs3", "nfs4", "cifs", "smb", "smb3", "smbfs", "afs", "fuse.sshfs"), "nfs"),
    **dict.fromkeys(("lustre", "gpfs", "beegfs", "ceph", "wekafs", "panfs", "orangefs", "pvfs2"), "parallel-fs"),
    **dict.fromkeys(("glusterfs", "ocfs2", "gfs2"), "parallel-fs"),
    **dict.fromkeys(("fuse.glusterfs", "fuse.beegfs", "fuse.ceph-fuse", "fuse.dfuse"), "parallel-fs"),
    **dict.fromkeys(("fuse.s3fs", "fuse.rclone", "fuse.goofys", "fuse.mount-s3", "fuse.gcsfuse"), "object"),
    **dict.fromkeys(("fuse.blobfuse2", "fuse.juicefs"), "object"),
}

#: Models of volumes behind a network that look like local disks: Amazon EBS; Google's Persistent Disk and Hyperdisk;
#: Azure's remote disks. Their local disks are "Amazon EC2 NVMe Instance Storage", "nvme_card0" or "EphemeralDisk", and
#: "Microsoft NVMe Direct Disk".
_CLOUD_VOLUMES: Final = ("Amazon Elastic Block Store", "PersistentDisk", "nvme_card-pd", "MSFT NVMe Accelerator")
_LOCAL_SSDS: Final = ("EphemeralDisk",)

#: Disks that a hypervisor makes up, by name of the device and by model. What is behind them cannot be seen.
_VIRTUAL_NAMES: Final = ("vd", "xvd")
_VIRTUAL_MODELS: Final = ("QEMU", "VMware", "Msft", "Virtual", "VBOX", "Xen", "Google", "ORCL-VBOX", "NUTANIX", "RHEV")

#: Block devices whose data come over a network: by name, and by the bus in /sys/devices.
_NETWORK_NAMES: Final = ("nbd", "rbd", "drbd")
_NETWORK_BUSES: Final = ("/session", "nvme-fabrics", "/rport-")

#: Slowest first: a file system on several kinds of disks is as slow as the slowest.
_SLOWEST_FIRST: Final = ("hdd", "sata-ssd", "nvme", "dram")


def current_tier(location: str, tiers: Sequence[Tier], root: Path = _ROOT) -> CurrentTier | None:
    """Return the tier that holds a dataset now; None if nothing can be seen of it from here.

    Args:
        location: Directory or file of the dataset, or its URL.
        tiers: The catalog.
        root: The directory that holds /proc and /sys; a test can use another one.

    Example:
        >>> current_tier("s3://bucket/photos", load_catalog()).tier  # doctest: +SKIP
        'object'
    """
    if "://" in location:
        return _of_url(location, tiers)
    path = os.path.realpath(location)
    found = storage_of(path, root) if os.path.lexists(path) else None
    if found is None:
        return None
    where = f"{display(path)} is on {in_words(found)}"
    if measured := _measured_at(found.mount.point, tiers):
        return _measured(where, measured)
    name, doubt = _class_of(found)
    if name is not None:
        return _taken(where, name, tiers)
    probe = command("tiering", "probe", path, "-o", "tier.toml")
    return CurrentTier(None, f"{where}. {doubt} Measure it with {probe}, and give that file as `tiers`.")


def storage_in_words(location: str) -> str | None:
    """Return the device or server that holds a path, and its file system, in words; None if they cannot be seen."""
    path = os.path.realpath(location)
    found = None if "://" in location or not os.path.lexists(path) else storage_of(path)
    return None if found is None else in_words(found)


def in_words(found: Storage) -> str:
    """Return the device or server of a storage, its file system, and the disks and layers around it, in words."""
    bottom, names = found.bottom, [f"/dev/{disk.name}" for disk in found.disks]
    kind = [bottom.kind]
    source = "" if bottom.source in ("", "none", bottom.kind) else display(bottom.source)
    if source and any(not source.startswith(name) for name in names):
        kind.append(f"on {first_few(names, _SHOWN, separator=', ')}")
    if found.layers and not found.hidden:
        kind.append(f"below {' and '.join(found.layers)}")
    device = source or first_few(names, _SHOWN, separator=", ")
    return f"{device} ({', '.join(kind)})" if device else ", ".join(kind)


def _of_url(url: str, tiers: Sequence[Tier]) -> CurrentTier | None:
    scheme, _, rest = url.partition("://")
    if scheme not in _OBJECT_STORES:
        return None
    where = f"{without_secrets(url)} is in an object store"
    bucket = f"{scheme}://{rest.partition('/')[0]}"
    if measured := _measured_at(bucket, tiers):
        return _measured(where, measured)
    return _taken(where, "object", tiers)


def _measured_at(place: str, tiers: Sequence[Tier]) -> str | None:
    """Return the name of the last tier of the catalog that was measured at a mount point or in a bucket."""
    return next((tier.name for tier in reversed(tiers) if tier.measured_at == place), None)


def _measured(where: str, name: str) -> CurrentTier:
    return CurrentTier(name, f"{where}; the figures are those that tiering probe measured there, as {name}.")


def _taken(where: str, name: str, tiers: Sequence[Tier]) -> CurrentTier:
    if find_tier(tiers, name) is None:
        return CurrentTier(None, f"{where}: it is like {name}, which the catalog lacks.")
    return CurrentTier(name, f"{where}: taken as {name}; `current` changes that.")


def _class_of(found: Storage) -> tuple[str | None, str]:
    """Return the class of a storage, or None and a sentence that says why none can be told."""
    if found.hidden:
        return None, f"The layer below it, {display(found.hidden)}, cannot be seen from here."
    if name := _BY_FILE_SYSTEM.get(found.bottom.kind):
        return name, ""
    if not found.disks:
        return None, "The file system does not show which disks it uses."
    if doubt := next(filter(None, map(_doubt, found.disks)), ""):
        return None, doubt
    names = {_class_of_disk(disk) for disk in found.disks}
    return next(name for name in _SLOWEST_FIRST if name in names), ""


def _doubt(disk: Disk) -> str:
    """Return a sentence that says why the kind of a disk cannot be told; "" if it can."""
    device = f"/dev/{disk.name}"
    if any(model in disk.model for model in _CLOUD_VOLUMES):
        return f"{device} is a volume behind a network ({disk.model})."
    if disk.name.startswith(_NETWORK_NAMES) or any(bus in f"/{disk.bus}" for bus in _NETWORK_BUSES):
        return f"{device} is behind a network."
    if any(model in disk.model for model in _LOCAL_SSDS):
        return ""
    if disk.name.startswith(_VIRTUAL_NAMES) or disk.model.startswith(_VIRTUAL_MODELS):
        return f"{device} is a virtual disk, which does not show what is behind it."
    return f"The kind of {device} is not known." if _class_of_disk(disk) is None else ""


def _class_of_disk(disk: Disk) -> str | None:
    if disk.name.startswith("nvme"):
        return "nvme"
    if disk.name.startswith(("ram", "zram")):
        return "dram"
    if disk.name.startswith("sd") and disk.rotational is not None:
        local_ssd = any(model in disk.model for model in _LOCAL_SSDS)
        return "hdd" if disk.rotational and not local_ssd else "sata-ssd"
    return None
