"""Control groups that a test makes for itself, in the version that the machine has."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tiering.system.mounts import mounts_of


@contextmanager
def control_group(memory: int | None = None, cpus: float | None = None, levels: int = 1) -> Iterator[list[str]]:
    """Make groups that bind memory (bytes) and processors, and give the command prefix that runs in them.

    levels: the limits are of the first, the command runs in the last of so many groups one below the other.
    """
    if os.geteuid() != 0:
        pytest.fail("control groups are tested by root: run the tests as root, in a container of their own")
    name = f"tiering-test-{uuid.uuid4().hex[:8]}"
    made: list[Path] = []
    inner: list[Path] = []
    mounts = ExitStack()
    try:
        for controller, settings in (("memory", _memory(memory)), ("cpu", _cpus(cpus))):
            if not settings:
                continue
            top, version = _mounted(controller, mounts)
            first = top / name
            for level in range(levels):
                made.append(first.joinpath(*["inner"] * level))
                made[-1].mkdir(exist_ok=True)
                if version == 2 and level < levels - 1:
                    (made[-1] / "cgroup.subtree_control").write_text(f"+{controller}")
            for file, value in settings[version].items():
                (first / file).write_text(value)
            inner.append(made[-1])
        joins = "".join(f"echo 0 >{path}/cgroup.procs; " for path in dict.fromkeys(inner))
        yield ["sh", "-ec", f'{joins}exec "$@"', "sh"]
    finally:
        for path in sorted(set(made), reverse=True):
            path.rmdir()
        mounts.close()


@contextmanager
def memory_group() -> Iterator[tuple[list[str], Callable[[int], None]]]:
    """Make a group without limits. Gives the command prefix that runs in it, and what holds its memory at so many bytes
    beside the anonymous memory in use: by memory.high, or in version 1, which lacks it, by a limit.
    """
    with ExitStack() as stack:
        top, version = _mounted("memory", stack)
        group = top / f"tiering-test-{uuid.uuid4().hex[:8]}"
        group.mkdir()
        stack.callback(_removed, group)

        def hold(size: int) -> None:
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            limit = size + int(stat["anon" if version == 2 else "rss"])
            (group / ("memory.high" if version == 2 else "memory.limit_in_bytes")).write_text(str(limit))

        yield ["sh", "-ec", f'echo 0 >{group}/cgroup.procs; exec "$@"', "sh"], hold


def _removed(group: Path) -> None:
    """Remove a group once the last of its processes has ended."""
    end = time.monotonic() + 30
    while (group / "cgroup.procs").read_text().strip() and time.monotonic() < end:
        time.sleep(0.05)
    group.rmdir()


def run_python(prefix: list[str], script: str, *words: object, **environment: str) -> str:
    """Run a script behind a prefix and return what it prints."""
    command = [*prefix, sys.executable, "-c", script, *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _memory(limit: int | None) -> dict[int, dict[str, str]]:
    if limit is None:
        return {}
    return {1: {"memory.limit_in_bytes": str(limit)}, 2: {"memory.max": str(limit)}}


def _cpus(count: float | None) -> dict[int, dict[str, str]]:
    if count is None:
        return {}
    quota = str(round(100_000 * count))
    return {1: {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": quota}, 2: {"cpu.max": f"{quota} 100000"}}


def _mounted(controller: str, stack: ExitStack) -> tuple[Path, int]:
    """Return where groups of a controller can be made, and the version. Mounts them where nobody has."""
    for mount in mounts_of(Path("/proc/self/mountinfo").read_text()):
        if mount.kind == "cgroup" and controller in mount.options:
            return Path(mount.point), 1
        if mount.kind == "cgroup2" and controller in (Path(mount.point) / "cgroup.controllers").read_text().split():
            (Path(mount.point) / "cgroup.subtree_control").write_text(f"+{controller}")
            return Path(mount.point), 2
    top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tiering-groups-")))
    if subprocess.run(["mount", "-t", "cgroup2", "none", top], check=False).returncode == 0:
        stack.callback(subprocess.run, ["umount", "-l", top], check=True)
        if controller in (top / "cgroup.controllers").read_text().split():
            (top / "cgroup.subtree_control").write_text(f"+{controller}")
            return top, 2
    pytest.fail(f"no control groups for {controller} are mounted here: section F cannot be tested on this machine")
