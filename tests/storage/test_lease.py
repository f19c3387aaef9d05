"""The lock of an output behind a URL: given back, waited for, taken over, and never taken from who holds it."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time

import pytest

import tiering
from tests import warm
from tests.s3 import FaultyProxy, s3_environment
from tiering.errors import UsageError
from tiering.storage import lease
from tiering.storage.location import Location
from tiering.storage.lock import locked
from tiering.testing import tree


@pytest.fixture
def quick(monkeypatch):
    """Locks that lapse in a second."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.25)
    monkeypatch.setattr(lease, "LAPSE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "_LOOK_SECONDS", 0.05)


#: s; a lock that lasts so long is never waited for here, however busy the machine is.
LONG = 100.0


def left_behind(place: Location, **other: object) -> None:
    """Put a lock there as a run on another machine left it."""
    about = json.loads(lease.about_me("another")) | {"host": "node-17", "process": 4242} | other
    (place / "lock").write(json.dumps(about).encode())


def test_a_lock_that_nobody_renews_is_waited_for_with_a_message(s3, quick, caplog):
    work = Location.of(s3)
    left_behind(work)
    began = time.monotonic()
    with locked(work):
        assert time.monotonic() - began > lease.RENEW_SECONDS
        assert "process 4242 on node-17" in caplog.text
        assert "lapses in" in caplog.text
    assert not (work / "lock").exists()


@pytest.mark.parametrize("date", [4e9, 0, "yesterday"], ids=["future", "past", "none"])
def test_no_date_bars_for_longer_than_a_lock_lasts(s3, quick, date):
    work = Location.of(s3)
    left_behind(work, time=date, lapses=date)
    with locked(work):
        assert json.loads((work / "lock").read())["process"] == os.getpid()


def test_a_lock_that_is_renewed_is_refused_by_name(s3, quick, monkeypatch):
    monkeypatch.setattr(lease, "LAPSE_SECONDS", LONG)
    work, stop = Location.of(s3), threading.Event()
    left_behind(work)

    def renew() -> None:
        while not stop.wait(0.2):
            left_behind(work)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(UsageError, match="process 4242 on node-17"), locked(work):
            pass
    finally:
        stop.set()
        thread.join()
    assert json.loads((work / "lock").read())["token"] == "another"


def test_of_two_in_one_process_the_second_is_refused_at_once(s3):
    """Its lock would last for a minute."""
    work = Location.of(s3)
    began = time.monotonic()
    with locked(work), pytest.raises(UsageError, match=f"process {os.getpid()} on"), locked(work):
        pass
    assert time.monotonic() - began < lease.LAPSE_SECONDS


@pytest.mark.parametrize(
    "earlier",
    [{"started": "1"}, {"namespace": "pid:[1]", "started": "1"}, {"boot": "", "namespace": "", "token": ""}],
    ids=["same container", "container started again", "version 0.1.0"],
)
def test_a_pod_that_was_started_again_takes_over_its_own_lock(s3, quick, earlier, monkeypatch):
    monkeypatch.setattr(lease, "LAPSE_SECONDS", LONG)
    work = Location.of(s3)
    left_behind(work, host=socket.gethostname(), process=os.getpid(), **earlier)
    began = time.monotonic()
    with locked(work):
        assert time.monotonic() - began < LONG  # sooner than a lock lapses


def test_a_lock_is_kept_by_being_renewed(s3, quick):
    work = Location.of(s3)
    with locked(work):
        before, end = (work / "lock").read(), time.monotonic() + LONG
        while (work / "lock").read() == before:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_a_server_that_takes_no_notice_of_conditions_is_refused_before_anything_is_packed(photos, s3, s3_endpoint):
    with FaultyProxy(s3_endpoint, 0.0) as proxy, s3_environment(proxy.endpoint):
        proxy.deaf = True
        with pytest.raises(UsageError, match="conditional writes"):
            tiering.convert(photos, f"{s3}/store", "lmdb")
    assert not Location.of(f"{s3}/store").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_conversion_ended_by_a_scheduler_leaves_no_lock_and_goes_on(some_photos, s3, program, number):
    store = Location.of(f"{s3}/store")
    words = ["convert", some_photos, store.url, "--to", "lmdb", "--shard-size", "30kB", "--workers", "1"]
    run = warm.start(*words)
    deadline = time.monotonic() + 60
    while (
        not any(name.endswith(".npz") for name in store.names()) and run.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    run.send_signal(number)
    _, said = run.communicate(timeout=120)
    assert run.returncode == (143 if number == signal.SIGTERM else -9), said
    assert (store / ".tiering" / "lock").exists() == (number == signal.SIGKILL)
    done = program(*words)
    assert done.returncode == 0, done.stderr
    assert "locked by" not in done.stderr  # no lock was waited for
    assert tiering.verify(store.url, source=some_photos).ok


@pytest.mark.parametrize("verb", ["convert", "export"])
def test_sigterm_ends_local_work_as_ctrl_c_does(photos, tmp_path, program, verb):
    store = tmp_path / "store.lmdb"
    words = ["convert", photos, store, "--to", "lmdb", "--shard-size", "20kB", "--workers", "1"]
    if verb == "export":
        assert program(*words).returncode == 0
        words = ["export", store, tmp_path / "out"]
    run = warm.start(*words)
    begun = tmp_path / ("out" if verb == "export" else "store.lmdb.partial")
    while not any(begun.rglob("*")) and run.poll() is None:
        time.sleep(0.001)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=120)
    assert "Traceback" not in said
    # 0 where it was done before. While the interpreter ends, the signal has its usual effect, and the work is whole.
    assert run.returncode in (143, 0, -signal.SIGTERM), said
    if run.returncode == -signal.SIGTERM:
        whole = tree(tmp_path / "out") == tree(photos) if verb == "export" else tiering.verify(store, source=photos).ok
        assert whole
