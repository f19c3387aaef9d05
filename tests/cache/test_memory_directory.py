"""The level in memory leaves space to PyTorch's workers, and reports how much it can use. Real mounts and groups."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import tiering
from tests.control_groups import control_group
from tests.once import photographs

MIB = 1 << 20


@pytest.fixture(scope="module")
def lmdb(photos, tmp_path_factory):
    place = tmp_path_factory.mktemp("memory") / "photos.lmdb"
    tiering.convert(photos, place, "lmdb", workers=1)
    return place


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """2,000 images, 12 MB."""
    place = tmp_path_factory.mktemp("memory") / "photos.lmdb"
    tiering.convert(photographs(tmp_path_factory, 2000, classes=5), place, "lmdb", shards=tiering.Shards(4 << 20))
    return place


def in_shm(script: str, *words: object, options: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a script with a file system of its own at /dev/shm, in a mount namespace of its own."""
    mount = f'mount -t tmpfs -o {options} tmpfs /dev/shm && exec "$@"'
    command = ["unshare", "--mount", *prefix, "sh", "-c", mount, "sh", sys.executable, "-W", "always", "-c", script]
    if os.geteuid() != 0:
        pytest.fail("mounts are made by root: run the tests as root, in a container of their own")
    return subprocess.run([*command, *map(str, words)], capture_output=True, text=True, timeout=200, check=False)


EPOCHS = """
import sys, torch, tiering
from torch.utils.data import DataLoader
from tiering.serve.torch import EpochDataset
def picture(sample):
    return torch.zeros(3, 64, 64)  # 49 kB
if __name__ == "__main__":
    store = tiering.cached(sys.argv[1], "1MiB", sys.argv[2], ram=sys.argv[3])
    dataset = EpochDataset(store, 16, transform=picture)
    for epoch in range(2):
        dataset.set_epoch(epoch)
        samples = sum(len(images) for images, _ in DataLoader(dataset, batch_size=None, num_workers=2))
        print(samples)
    used = store.memory.used_bytes()
    assert used > 1 << 20, used
"""


@pytest.mark.slow
def test_two_epochs_with_workers_fit_in_a_small_dev_shm(larger, tmp_path):
    done = in_shm(EPOCHS, larger, tmp_path / "cache", "1GB", options="size=16m")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2000", "2000"]
    assert "`ram` asks for 1 GB, but only 8." in done.stderr
    assert "/dev/shm/tiering-" in done.stderr


OPEN = """
import sys, tiering
from tiering.errors import MachineError
try:
    store = tiering.cached(sys.argv[1], "1MiB", sys.argv[2], ram=sys.argv[3])
    print(store.capacity)
except MachineError as error:
    print(error)
"""


def test_a_full_dev_shm_is_an_error_that_names_it(lmdb, tmp_path):
    fill = "open('/dev/shm/full', 'wb').write(bytes(4 << 20))\n"
    done = in_shm(fill + OPEN, lmdb, tmp_path / "cache", "64MB", options="size=4m")
    assert done.stdout.startswith("/dev/shm/tiering-"), done.stderr
    assert "no space left on device" in done.stdout
    assert "Leave out `ram`, or give the file system more space" in done.stdout


def test_a_read_only_dev_shm_is_an_error_that_names_it(lmdb, tmp_path):
    done = in_shm(OPEN, lmdb, tmp_path / "cache", "64MB", options="size=4m,ro")
    assert done.stdout.startswith("/dev/shm/tiering-"), done.stderr
    assert "read-only file system" in done.stdout


def test_the_limit_of_a_control_group_bounds_the_level_in_memory(lmdb, tmp_path):
    with control_group(memory=256 * MIB) as prefix:
        done = in_shm(OPEN, lmdb, tmp_path / "cache", "1GB", options="size=4g", prefix=tuple(prefix))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 130 * MIB
    assert "in its control group's memory" in done.stderr
