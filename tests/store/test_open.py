"""The warning about network file systems."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

import tiering
from tiering.system.mounts import NETWORK, filesystem_of

MOUNTS = r"""22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
30 22 0:26 / /mnt rw - tmpfs tmpfs rw
31 30 0:44 / /mnt/lab\040data rw,relatime shared:5 - nfs4 server:/export rw,vers=4.2
32 30 0:45 / /mnt/over rw - ext4 /dev/vdb rw
33 30 0:46 / /mnt/over rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/store", "ext4"),
        ("/mnt/x", "tmpfs"),
        ("/mnt/lab data/photos.lmdb", "nfs4"),
        ("/mnt/lab dataset", "tmpfs"),
        ("/mnt/over/x", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_latest_mount_decides(path, kind):
    assert filesystem_of(Path(path), MOUNTS) == kind


def test_this_machines_own_mounts_are_understood(tmp_path):
    assert filesystem_of(tmp_path) is not None
    assert filesystem_of(Path("/proc/self")) == "proc"
    assert filesystem_of(tmp_path, "") is None


def test_a_store_on_a_local_disk_opens_without_a_word(packed):
    if filesystem_of(packed) in NETWORK:
        pytest.fail(f"{os.fspath(packed)} lies on a network file system: run the tests on a local disk")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiering.open_store(packed).close()
