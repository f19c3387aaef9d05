"""Tasks go to the executor that is free first; the other processes start when it is worth while."""

from __future__ import annotations

import threading
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tiering.packing.first_free import FirstFree

PATIENCE = 60.0


class Opening:
    """Opens another executor, and notes it. opened: set when it does. closed: whether it is closed again."""

    def __init__(self, executor=None):
        self.opened, self.closed, self.executor = threading.Event(), False, executor

    @contextmanager
    def __call__(self):
        with self.executor or ThreadPoolExecutor(2, "other") as others:
            self.opened.set()
            yield others
        self.closed = True


class Broken(ThreadPoolExecutor):
    def submit(self, fn, /, *args, **kwargs):
        raise BrokenExecutor("a worker died")


def name_of_thread(gate=None):
    if gate is not None:
        assert gate.wait(PATIENCE)
    return threading.current_thread().name.rpartition("_")[0]


@pytest.fixture
def here():
    with ThreadPoolExecutor(1, "here") as executor:
        yield executor


def test_without_a_delay_both_work(here):
    opening, gate = Opening(), threading.Event()
    with FirstFree([here], opening, 2, delay=0.0) as shared:
        assert opening.opened.wait(PATIENCE)
        futures = [shared.submit(name_of_thread, gate) for _ in range(3)]
        gate.set()
        assert sorted(future.result(PATIENCE) for future in futures) == ["here", "other", "other"]
    assert opening.closed


def test_work_that_is_done_before_the_delay_opens_nothing(here):
    opening = Opening()
    with FirstFree([here], opening, 2, delay=PATIENCE) as shared:
        assert [shared.submit(name_of_thread).result(PATIENCE) for _ in range(5)] == ["here"] * 5
    assert not opening.opened.is_set()


def test_after_the_delay_the_others_take_what_waits(here):
    opening, gate = Opening(), threading.Event()
    with FirstFree([here], opening, 2, delay=0.05) as shared:
        first = shared.submit(name_of_thread, gate)
        assert shared.submit(name_of_thread).result(PATIENCE) == "other"
        gate.set()
        assert first.result(PATIENCE) == "here"


def test_several_threads_here_need_no_others(here):
    opening, gate = Opening(), threading.Event()
    with ThreadPoolExecutor(1, "too") as too, FirstFree([here, too], opening, 0, delay=0.0) as shared:
        futures = [shared.submit(name_of_thread, gate) for _ in range(2)]
        gate.set()
        assert sorted(future.result(PATIENCE) for future in futures) == ["here", "too"]
    assert not opening.opened.is_set()


def test_an_error_is_that_of_its_task_alone(here):
    with FirstFree([here], Opening(), 2, delay=0.0) as shared:
        wrong, right = shared.submit(divmod, 1, 0), shared.submit(divmod, 7, 2)
        assert isinstance(wrong.exception(PATIENCE), ZeroDivisionError)
        assert right.result(PATIENCE) == (3, 1)


def test_a_pool_that_broke_breaks_its_task(here):
    opening, gate = Opening(Broken(1)), threading.Event()
    with FirstFree([here], opening, 1, delay=0.0) as shared:
        assert opening.opened.wait(PATIENCE)
        shared.submit(name_of_thread, gate)
        assert isinstance(shared.submit(name_of_thread).exception(PATIENCE), BrokenExecutor)
        gate.set()
