"""Connections to buckets: what a forked process can do, and the paths that URLs lead to."""

from __future__ import annotations

import multiprocessing

import pytest

import tiering
from tiering.errors import TieringError
from tiering.sources.trees.remote import connect
from tiering.storage.bucket import open_bucket
from tiering.storage.location import Location


def in_a_fork(ask):
    """Return what ask() returns in a forked process, or the error that it raises as text."""

    def answer(results):
        try:
            results.put(ask())
        except TieringError as error:
            results.put(f"{type(error).__name__}: {error}")

    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=answer, args=(results,))
    process.start()
    try:
        return results.get(timeout=60)
    finally:
        process.kill()
        process.join()


def test_a_store_on_s3_that_was_read_before_a_fork_is_read_after_it(some_photos, s3):
    tiering.convert(some_photos, f"{s3}/store", "lmdb", workers=1)
    store = tiering.open_store(f"{s3}/store")
    expected = bytes(store[0].image)
    assert in_a_fork(lambda: bytes(store[0].image)) == expected
    assert in_a_fork(lambda: Location.of(f"{s3}/store/manifest.json").read_version()[0]).startswith(b"{")


def test_a_fork_that_cannot_use_obstore_says_so_instead_of_waiting(cloud):
    place = Location.of(f"{cloud}/file")
    place.write(b"before")
    assert place.read() == b"before"
    said = in_a_fork(place.read)
    assert said.startswith("UsageError: ")
    assert "spawn" in said
    assert str(place) in said


def test_a_cached_store_that_cannot_fetch_after_a_fork_says_so(some_photos, s3, tmp_path):
    tiering.convert(some_photos, f"{s3}/store", "lmdb", workers=1)
    with tiering.cached(f"{s3}/store", "64MB", tmp_path / "cache") as store:
        assert len(store[0].image)
        assert "spawn" in in_a_fork(lambda: [bytes(image) for image in store.read(range(len(store)))])


def test_a_process_that_was_not_forked_may_use_obstore_again(s3):
    for _ in range(2):
        open_bucket(s3, "for a test")


@pytest.mark.parametrize("name", ["a#b", "a?b", "a b", "100%"])
def test_a_url_leads_to_the_whole_of_its_name(cloud, name):
    (Location.of(cloud) / name / "1").write(b"found")
    system, path = connect(f"{cloud}/{name}")
    assert system.cat_file(f"{path}/1") == b"found"
