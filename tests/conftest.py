"""Fixtures that every test may use: real photographs, stores packed from them, and the program itself."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import tiering
from tests import examples, warm
from tests.once import FIXTURES, made_once
from tiering.packing.executors import _OneThread

pytest_plugins = ["tests.s3", "tests.clouds", "tests.frameworks", "tests.browser"]

PROGRAM = Path(sysconfig.get_path("scripts")) / "tiering"


# Processes of tests that ask for "forkserver" begin with these imported.
multiprocessing.set_forkserver_preload(["lmdb", "numpy", "polars", "pytest", "s3fs", "tiering.store.open", "zarr"])


def pytest_configure(config: pytest.Config) -> None:
    """Say how many examples Hypothesis tries."""
    examples.choose_profile(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the heavier tests an hour each."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave the tests and what they import out of every collection of garbage: searching them took a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print a failure when it happens: a run that is stopped prints no summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.nodeid} ({report.when}, {report.duration:.1f} s): {report.longreprtext[-2000:]}", flush=True)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Programs that tests start hear signals, also where the tests run in the background, or under nohup, and do not."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _disks_are_not_waited_for() -> Iterator[None]:
    """What is written is handed to the kernel, which is where other processes find it. No test cuts the power.

    Probes wait, which measure a disk, and so do programs that strace strikes, and those whose disk is full.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", warm.without_waiting(os.fsync))
        yield


def _sent(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.fixture(scope="session", autouse=True)
def _work_can_be_sent() -> Iterator[None]:
    """Little work is done by a thread here, but processes must be able to do it: tasks, results and errors are pickled."""
    submit = _OneThread.submit

    def submit_sent(self: _OneThread, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        def work() -> Any:
            try:
                return _sent(run(*given))
            except Exception as error:
                raise _sent(error) from error

        run, given = _sent((fn, args))
        return submit(self, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_OneThread, "submit", submit_sent)
        yield


@pytest.fixture(scope="session")
def photos() -> Path:
    """300 real photographs in class folders; never written to."""
    return FIXTURES / "images"


@pytest.fixture(scope="session")
def few_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 of the photographs, for what takes a while for each: four of each class; never written to."""

    def take(place: Path) -> None:
        for folder in photos.iterdir():
            (place / folder.name).mkdir(parents=True)
            for path in sorted(folder.iterdir())[:4]:
                shutil.copy(path, place / folder.name)

    return made_once(tmp_path_factory, "few-photos", take)


@pytest.fixture
def some_photos(photos: Path, tmp_path: Path) -> Path:
    """A copy of two classes that a test may spoil."""
    copy = tmp_path / "photos"
    for name in sorted(os.listdir(photos))[:2]:
        shutil.copytree(photos / name, copy / name)
    return copy


@pytest.fixture(scope="session", params=["lmdb", "zarr", "zarr-zstd"])
def packed(request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs as a store of each kind; never written to."""
    kind, _, codec = request.param.partition("-")

    def pack(place: Path) -> None:
        # Small shards, so that there are several.
        tiering.convert(photos, place, kind, codec=codec or "none", shards=tiering.Shards(1 << 20))

    return made_once(tmp_path_factory, f"photos.{request.param}", pack)


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `tiering` as a user does, in a process of its own; under a prefix, by its script."""

    def run(*words: object, prefix: tuple[str, ...] = (), cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        env = {"COLUMNS": "120", "NO_COLOR": "1"}
        if not prefix:
            return warm.run(*words, cwd=cwd, env=env)
        command = [*prefix, str(PROGRAM), *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, env=os.environ | env, cwd=cwd, timeout=300, check=False
        )

    return run


@pytest.fixture
def without_privilege() -> tuple[str, ...]:
    """A command prefix under which file permissions hold, for root too."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture
def in_small_tmpfs(tmp_path: Path) -> Callable[[int, list[object]], subprocess.CompletedProcess[str]]:
    """Run a shell script with a tmpfs of some KiB mounted at ./small, in a mount namespace of its own."""

    def run(kib: int, command: list[object]) -> subprocess.CompletedProcess[str]:
        (tmp_path / "small").mkdir(exist_ok=True)
        script = f'mount -t tmpfs -o size={kib}k tmpfs small && "$@"; status=$?; ls -A small >left; exit $status'
        namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        return subprocess.run(
            [*namespace, "sh", "-c", script, "sh", *map(str, command)],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run
