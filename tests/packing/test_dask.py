"""A Dask cluster that lacks something says what, within a minute; real schedulers, workers and Pythons."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import tiering
from tests.conftest import PROGRAM
from tiering.errors import MachineError
from tiering.packing.dask_cluster import dask_cluster

SHARD = 20_000
SITE = sysconfig.get_path("purelib")
ROOT = str(Path(tiering.__file__).parent.parent)


@pytest.fixture
def processes():
    """Start programs of Dask's; all of them end with the test."""
    started = []

    def start(*words: object, python: str = sys.executable, path: str = ROOT) -> subprocess.Popen[str]:
        command = [python, *map(str, words)]
        environment = os.environ | {"PYTHONPATH": path}
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd="/"))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def scheduler(processes):
    process = processes("-m", "distributed.cli.dask_scheduler", "--port", 0, "--no-dashboard", "--host", "127.0.0.1")
    for line in process.stderr:
        if found := re.search(r"Scheduler at:\s+(tcp://\S+)", line):
            _drain(process)
            process.address = found[1]
            return process
    raise AssertionError("the scheduler did not begin")


@pytest.fixture
def worker(processes, scheduler):
    """Start a worker and wait until it has registered."""

    def start(**how) -> subprocess.Popen[str]:
        plain = ("--no-nanny", "--no-dashboard", "--nthreads", 1)
        process = processes("-m", "distributed.cli.dask_worker", scheduler.address, *plain, **how)
        for line in process.stderr:
            if found := re.search(r"Start worker at:\s+(tcp://\S+)", line):
                process.address = found[1]
            if "Registered to" in line:
                _drain(process)
                return process
        raise AssertionError("the worker did not begin")

    return start


def _drain(process: subprocess.Popen[str]) -> None:
    threading.Thread(target=process.stderr.read, daemon=True).start()


def convert(program, photos, place, address, **environment):
    os.environ.update(environment)
    try:
        done = program("convert", photos, place, "--to", "zarr", "--shard-size", f"{SHARD}B", "--dask", address)
    finally:
        for name in environment:
            del os.environ[name]
    return done


def refused(done, *words: str) -> None:
    last = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, last.startswith("MachineError")) == (4, True), done.stderr
    for word in words:
        assert word in last, last


def test_no_workers_is_said_at_once_and_ends_in_an_error(program, photos, tmp_path, scheduler):
    done = convert(program, photos, tmp_path / "store", scheduler.address, TIERING_DASK_WAIT="2")
    assert f"{scheduler.address}: the cluster has no workers; waiting for up to 2 s (TIERING_DASK_WAIT)." in done.stderr
    refused(done, "the cluster has no workers, for 2 s", f"dask worker {scheduler.address}")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_by_default_it_ends_within_a_minute(program, photos, tmp_path, scheduler):
    refused(convert(program, photos, tmp_path / "store", scheduler.address), "the cluster has no workers, for 30 s")


@pytest.mark.slow
def test_workers_that_come_while_it_waits_are_used(photos, tmp_path, scheduler, worker):
    command = [PROGRAM, "convert", photos, tmp_path / "store", "--to", "zarr", "--dask", scheduler.address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert "the cluster has no workers; waiting" in process.stderr.readline()
        worker()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(tiering.open_store(tmp_path / "store")) == 300


def test_a_worker_without_tiering_is_named(tmp_path, scheduler, worker, processes):
    # -S: no site-packages but those of the path, where the editable install's own finder is not loaded.
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in Path(SITE).iterdir():
        if "tiering" not in path.name:
            (bare / path.name).symlink_to(path)
    worker()
    process = processes(
        "-S", "-m", "distributed.cli.dask_worker", scheduler.address, "--no-nanny", "--no-dashboard", "--nthreads", 1,
        path=str(bare),
    )  # fmt: skip
    started = next(line for line in process.stderr if "Start worker at" in line)
    next(line for line in process.stderr if "Registered to" in line)
    _drain(process)
    address = re.search(r"tcp://\S+", started)[0]
    with pytest.raises(MachineError) as refusal, dask_cluster(scheduler.address):
        raise AssertionError("connected")
    said = str(refusal.value)
    assert f"{address} lacks tiering (ModuleNotFoundError: No module named 'tiering')" in said
    assert "pip install 'tiering[dask]==" in said
    assert said.count("lacks") == 1, "the sound worker was named"


def test_a_worker_with_another_version_is_named(photos, tmp_path, scheduler, worker):
    copy = tmp_path / "other" / "tiering"
    shutil.copytree(Path(tiering.__file__).parent, copy)
    text = (copy / "__init__.py").read_text()
    (copy / "__init__.py").write_text(text.replace(f'__version__ = "{tiering.__version__}"', '__version__ = "0.0.7"'))
    worker(path=str(copy.parent))
    with pytest.raises(MachineError, match=f"and tiering {tiering.__version__}, found .* has tiering 0.0.7"):
        tiering.convert(photos, tmp_path / "store", "zarr", workers=tiering.Dask(scheduler.address))
    assert not (tmp_path / "store.partial").exists()


@pytest.mark.slow
def test_a_worker_that_lacks_a_package_is_named(program, photos, tmp_path, scheduler, worker):
    (tmp_path / "spoiled" / "lmdb").mkdir(parents=True)
    (tmp_path / "spoiled" / "lmdb" / "__init__.py").write_text("raise ImportError(\"No module named 'lmdb'\")")
    worker(path=f"{tmp_path / 'spoiled'}:{ROOT}")
    done = convert(program, photos, tmp_path / "store", scheduler.address)
    refused(done, "lacks what tiering needs (ImportError: No module named 'lmdb')")


def other_python() -> str:
    """Another Python of this machine; Dask is read by it from our own site-packages."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = [*Path.home().glob(".pyenv/versions/3.*/bin/python"), *Path("/usr/bin").glob("python3.[0-9]*")]
    for path in sorted(found):
        name = re.search(r"3\.(\d+)", str(path))
        if name and int(name[1]) >= 10 and name[0] != here and not path.name.endswith("config"):
            return str(path)
    pytest.fail(f"no other Python than {here} is on this machine: install one (pyenv, or apt install python3.x)")


@pytest.mark.slow
def test_a_worker_with_another_python_is_named(program, photos, tmp_path, scheduler, worker):
    worker(python=other_python(), path=SITE)
    done = convert(program, photos, tmp_path / "store", scheduler.address)
    refused(done, "has Python 3.", f"workers with Python {sys.version_info[0]}.{sys.version_info[1]}")


@contextmanager
def answering(reply: bytes | None):
    """A server that accepts, and answers everything with the same bytes, or never."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return
                if reply is not None:
                    with held[-1] as connection:
                        connection.sendall(reply)
                        connection.recv(1 << 16)

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.0 400 Bad Request\r\n\r\n" * 40, b"x", None], ids=["http", "short", "silent"]
)
def test_something_else_at_the_address_is_one_clear_line(photos, tmp_path, reply, monkeypatch):
    monkeypatch.setenv("TIERING_DASK_WAIT", "2")
    with answering(reply) as address, pytest.raises(MachineError, match="expected a Dask scheduler"):
        tiering.convert(photos, tmp_path / "store", "zarr", workers=tiering.Dask(address))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("address", ["tcp://", "http://127.0.0.1:1", "nonsense"])
