"""The disks behind a path: through bind mounts, overlays, loop devices, partitions, volume managers and RAIDs.

/proc/self/mountinfo has the device of a mount. In /sys/dev/block that device has an entry, which leads to its disk: a
partition lies in the directory of its disk, `slaves` lists the devices below a mapped or striped one, and
loop/backing_file names the file behind a loop device, which is on a mount in turn. See sysfs-block in the kernel's ABI
documents. Nothing is opened: the entries of /sys suffice, and need no rights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tiering.system.mounts import Mount, mount_of, mount_table

_ROOT: Final = Path("/")

#: Overlays and loop devices may be stacked. The bound ends the search in a table that leads back to itself.
_MOST_LAYERS: Final = 16


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk without another device of the kernel below it.

    Attributes:
        name: The kernel's name, such as "nvme0n1".
        model: Vendor and model, as the disk reports them; "" if it does not.
        rotational: What the kernel believes; None if it does not say.
        bus: Path of the device below /sys/devices, which names the bus.
    """

    name: str
    model: str
    rotational: bool | None
    bus: str


@dataclass(frozen=True, slots=True)
class Storage:
    """The storage that holds a path, as far as it can be seen from here.

    Attributes:
        mount: The mount that holds the path.
        bottom: The mount below overlays and loop devices; the same one without these.
        layers: Overlays and loop devices in between, from the top.
        hidden: Directory or file of the next layer that cannot be seen from here, as in a container; "" if all can.
        disks: The disks; empty for file systems that have none of their own, or do not tell.
    """

    mount: Mount
    bottom: Mount
    layers: tuple[str, ...]
    hidden: str
    disks: tuple[Disk, ...]


def storage_of(path: str | os.PathLike[str], root: Path = _ROOT) -> Storage | None:
    """Return the storage behind a path; None if its mount cannot be determined.

    root: the directory that holds /proc and /sys; a test can use another one.
    """
    table = mount_table(root)
    if table is None:
        return None
    top = bottom = mount_of(path, table)
    layers: list[str] = []
    while bottom is not None and top is not None:
        device = _device_of(bottom, root)
        layer, below = _layer(bottom, device, root)
        if not layer or len(layers) == _MOST_LAYERS:
            names = _several(bottom, device, root)
            disks = {disk.name: disk for name in names for disk in _disks(name, root)}
            return Storage(top, bottom, tuple(layers), "", tuple(disks.values()))
        layers.append(layer)
        if not below or not os.path.lexists(below):
            return Storage(top, bottom, tuple(layers), below or layer, ())
        bottom = mount_of(below, table)
    return None


def _layer(mount: Mount, device: str, root: Path) -> tuple[str, str]:
    """Return the name of an overlay or loop device, and the path that it is made from; two "" for anything else."""
    if mount.kind in ("overlay", "overlayfs", "aufs", "fuse.fuse-overlayfs", "fuse.overlayfs"):
        lowest = (mount.option("lowerdir") or "").split(":")[0]
        return mount.kind, mount.option("upperdir") or lowest
    # The partition of a loop device lies in the directory of that device.
    for entry in (_entry(device, root), _entry(device, root).parent) if device else ():
        if file := _text(entry / "loop/backing_file"):
            return entry.name, file
    return "", ""


def _device_of(mount: Mount, root: Path) -> str:
    """Return the kernel's name for the device of a mount; "" for a file system without one."""
    link = root / "sys/dev/block" / mount.device
    if link.exists():
        return link.resolve().name
    # btrfs, bcachefs and fuseblk have a number of their own, but name the device that was mounted.
    source = mount.source.split(":")[0]
    name = Path(os.path.realpath(source)).name if source.startswith("/dev/") else ""
    return name if name and _entry(name, root).exists() else ""


def _several(mount: Mount, device: str, root: Path) -> list[str]:
    """Return the devices of a file system; btrfs may have several."""
    if mount.kind == "btrfs":
        for each in (root / "sys/fs/btrfs").glob("*/devices"):
            names = sorted(entry.name for entry in each.iterdir())
            if device in names:
                return names
    return [device] if device else []


def _disks(name: str, root: Path, layers: int = 0) -> Iterator[Disk]:
    entry = _entry(name, root)
    below = sorted(path.name for path in entry.glob("slaves/*"))
    if below and layers < _MOST_LAYERS:
        for each in below:
            yield from _disks(each, root, layers + 1)
        return
    if (entry / "partition").exists():
        yield from _disks(entry.parent.name, root, layers + 1)
        return
    said = (_text(entry / "device" / name) for name in ("vendor", "model"))
    # A virtio disk has a PCI number as its vendor.
    model = " ".join(each for each in said if each and not each.startswith("0x"))
    turning = _text(entry / "queue/rotational")
    rotational = None if turning not in ("0", "1") else turning == "1"
    bus = str(entry).partition("/sys/devices/")[2]
    yield Disk(name, model, rotational, bus)


def _entry(name: str, root: Path) -> Path:
    return (root / "sys/class/block" / name.replace("/", "!")).resolve()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
