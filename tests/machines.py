"""Directories with the /proc and /sys of other machines: a mount table, and the disks behind it, as sysfs lays them out."""

from __future__ import annotations

from pathlib import Path

PCI = "pci0000:00/0000:00:1f.2"


class Machine:
    """The /proc and /sys of a machine, below a directory. Add disks first, and then what is made of them."""

    def __init__(self, root: Path, mounts: str) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/mountinfo").write_text(mounts)
        for name in ("sys/class/block", "sys/dev/block", "sys/fs/btrfs"):
            (root / name).mkdir(parents=True)

    def disk(self, name, number, *, model="", vendor="", rotational=0, bus=PCI):
        return self._device(f"{bus}/block/{name}", number, rotational, {"vendor": vendor, "model": model})

    def partition(self, disk, name, number):
        where = (self.root / "sys/class/block" / disk).resolve() / name
        self._link(where, number)
        (where / "partition").write_text("1\n")
        return self

    def stacked(self, name, number, *below, rotational=0):
        """A mapped device (dm-0) or a RAID (md0) over others."""
        self._device(f"virtual/block/{name}", number, rotational, {})
        slaves = self.root / "sys/devices/virtual/block" / name / "slaves"
        slaves.mkdir()
        for each in below:
            (slaves / each).symlink_to((self.root / "sys/class/block" / each).resolve())
        return self

    def loop(self, name, number, file):
        self._device(f"virtual/block/{name}", number, 1, {})
        where = self.root / "sys/devices/virtual/block" / name / "loop"
        where.mkdir()
        (where / "backing_file").write_text(f"{file}\n")
        return self

    def btrfs(self, *devices):
        where = self.root / "sys/fs/btrfs/11111111-2222/devices"
        where.mkdir(parents=True)
        for each in devices:
            (where / each).symlink_to((self.root / "sys/class/block" / each).resolve())
        return self

    def _device(self, path, number, rotational, texts):
        where = self.root / "sys/devices" / path
        (where / "queue").mkdir(parents=True)
        (where / "queue/rotational").write_text(f"{rotational}\n")
        (where / "device").mkdir()
        for name, text in texts.items():
            if text:
                (where / "device" / name).write_text(f"{text:<16}\n")
        self._link(where, number)
        return self

    def _link(self, where, number):
        where.mkdir(parents=True, exist_ok=True)
        (self.root / "sys/class/block" / where.name).symlink_to(where)
        (self.root / "sys/dev/block" / number).symlink_to(where)
