"""Batches that were read, on a thread ahead of the consumer or not: all of them, in order, and no thread left behind."""

from __future__ import annotations

import threading
import time

import pytest

import tiering
from tiering.measure.read_batches import ByteReader, read_ahead


def feeders():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tiering-feed")]


def test_every_batch_comes_in_order_after_it_was_read():
    read = []
    assert [*read_ahead(range(20), read.append, 2)] == [*range(20)] == read
    assert feeders() == []


def test_batches_are_read_before_they_are_asked_for_and_no_further_ahead():
    read = []
    served = read_ahead(range(100), read.append, 3)
    assert next(served) == 0
    deadline = time.monotonic() + 60
    while len(read) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert read == [0, 1, 2, 3]
    served.close()
    assert feeders() == []


def test_an_error_of_the_source_reaches_the_consumer():
    def broken():
        yield 1
        raise OSError("gone")

    served = read_ahead(broken(), lambda batch: None, 2)
    assert next(served) == 1
    with pytest.raises(OSError, match="gone"):
        next(served)
    assert feeders() == []


def test_encoded_images_and_pixels_are_read(packed, photos, tmp_path):
    tiering.convert(photos, tmp_path / "pixels", "zarr", pixels=tiering.Pixels(8, 8), codec="none")
    for path in (packed, tmp_path / "pixels"):
        with tiering.open_store(path) as store:
            read = ByteReader(store)
            for batch in tiering.Loader(store, 64):
                read(batch)
                last = bytes(batch.images[-1])
                assert read._scratch[: len(last)] == last
