"""Writes under a condition: of two writers of one object, one is told."""

from __future__ import annotations

import pytest

from tests.clouds import cloud_url
from tests.s3 import FaultyProxy, s3_environment
from tiering.errors import MachineError, StoreError, UsageError
from tiering.storage.location import Location


@pytest.fixture(params=["local", "s3", "gs", "az"])
def place(request, tmp_path, monkeypatch) -> Location:
    if request.param in ("gs", "az"):
        return Location.of(cloud_url(request, monkeypatch)) / "manifest.json"
    return Location.of(request.getfixturevalue("s3") if request.param == "s3" else tmp_path) / "manifest.json"


def test_a_new_file_is_created_once(place):
    place.create(b"first")
    with pytest.raises(FileExistsError):
        place.create(b"second")
    assert place.read() == b"first"


def test_a_file_is_replaced_only_as_long_as_it_is_what_was_read(place):
    place.create(b"first")
    data, version = place.read_version()
    assert data == b"first"
    place.write_if(b"second", version)
    with pytest.raises(StoreError, match="somebody else wrote"):
        place.write_if(b"third", version)
    assert place.read() == b"second"
    version = place.read_version()[1]
    place.remove()
    with pytest.raises(StoreError, match="somebody else wrote"):
        place.write_if(b"third", version)
    assert not place.exists()


def test_what_is_not_there_has_no_version(place):
    with pytest.raises(FileNotFoundError):
        place.read_version()


def test_a_server_that_fails_now_and_then_writes_each_once(s3_endpoint):
    with FaultyProxy(s3_endpoint, 0.25, seed=5) as proxy, s3_environment(proxy.endpoint):
        for number in range(4):
            place = Location.of(f"s3://photos/now-and-then/{number}")
            place.create(b"first")
            place.write_if(b"second", place.read_version()[1])
            assert place.read() == b"second"
    assert proxy.failures > 1


def test_a_write_whose_answer_was_lost_is_known_for_ours(s3_endpoint):
    with FaultyProxy(s3_endpoint, 0.0) as proxy, s3_environment(proxy.endpoint):
        place = Location.of("s3://photos/lost-answer")
        proxy.lost = 1
        place.create(b"first")
        version = place.read_version()[1]
        proxy.lost = 1
        place.write_if(b"second", version)
        assert place.read() == b"second"
        with pytest.raises(FileExistsError):
            place.create(b"second")


def test_a_server_without_conditional_writes_is_refused(s3_endpoint):
    with FaultyProxy(s3_endpoint, 0.0) as proxy, s3_environment(proxy.endpoint):
        proxy.unconditional = True
        with pytest.raises(UsageError, match="conditional writes"):
            Location.of("s3://photos/unconditional").create(b"first")
    with pytest.raises(UsageError, match="conditional writes"):
        Location.of("memory://photos/unconditional").create(b"first")


@pytest.mark.slow
def test_a_server_that_is_down_is_named(s3):
    with s3_environment("http://127.0.0.1:9"), pytest.raises(MachineError, match="s3://photos/down"):
        Location.of("s3://photos/down").create(b"first")
