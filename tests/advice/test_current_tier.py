"""Where a dataset is now: the mount table and /sys of many kinds of machines, and what each is taken for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machines import Machine
from tiering.advice.catalog import load_catalog
from tiering.advice.current_tier import current_tier
from tiering.system.disks import storage_of

CATALOG = load_catalog()
ROOT = "20 1 {device} / / rw,relatime shared:1 - {kind} {source} rw\n"


def seen(tmp_path, machine, catalog=CATALOG):
    """What is seen of a directory that exists here, on another machine."""
    (tmp_path / "photos").mkdir(exist_ok=True)
    return current_tier(str(tmp_path / "photos"), catalog, machine.root)


def on_root(tmp_path, kind="ext4", source="/dev/root", device="8:1"):
    return Machine(tmp_path / "machine", ROOT.format(device=device, kind=kind, source=source))


@pytest.mark.parametrize(
    ("kind", "source", "tier"),
    [
        ("tmpfs", "tmpfs", "dram"),
        ("nfs4", "filer:/export/photos", "nfs"),
        ("cifs", "//server/share\\040of\\040ours", "nfs"),
        ("lustre", "10.0.0.1@o2ib:10.0.0.2@o2ib:/scratch", "parallel-fs"),
        ("gpfs", "gpfs0", "parallel-fs"),
        ("beegfs", "beegfs_nodev", "parallel-fs"),
        ("ceph", "10.1.1.1:6789:/volumes", "parallel-fs"),
        ("wekafs", "backend/default", "parallel-fs"),
        ("fuse.ceph-fuse", "ceph-fuse", "parallel-fs"),
        ("fuse.gcsfuse", "my-bucket", "object"),
        ("fuse.mount-s3", "mountpoint-s3", "object"),
        ("fuse.sshfs", "me@host:/data", "nfs"),
    ],
)
def test_a_file_system_without_a_disk_says_what_it_is(tmp_path, kind, source, tier):
    found = seen(tmp_path, on_root(tmp_path, kind, source, "0:44"))
    assert found.tier == tier
    assert kind in found.note
    assert found.note.endswith(f": taken as {tier}; `current` changes that.")


@pytest.mark.parametrize(
    ("disk", "tier", "word"),
    [
        ({"name": "nvme0n1", "model": "SAMSUNG MZQL23T8HCLS-00A07"}, "nvme", "taken as nvme"),
        ({"name": "nvme1n1", "model": "Amazon EC2 NVMe Instance Storage"}, "nvme", "taken as nvme"),
        ({"name": "nvme1n1", "model": "Microsoft NVMe Direct Disk v2"}, "nvme", "taken as nvme"),
        ({"name": "nvme3n1", "model": "nvme_card2"}, "nvme", "taken as nvme"),
        ({"name": "nvme1n1", "model": "Amazon Elastic Block Store"}, None, "a volume behind a network"),
        ({"name": "nvme0n1", "model": "nvme_card-pd"}, None, "a volume behind a network"),
        ({"name": "nvme0n1", "model": "MSFT NVMe Accelerator v1.0"}, None, "a volume behind a network"),
        ({"name": "sdb", "vendor": "Google", "model": "PersistentDisk"}, None, "a volume behind a network"),
        ({"name": "sdb", "vendor": "Google", "model": "EphemeralDisk"}, "sata-ssd", "taken as sata-ssd"),
        ({"name": "nvme2n1", "model": "Linux", "bus": "virtual/nvme-fabrics/ctl/nvme2"}, None, "behind a network"),
        ({"name": "sda", "vendor": "ATA", "model": "INTEL SSDSC2KB03"}, "sata-ssd", "taken as sata-ssd"),
        ({"name": "sda", "vendor": "ATA", "model": "WDC WD201KFGX", "rotational": 1}, "hdd", "taken as hdd"),
        ({"name": "sdc", "vendor": "LIO-ORG", "bus": "platform/host7/session1/target7:0:0"}, None, "behind a network"),
        ({"name": "sda", "vendor": "QEMU", "model": "QEMU HARDDISK", "rotational": 1}, None, "a virtual disk"),
        ({"name": "sda", "vendor": "Msft", "model": "Virtual Disk"}, None, "a virtual disk"),
        ({"name": "vda", "vendor": "0x1af4", "rotational": 1}, None, "a virtual disk"),
        ({"name": "xvdb"}, None, "a virtual disk"),
        ({"name": "rbd0", "bus": "rbd/0"}, None, "behind a network"),
        ({"name": "mmcblk0", "model": "SD64G"}, None, "is not known"),
    ],
)
def test_a_disk_is_known_by_its_name_its_model_and_its_bus(tmp_path, disk, tier, word):
    machine = on_root(tmp_path, source=f"/dev/{disk['name']}").disk(number="8:1", **disk)
    found = seen(tmp_path, machine)
    assert found.tier == tier
    assert word in found.note
    assert f"/dev/{disk['name']}" in found.note
    if tier is None:
        assert f"tiering probe {tmp_path / 'photos'} -o tier.toml" in found.note


def test_the_disk_is_found_through_partitions_volumes_and_raids(tmp_path):
    machine = on_root(tmp_path, "xfs", "/dev/mapper/data-photos", "253:0")
    machine.disk("sda", "8:0", rotational=1, model="ST20000NM").disk("sdb", "8:16", rotational=1, model="ST20000NM")
    machine.partition("sda", "sda1", "8:1").partition("sdb", "sdb1", "8:17")
    machine.stacked("md0", "9:0", "sda1", "sdb1").stacked("dm-0", "253:0", "md0")
    found = seen(tmp_path, machine)
    assert found.tier == "hdd"
    assert "/dev/mapper/data-photos (xfs, on /dev/sda, /dev/sdb)" in found.note


def test_a_file_system_on_several_kinds_of_disks_is_as_slow_as_the_slowest(tmp_path):
    machine = on_root(tmp_path, "btrfs", "/dev/nvme0n1p1", "0:29")
    machine.disk("nvme0n1", "259:0").partition("nvme0n1", "nvme0n1p1", "259:1").disk("sda", "8:0")
    machine.btrfs("nvme0n1p1", "sda")
    # The source is a path of this machine, where there is no such device, so its name counts.
    assert seen(tmp_path, machine).tier == "sata-ssd"


def test_zfs_does_not_show_its_disks(tmp_path):
    found = seen(tmp_path, on_root(tmp_path, "zfs", "tank/photos", "0:40"))
    assert found.tier is None
    assert "tank/photos (zfs)" in found.note


OVERLAY = "20 1 0:50 / / rw - overlay overlay rw,lowerdir=/var/lib/l1:/var/lib/l2,upperdir={upper},workdir=/w\n"


def test_below_an_overlay_is_the_device_of_its_upper_directory(tmp_path):
    upper = tmp_path / "upper"
    upper.mkdir()
    table = OVERLAY.format(upper=upper) + f"21 20 259:1 / {upper} rw - ext4 /dev/nvme0n1p1 rw\n"
    machine = Machine(tmp_path / "machine", table).disk("nvme0n1", "259:0")
    machine.partition("nvme0n1", "nvme0n1p1", "259:1")
    found = seen(tmp_path, machine)
    assert found.tier == "nvme"
    assert "/dev/nvme0n1p1 (ext4, below overlay)" in found.note


def test_in_a_container_the_layer_below_may_be_out_of_sight(tmp_path):
    table = OVERLAY.format(upper="/var/lib/docker/overlay2/1f/diff")
    found = seen(tmp_path, Machine(tmp_path / "machine", table))
    assert found.tier is None
    assert "/var/lib/docker/overlay2/1f/diff, cannot be seen from here" in found.note


def test_an_image_on_a_loop_device_is_where_its_file_is(tmp_path):
    image = tmp_path / "photos.squashfs"
    image.write_bytes(b"")
    table = (
        f"20 1 254:0 / / rw - ext4 /dev/vda rw\n21 20 7:3 / {tmp_path / 'photos'} ro - squashfs /dev/loop3 ro\n"
        f"22 20 0:60 / {image} rw - lustre mds@tcp:/work rw\n"
    )
    machine = Machine(tmp_path / "machine", table).loop("loop3", "7:3", image)
    found = seen(tmp_path, machine)
    assert found.tier == "parallel-fs"
    assert "mds@tcp:/work (lustre, below loop3)" in found.note


def test_circles_end(tmp_path):
    image = tmp_path / "photos" / "image"
    image.parent.mkdir()
    image.write_bytes(b"")
    machine = on_root(tmp_path, source="/dev/loop0", device="7:0").loop("loop0", "7:0", image)
    assert seen(tmp_path, machine).tier is None


def test_a_bucket_is_an_object_store_and_a_web_server_is_not():
    for url in ("s3://bucket/photos", "gs://bucket", "az://container/photos"):
        assert current_tier(url, CATALOG).tier == "object"
    assert current_tier("https://host/photos.tar", CATALOG) is None
    assert "secret" not in current_tier("s3://me:secret@bucket/photos", CATALOG).note


def test_nothing_is_seen_of_what_is_elsewhere(tmp_path):
    assert current_tier(str(tmp_path / "elsewhere"), CATALOG) is None
    (tmp_path / "photos").mkdir()
    (tmp_path / "empty").mkdir()
    assert current_tier(str(tmp_path / "photos"), CATALOG, tmp_path / "empty") is None


def test_a_class_that_the_catalog_lacks_is_said(tmp_path):
    found = seen(tmp_path, on_root(tmp_path, "lustre", "m:/s", "0:44"), [tier for tier in CATALOG if tier.is_local])
    assert found.tier is None
    assert "like parallel-fs, which the catalog lacks" in found.note


def test_a_tier_that_was_measured_there_comes_before_any_class(tmp_path):
    mine = CATALOG[0].model_copy(update={"name": "mine", "measured_at": "/"})
    bucket = CATALOG[0].model_copy(update={"name": "ours", "measured_at": "s3://bucket"})
    catalog = [mine, *CATALOG, bucket]
    found = seen(tmp_path, on_root(tmp_path, "nfs4", "filer:/a", "0:44"), catalog)
    assert found.tier == "mine"
    assert "filer:/a (nfs4)" in found.note
    assert "measured there, as mine" in found.note
    assert current_tier("s3://bucket/photos", catalog).tier == "ours"
    assert current_tier("s3://bucket2/photos", catalog).tier == "object"


@pytest.fixture
def loop_mount(tmp_path):
    """A real file system on a real loop device over a file."""
    if os.geteuid() != 0:
        pytest.fail("loop devices are tested by root: run the tests as root, in a container of their own")
    image, point = tmp_path / "image", tmp_path / "mnt"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    yield point
    subprocess.run(["umount", point], check=True)


def test_this_machines_own_loop_devices_are_followed_to_its_disk(loop_mount):
    found, below = storage_of(loop_mount), storage_of(loop_mount.parent)
    assert found.mount.point == str(loop_mount)
    assert found.layers[0].startswith("loop")
    assert (found.bottom, found.disks) == (below.bottom, below.disks)


def test_a_real_overlay_is_followed_to_its_upper_directory(tmp_path):
    script = """
import sys
from tiering.system.disks import storage_of
found = storage_of(sys.argv[1])
print(found.mount.kind, found.bottom.kind, *found.layers)
"""
    setup = """
cd "$1"
mount -t tmpfs u u
mkdir u/up u/work
mount -t overlay -o "lowerdir=$1/l,upperdir=$1/u/up,workdir=$1/u/work" o m
exec "$2" -c "$3" "$1/m"
"""
    for name in "lum":
        (tmp_path / name).mkdir()
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    done = subprocess.run(
        [*namespace, "sh", "-ec", setup, "sh", str(tmp_path), sys.executable, script],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["overlay", "tmpfs", "overlay"]
