"""Who packs makes no difference: processes, threads, a Dask cluster, and any of them losing a worker."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

import tiering
from tests.trees import picture, put
from tiering.errors import MachineError
from tiering.packing.executors import end_if_unwanted, process_pool, run_tasks
from tiering.system.machine import usable_cores
from tiering.testing import tree

SHARD = 50_000


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """The store that one process makes."""
    place = tmp_path_factory.mktemp("whole") / "store"
    tiering.convert(photos, place, "zarr", shards=tiering.Shards(SHARD), workers=1)
    return tree(place)


def test_an_executor_of_the_callers_is_used_and_left_open(photos, tmp_path, whole):
    with ThreadPoolExecutor(3) as pool:
        tiering.convert(photos, tmp_path / "store", "zarr", shards=tiering.Shards(SHARD), workers=pool)
        assert pool.submit(int, 7).result() == 7
    assert tree(tmp_path / "store") == whole


def _children() -> list[int]:
    me = os.getpid()
    return [int(task) for task in Path(f"/proc/{me}/task/{me}/children").read_text().split()]


def test_a_worker_process_that_is_killed_costs_only_its_shard(photos, tmp_path, whole):
    before = set(_children())
    killed = []

    def kill_one(samples, of, size):
        if samples and not killed:
            workers = [child for child in set(_children()) - before if b"spawn_main" in _command(child)]
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    tiering.convert(photos, tmp_path / "store", "zarr", shards=tiering.Shards(SHARD), workers=2, progress=kill_one)
    assert killed
    assert tree(tmp_path / "store") == whole


@pytest.mark.parametrize("at", range(6))
def test_a_pool_that_breaks_while_a_task_is_submitted_loses_no_task(at):
    """A worker that dies is noticed at any moment: also by the call that hands over the next task."""
    submitted = []

    class Breaking(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            submitted.append(args)
            if len(submitted) == at + 1:
                raise BrokenExecutor
            return super().submit(fn, *args, **kwargs)

    done = list(run_tasks(lambda: Breaking(1), abs, range(8), ahead=2))
    assert sorted(set(done)) == list(range(8))


@pytest.mark.parametrize(
    ("images", "how", "processes"),
    [
        pytest.param(600, {"check": "decode"}, True, id="a second of work"),
        pytest.param(600, {"check": "decode", "workers": 1}, False, id="one is asked for"),
        pytest.param(600, {}, False, id="copied within a second"),
        pytest.param(200, {"workers": 2}, True, id="two are asked for"),
    ],
)
def test_processes_are_started_where_they_are_quicker_or_asked_for(tmp_path, images, how, processes):
    image = picture(8, 8, "PNG")
    for number in range(images):
        put(tmp_path / "data", f"{number % 2}/{number}.png", image)
    before, seen = set(_children()), []

    def look(samples, of, size):
        if samples:
            seen.append(any(b"spawn_main" in _command(child) for child in set(_children()) - before))

    tiering.convert(tmp_path / "data", tmp_path / "store", "lmdb", shards=tiering.Shards(8_000), progress=look, **how)
    assert len(seen) > 1
    assert seen[0] == (processes and (usable_cores() > 1 or how.get("workers") == 2))


def _command(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def _die(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_work_that_always_kills_its_worker_ends_in_an_error():
    with pytest.raises(MachineError, match="died several times"):
        list(run_tasks(lambda: process_pool(2, 4), _die, range(4), ahead=2))


def _logs_until_unwanted(log):
    while True:
        log.warning("words")
        end_if_unwanted()


def test_a_task_that_is_interrupted_leaves_no_lock_held():
    handler = logging.StreamHandler(io.StringIO())
    log = logging.getLogger(f"{__name__}.interrupted")
    log.propagate = False
    log.addHandler(handler)
    for _ in range(200):
        with suppress(KeyboardInterrupt), process_pool(1, 1) as pool:
            pool.submit(_logs_until_unwanted, log)
            time.sleep(0.001)
            raise KeyboardInterrupt
        assert handler.lock.acquire(timeout=60)
        handler.release()
    assert not any(thread.name == "tiering-pack" for thread in threading.enumerate())


def test_a_dask_cluster_that_loses_a_worker_makes_the_same_store(photos, tmp_path, whole):
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        victims = []

        def kill_one(samples, of, size):
            if samples and not victims:
                processes = client.run(os.getpid)
                victims.append(next(iter(processes.values())))
                os.kill(victims[0], signal.SIGKILL)

        tiering.convert(
            photos,
            tmp_path / "store",
            "zarr",
            shards=tiering.Shards(SHARD),
            workers=tiering.Dask(cluster.scheduler_address),
            progress=kill_one,
        )
        assert victims
    assert tree(tmp_path / "store") == whole


@pytest.mark.slow
def test_dask_local_is_a_word_on_the_command_line(program, photos, tmp_path, whole):
    done = program("convert", photos, tmp_path / "store", "--to", "zarr", "--shard-size", "50kB", "--dask", "local")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "store") == whole


def test_a_scheduler_that_is_not_there_is_one_clear_line(program, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("TIERING_DASK_WAIT", "2")
    done = program("convert", photos, tmp_path / "store", "--to", "zarr", "--dask", "tcp://127.0.0.1:9")
    assert done.returncode == 4
    assert "a Dask scheduler" in done.stderr.strip().splitlines()[-1]
    assert os.listdir(tmp_path) == []


def test_workers_end_with_a_parent_that_was_killed(program, photos, tmp_path):
    script = (
        "import os, time\n"
        "from tiering.packing.executors import process_pool\n"
        "if __name__ == '__main__':\n"
        "    with process_pool(2, 2) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(script)
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 100
    while Path(f"/proc/{worker}").exists() and b"spawn_main" in _command(worker):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.05)
