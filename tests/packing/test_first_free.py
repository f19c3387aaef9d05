"""Tasks go to the executor that is free first; the other processes start when it is worth while."""

from __future__ import annotations

import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
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


class Breaking(Executor):
    """A pool whose worker dies while it runs tasks. As in Python 3.12, it ends them while it holds its own lock."""

    def __init__(self):
        self.lock, self.given = threading.Lock(), []
        self.dying, self.asked = threading.Event(), threading.Semaphore(0)

    def submit(self, fn, /, *args, **kwargs):
        self.asked.release()
        with self.lock:
            self.given.append(Future())
            return self.given[-1]

    def die(self, *, asked):
        """Break, after it was asked to take so many tasks."""
        with self.lock:
            self.dying.set()
            for _ in range(asked):
                assert self.asked.acquire(timeout=PATIENCE)
            for future in self.given:
                future.set_exception(BrokenExecutor("a worker died"))


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


def test_a_pool_that_breaks_gets_none_of_the_tasks_that_wait(here):
    pool, gate = Breaking(), threading.Event()
    with FirstFree([here], opening := Opening(pool), 1, delay=0.0) as shared:
        assert opening.opened.wait(PATIENCE)
        futures = [shared.submit(name_of_thread, gate) for _ in range(3)]
        threading.Thread(target=pool.die, kwargs={"asked": 1}, daemon=True).start()
        assert isinstance(futures[1].exception(PATIENCE), BrokenExecutor)
        gate.set()
        assert [futures[at].result(PATIENCE) for at in (0, 2)] == ["here", "here"]


def test_a_pool_may_break_while_it_is_given_a_task(here):
    pool, gate = Breaking(), threading.Event()
    with FirstFree([here], opening := Opening(pool), 2, delay=0.0) as shared:
        assert opening.opened.wait(PATIENCE)
        shared.submit(name_of_thread, gate)
        given = shared.submit(name_of_thread)
        threading.Thread(target=pool.die, kwargs={"asked": 2}, daemon=True).start()
        assert pool.dying.wait(PATIENCE)
        threading.Thread(target=shared.submit, args=(name_of_thread,), daemon=True).start()
        assert isinstance(given.exception(PATIENCE), BrokenExecutor)
        gate.set()
