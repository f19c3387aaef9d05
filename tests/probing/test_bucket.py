"""`tiering probe` on an object store: a real S3 server on the loopback, whose objects stay as they were."""

from __future__ import annotations

import json
import signal
import time

import fsspec
import pytest

from tests import warm
from tests.s3 import FaultyProxy, s3_environment
from tiering.advice.catalog import find_tier, load_catalog
from tiering.errors import MachineError
from tiering.probing.bucket import BLOCKS, CONCURRENCY, OBJECT
from tiering.probing.probe import probe

QUICK = ("--seconds", "3", "--size", "16MiB")


def objects(url):
    system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return {name: system.cat_file(name) for name in system.find(path)}


def test_a_bucket_becomes_a_tier_and_stays_as_it_was(program, s3, tmp_path):
    fsspec.core.url_to_fs(s3)[0].pipe_file(f"{s3}/tiering-probe-old/0", b"precious")
    before, entry = objects(s3), tmp_path / "bucket.toml"
    done = program("probe", s3, *QUICK, "--name", "here", "-o", entry)
    assert done.returncode == 0, done.stderr
    assert objects(s3) == before
    assert len(before) == 1
    assert "requests; at most 20.9 MB are written, and deleted" in done.stderr.splitlines()[0]
    tier = find_tier(load_catalog(entry), "here")
    assert (tier.access, tier.network, tier.mmap_ok, tier.capacity) == ("object", True, False, None)
    points = {(each.pattern, each.block, each.depth): each for each in tier.read_points}
    assert {("random", block, 1) for block in BLOCKS[:-1]} | {("sequential", OBJECT, 1)} <= set(points)
    assert {depth for pattern, block, depth in points if block == BLOCKS[0]} == set(CONCURRENCY)
    assert all(each.p50 <= each.p99 for each in tier.read_points)
    assert tier.read_latency_p50 == points["random", 4096, 1].p50 == tier.open_cost
    assert tier.request_price == find_tier(load_catalog(), "object").request_price
    assert tier.metadata_rate > 0
    assert tier.sync_rate > 0


def test_json_is_one_document(program, s3):
    done = program("probe", f"{s3}/", *QUICK, "--like", "object-archive", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tier"]["minimum_days"] == 90
    assert objects(s3) == {}


def test_what_does_not_answer_is_refused(s3_endpoint):
    refused = pytest.raises(MachineError, match="overloaded")
    with FaultyProxy(s3_endpoint, share=1.0) as proxy, s3_environment(proxy.endpoint), refused:
        probe("s3://photos/refused", seconds=1, size=OBJECT)


@pytest.mark.slow
def test_a_server_that_fails_on_the_way_is_named_and_its_objects_are_removed(s3_endpoint):
    url = "s3://photos/on-the-way"
    with FaultyProxy(s3_endpoint, share=0.0) as proxy, s3_environment(proxy.endpoint):

        def fail(what):
            proxy.broken_off = 0.5 if what == "reading" else 0.0

        with pytest.raises(MachineError, match="on-the-way"):
            probe(url, seconds=1, size=OBJECT, progress=fail)
    with s3_environment(s3_endpoint):
        assert objects(url) == {}


@pytest.mark.parametrize(("url", "code"), [("s3://no-such-bucket/x", 3), ("nonsense://x/y", 2)])
def test_what_cannot_be_opened_is_named(program, s3, url, code):
    done = program("probe", url, *QUICK)
    assert done.returncode == code, done.stderr
    assert url in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_probe_deletes_its_objects(s3, number):
    run = warm.start("probe", s3, "--seconds", "60")
    deadline = time.monotonic() + 60
    system, path = fsspec.core.url_to_fs(s3, use_listings_cache=False)
    while not system.find(path) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 128 + number, said
    assert "Traceback" not in said
    assert objects(s3) == {}