def test_an_address_that_is_none_is_one_clear_line(address):
    with pytest.raises(MachineError, match="expected a Dask scheduler"), dask_cluster(address):
        raise AssertionError("connected")


def test_the_address_of_a_worker_is_not_that_of_the_scheduler(scheduler, worker):
    address = worker().address
    with pytest.raises(MachineError, match="found a Dask worker"), dask_cluster(address):
        raise AssertionError("connected")


def run_and(photos, place, address, act, **environment):
    """Convert, act once the first shard is done, and return how it ended and what it said."""
    script = (
        "import sys, tiering\n"
        "from tiering.errors import TieringError\n"
        "def tell(samples, of, size):\n"
        "    if samples: print(samples, flush=True)\n"
        "try:\n"
        f"    tiering.convert(*sys.argv[1:3], 'zarr', shards=tiering.Shards({SHARD}),\n"
        "        workers=tiering.Dask(sys.argv[3]), progress=tell)\n"
        "except TieringError as error:\n"
        "    sys.exit(f'{type(error).__name__}: {error}')\n"
    )
    command = [sys.executable, "-c", script, photos, place, address]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        process.stdout.readline()
        act()
        _, said = process.communicate(timeout=120)
    return process.returncode, said


@pytest.fixture
def many(photos, tmp_path):
    """Enough photographs that something can happen while they are packed."""
    for number in range(6):
        shutil.copytree(photos, tmp_path / "many" / str(number))
    return tmp_path / "many"


@pytest.mark.slow
def test_workers_that_all_die_are_missed(many, tmp_path, scheduler, worker):
    code, said = run_and(many, tmp_path / "store", scheduler.address, worker().kill, TIERING_DASK_WAIT="3")
    assert code == 1
    assert "MachineError" in said.splitlines()[-1]
    assert "the cluster has no workers, for 3 s" in said.splitlines()[-1]


@pytest.mark.slow
def test_a_scheduler_that_dies_is_missed_and_the_conversion_goes_on_later(many, tmp_path, scheduler, worker):
    worker()
    code, said = run_and(many, tmp_path / "store", scheduler.address, scheduler.kill)
    assert code == 1
    assert "MachineError" in said.splitlines()[-1]
    assert "expected a Dask scheduler" in said
    assert list((tmp_path / "store.partial" / ".tiering").glob("*.npz"))
    tiering.convert(many, tmp_path / "store", "zarr", shards=tiering.Shards(SHARD), workers=1)
    assert len(tiering.open_store(tmp_path / "store")) == 1800


@pytest.mark.slow
@pytest.mark.parametrize("who", ["scheduler", "worker"])
def test_who_hangs_is_missed(many, tmp_path, scheduler, worker, who):
    process = worker() if who == "worker" else (worker(), scheduler)[1]
    if who == "worker":
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(MachineError, match="no answer from the workers tcp://"):
            tiering.convert(
                many, tmp_path / "store", "zarr", shards=tiering.Shards(SHARD), workers=tiering.Dask(scheduler.address)
            )
        assert time.monotonic() - began < 60
    else:
        code, said = run_and(
            many, tmp_path / "store", scheduler.address, lambda: process.send_signal(signal.SIGSTOP),
            TIERING_DASK_WAIT="5",
        )  # fmt: skip
        assert code == 1
        assert "the scheduler is silent, for 5 s" in said.splitlines()[-1]


def test_a_limit_that_is_none_is_a_usage_error(program, photos, tmp_path):
    done = convert(program, photos, tmp_path / "store", "tcp://127.0.0.1:9", TIERING_DASK_WAIT="soon")
    assert done.returncode == 2
    assert "TIERING_DASK_WAIT: must be a duration" in done.stderr
