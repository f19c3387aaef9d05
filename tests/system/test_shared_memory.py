"""Memory that forked and spawned processes share, and its lock."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import threading
import time

import pytest

from tiering.system.shared_memory import SharedDocument, SharedMemory


def _add(document, times):
    for _ in range(times):
        with document.changed() as found:
            found["sum"] += 1


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_and_threads_change_a_document_one_after_the_other(method):
    document = SharedDocument({"sum": 0})
    context = multiprocessing.get_context(method)
    workers = [context.Process(target=_add, args=(document, 200)) for _ in range(2)]
    workers += [threading.Thread(target=_add, args=(document, 200)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert document.read() == {"sum": 800}


def test_a_copy_and_a_pickle_are_memory_of_their_own():
    document = SharedDocument({"sum": 1})
    for other in (copy.deepcopy(document), pickle.loads(pickle.dumps(document))):
        _add(other, 1)
        assert other.read() == {"sum": 2}
    assert document.read() == {"sum": 1}
    assert len(pickle.dumps(document)) < 1 << 21


def test_an_exception_leaves_the_document_as_it_was():
    document = SharedDocument({"sum": 1})
    with pytest.raises(KeyError), document.changed() as found:
        found["sum"] = found["missing"]
    with pytest.raises(ValueError, match="at most"), document.changed() as found:
        found["long"] = "x" * (1 << 20)
    assert document.read() == {"sum": 1}


def _hold(memory, held):
    with memory.locked():
        held.set()
        time.sleep(60)


def test_the_lock_of_a_killed_process_is_free():
    memory, held = SharedMemory(10), multiprocessing.Event()
    holder = multiprocessing.Process(target=_hold, args=(memory, held))
    holder.start()
    assert held.wait(60)
    holder.kill()
    holder.join()
    with memory.locked():
        pass


def test_a_process_that_is_forked_while_a_thread_holds_the_lock_does_not_keep_it():
    memory = SharedMemory(10)
    with memory.locked():
        context = multiprocessing.get_context("fork")
        child = context.Process(target=time.sleep, args=(60,))
        child.start()
    begin = time.monotonic()
    with memory.locked():
        assert time.monotonic() - begin < 30
    child.kill()
    child.join()


def test_descriptors_are_closed():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        with SharedMemory(10).locked():
            pass
    assert len(os.listdir("/proc/self/fd")) <= before + 2
