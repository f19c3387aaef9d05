"""How many processors and how much memory: what control groups leave of the machine, in real groups and in trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.control_groups import control_group, run_python
from tiering.system.control_groups import MemoryBound, memory_bound, processor_share
from tiering.system.machine import half_of_memory, usable_cores, usable_memory

MIB = 1 << 20
GIB = 1 << 30
SAY = "from tiering.system.machine import *; print(usable_cores(), usable_memory(), half_of_memory())"
UNLIMITED_V1 = 9223372036854771712


def test_a_real_group_bounds_processors_and_memory():
    with control_group(memory=512 * MIB, cpus=0.5) as prefix:
        assert run_python(prefix, SAY).split() == ["1", str(512 * MIB), str(256 * MIB)]


def test_a_real_group_is_bound_by_the_one_above():
    with control_group(memory=600 * MIB, cpus=1.5, levels=3) as prefix:
        cores = min(2, len(os.sched_getaffinity(0)))
        assert run_python(prefix, SAY).split() == [str(cores), str(600 * MIB), str(300 * MIB)]


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2_MOUNT = "35 24 0:29 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
OVERLAY = "600 500 0:50 / / rw,relatime master:3 - overlay overlay rw,lowerdir=/var/lib/x,upperdir=/var/lib/y\n"


def v2_pod(**levels: str) -> dict[str, str]:
    """A process three groups deep, as systemd and Kubernetes place it, seen from the host."""
    pod = "sys/fs/cgroup/kubepods.slice/kubepods-pod7.slice"
    return {
        "proc/self/cgroup": "0::/kubepods.slice/kubepods-pod7.slice/cri-containerd-1f.scope\n",
        "proc/self/mountinfo": OVERLAY + V2_MOUNT,
        f"{pod}/cri-containerd-1f.scope/memory.max": levels.get("own", "max\n"),
        f"{pod}/cri-containerd-1f.scope/memory.current": f"{300 * MIB}\n",
        f"{pod}/cri-containerd-1f.scope/memory.stat": f"anon 1\nfile 2\ninactive_file {100 * MIB}\n",
        f"{pod}/cri-containerd-1f.scope/cpu.max": levels.get("cpu", "max 100000\n"),
        f"{pod}/memory.max": levels.get("pod", "max\n"),
        f"{pod}/memory.current": f"{500 * MIB}\n",
        f"{pod}/cpu.max": levels.get("pod_cpu", "max 100000\n"),
        "sys/fs/cgroup/kubepods.slice/memory.max": "max\n",
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids\n",
    }


def test_version_2_no_limit_is_none(tmp_path):
    root = tree(tmp_path, v2_pod())
    assert memory_bound(root) is None
    assert processor_share(root) is None
    assert usable_memory(root) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_version_2_the_tightest_level_counts_and_droppable_pages_are_free(tmp_path):
    root = tree(
        tmp_path, v2_pod(own=f"{GIB}\n", pod=f"{700 * MIB}\n", cpu="250000 100000\n", pod_cpu="120000 100000\n")
    )
    assert memory_bound(root) == MemoryBound(limit=700 * MIB, free=200 * MIB)
    assert processor_share(root) == 1.2
    assert half_of_memory(root) == 350 * MIB


def test_version_2_a_soft_limit_counts_too(tmp_path):
    files = v2_pod(own=f"{GIB}\n")
    files["sys/fs/cgroup/kubepods.slice/memory.high"] = f"{GIB // 2}\n"
    assert usable_memory(tree(tmp_path, files)) == GIB // 2


def test_version_2_in_a_namespace_the_group_is_the_mounts_root(tmp_path):
    files = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": OVERLAY + V2_MOUNT,
        "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory.current": "0\n",
        "sys/fs/cgroup/cpu.max": "50000 100000\n",
    }
    root = tree(tmp_path, files)
    assert (usable_memory(root), usable_cores(root)) == (2 * GIB, 1)


def v1_docker(path: str, mounted: str) -> dict[str, str]:
    mounts = "".join(
        f"{number} 31 0:{number} {mounted} /sys/fs/cgroup/{name} ro,nosuid,nodev,noexec - cgroup cgroup rw,{name}\n"
        for number, name in ((40, "memory"), (41, "cpu,cpuacct"))
    )
    inside = f"{path}/".removeprefix(mounted.rstrip("/")).strip("/")
    return {
        "proc/self/cgroup": f"11:memory:{path}\n4:cpu,cpuacct:{path}\n1:name=systemd:{path}\n0::/\n",
        "proc/self/mountinfo": OVERLAY + mounts,
        f"sys/fs/cgroup/memory/{inside}/memory.limit_in_bytes": f"{2 * GIB}\n",
        f"sys/fs/cgroup/memory/{inside}/memory.usage_in_bytes": f"{GIB}\n",
        f"sys/fs/cgroup/memory/{inside}/memory.stat": "inactive_file 5\ntotal_inactive_file 1024\n",
        f"sys/fs/cgroup/cpu,cpuacct/{inside}/cpu.cfs_quota_us": "110000\n",
        f"sys/fs/cgroup/cpu,cpuacct/{inside}/cpu.cfs_period_us": "100000\n",
    }


@pytest.mark.parametrize("mounted", ["/", "/docker/4e2", "/docker"])
def test_version_1_whatever_part_of_the_hierarchy_is_mounted(tmp_path, mounted):
    root = tree(tmp_path, v1_docker("/docker/4e2", mounted))
    assert memory_bound(root) == MemoryBound(limit=2 * GIB, free=GIB + 1024)
    assert processor_share(root) == 1.1


def test_version_1_no_limit_is_a_huge_number_and_no_quota_is_minus_one(tmp_path):
    files = v1_docker("/docker/4e2", "/")
    files["sys/fs/cgroup/memory/docker/4e2/memory.limit_in_bytes"] = f"{UNLIMITED_V1}\n"
    files["sys/fs/cgroup/cpu,cpuacct/docker/4e2/cpu.cfs_quota_us"] = "-1\n"
    root = tree(tmp_path, files)
    assert processor_share(root) is None
    assert usable_memory(root) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_version_1_tells_of_levels_that_the_mount_does_not_show(tmp_path):
    files = v1_docker("/docker/4e2", "/docker/4e2")
    files["sys/fs/cgroup/memory//memory.stat"] = f"hierarchical_memory_limit {GIB // 4}\ntotal_inactive_file 0\n"
    assert usable_memory(tree(tmp_path, files)) == GIB // 4


def test_both_versions_at_once_each_count(tmp_path):
    files = v1_docker("/docker/4e2", "/")
    files["proc/self/mountinfo"] += V2_MOUNT.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    files["proc/self/cgroup"] = files["proc/self/cgroup"].replace("0::/", "0::/docker/4e2")
    files["sys/fs/cgroup/unified/docker/4e2/memory.max"] = f"{GIB}\n"
    assert usable_memory(tree(tmp_path, files)) == GIB


@pytest.mark.parametrize("name", ["proc/self/cgroup", "proc/self/mountinfo"])
@pytest.mark.parametrize("text", ["", "garbage\n", "0::/../../..\n", "1 2 3 - cgroup2\n", "\0\xff:::\n"])
def test_what_cannot_be_read_is_no_limit(tmp_path, name, text):
    root = tree(tmp_path, v2_pod(own=f"{GIB}\n") | {name: text})
    assert memory_bound(root) is None
    assert usable_cores(root) == len(os.sched_getaffinity(0))


def test_a_path_outside_of_the_mount_is_never_left_for_another_directory(tmp_path):
    files = v2_pod(own=f"{GIB}\n") | {"proc/self/cgroup": "0::/../other/group\n"}
    files["sys/fs/other/group/memory.max"] = "1\n"
    files["sys/fs/cgroup/memory.max"] = f"{3 * GIB}\n"
    assert usable_memory(tree(tmp_path, files)) == 3 * GIB
