"""ChunkCache: decoded once however many want them, bounded, and no failure is remembered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tiering.store.chunk_cache import ChunkCache


def test_threads_that_want_the_same_chunk_decode_it_once():
    held, decoded = ChunkCache(100), Counter()

    def decode(number):
        decoded[number] += 1
        time.sleep(0.002)
        return bytes([number])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: held.get(at % 20, decode), range(400)))
    assert found == [bytes([at % 20]) for at in range(400)]
    assert decoded == dict.fromkeys(range(20), 1)


def test_no_more_are_held_than_the_limit():
    held, decoded = ChunkCache(3), []

    def decode(number):
        decoded.append(number)
        return b""

    for number in (1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 1):
        held.get(number, decode)
    assert decoded == [1, 2, 3, 4, 1]
    held.clear()
    held.get(4, decode)
    assert decoded[-1] == 4


def test_a_failure_reaches_all_who_wait_and_is_forgotten():
    held, tried, go = ChunkCache(3), [], threading.Event()

    def fail(number):
        tried.append(number)
        go.wait(10)
        raise ValueError("damaged")

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(held.get, 7, fail) for _ in range(4)]
        go.set()
        for each in waiting:
            with pytest.raises(ValueError, match="damaged"):
                each.result()
    assert held.get(7, lambda _: b"sound") == b"sound"
