"""What goes wrong with a bucket is said in a sentence of its own: what, where, and what to do."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

import tiering
from tests.s3 import FaultyProxy, s3_environment
from tests.web import guarded_server, presigned
from tiering.errors import InputError, MachineError, TieringError, UsageError
from tiering.probing.probe import probe
from tiering.storage import patience

#: What everything that touches a bucket for the first time does with a URL.
WAYS = {
    "open_store": tiering.open_store,
    "verify": tiering.verify,
    "profile": tiering.profile_dataset,
    "convert from": lambda url: tiering.convert(url, "/nonexistent/store", "lmdb"),
    "probe": lambda url: probe(url, seconds=0.1, size=8 << 20),
}

REFUSALS = {
    (403, "AccessDenied"): "access denied",
    (403, "InvalidAccessKeyId"): "does not know these credentials",
    (403, "SignatureDoesNotMatch"): "secret key does not fit",
    (400, "ExpiredToken"): "credentials have expired",
    (403, "RequestTimeTooSkewed"): "this machine's clock is wrong",
}


@pytest.fixture(scope="module")
def refusing(s3_endpoint):
    with FaultyProxy(s3_endpoint, 0.0) as proxy, s3_environment(proxy.endpoint):
        yield proxy


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("answer", REFUSALS, ids=lambda answer: answer[1])
def test_a_refusal_is_named(refusing, way, answer):
    refusing.answer = answer
    with pytest.raises(MachineError, match=REFUSALS[answer]) as raised:
        WAYS[way]("s3://photos/refused")
    assert "s3://photos/refused" in str(raised.value)
    assert raised.value.action


@pytest.mark.parametrize("way", WAYS)
def test_a_bucket_that_is_not_there_is_named(s3, way):
    with pytest.raises(InputError, match="no bucket of that name"):
        WAYS[way]("s3://no-such-bucket/photos")


def test_a_new_store_in_a_bucket_that_is_not_there_is_refused_before_anything_is_packed(photos, s3):
    with pytest.raises(InputError, match="no bucket of that name"):
        tiering.convert(photos, "s3://no-such-bucket/store", "lmdb")


@pytest.mark.parametrize("way", [way for way in WAYS if way != "probe"])
def test_a_key_that_is_not_there_is_another_thing(s3, way):
    with pytest.raises(InputError, match=r"nothing at that path|no manifest.json") as raised:
        WAYS[way](f"{s3}/nothing")
    assert "bucket of that name" not in str(raised.value)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("s3:/photos/x", "s3://photos/x"),
        ("s3//photos/x", "s3://photos/x"),
        ("S3://photos/x", "s3://photos/x"),
        ("https:/host/x", "https://host/x"),
        ("http:host", "http://host"),
    ],
)
def test_a_mistyped_url_is_told_from_a_path(slip, meant):
    with pytest.raises(UsageError, match=f"Perhaps you mean {meant}$"):
        tiering.open_store(slip)


def test_the_other_spelling_of_googles_buckets_is_named():
    with pytest.raises(UsageError, match="Type gs://photos/x"):
        tiering.open_store("gcs://photos/x")


@pytest.mark.parametrize("url", ["s3://", "s3:///photos", "s3://Not_A_Bucket!/x", "s33://photos/x"])
def test_what_is_no_url_of_a_bucket_is_named(s3, url):
    with pytest.raises(TieringError) as raised:
        tiering.open_store(url)
    assert raised.value.exit_code in (2, 3)


def test_a_host_that_is_not_known_is_named(s3, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # the pauses between five take up to 15 s
    with s3_environment("http://no-such-host.invalid"), pytest.raises(MachineError, match="no host of that name"):
        tiering.open_store("s3://photos/x")
    with pytest.raises(MachineError, match="no host of that name"):
        tiering.open_store("http://no-such-host.invalid/x")


def test_a_signature_that_expired_says_so(photos, tmp_path):
    def signed(host, age):
        when = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y%m%dT%H%M%SZ")
        return presigned(host, "x.tar", "wrong") + f"&X-Amz-Date={when}&X-Amz-Expires=60"

    with guarded_server(tmp_path) as host:
        with pytest.raises(MachineError, match="expired"):
            tiering.profile_dataset(signed(host, 3600))
        with pytest.raises(MachineError, match="access denied"):
            tiering.profile_dataset(signed(host, 0))


@contextmanager
def silent_server():
    """A server that accepts whoever comes, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        held, done = [], threading.Event()

        def accept() -> None:
            server.settimeout(0.1)
            while not done.is_set():
                try:
                    held.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            done.set()
            thread.join()
            for each in held:
                each.close()


@pytest.mark.parametrize("way", ["open_store", "profile", "probe"])
@pytest.mark.parametrize("scheme", ["s3", pytest.param("http", marks=pytest.mark.slow)])
def test_a_silent_server_is_mentioned_and_given_up(monkeypatch, caplog, s3, scheme, way):
    monkeypatch.setenv("TIERING_REMOTE_TIMEOUT", "2")
    monkeypatch.setattr(patience, "NOTICE_SECONDS", 0.3)
    patience._said.clear()
    with silent_server() as server, s3_environment(server):
        began = time.monotonic()
        with pytest.raises(MachineError, match=r"silent.*TIERING_REMOTE_TIMEOUT"):
            WAYS[way]("s3://photos/x" if scheme == "s3" else f"{server}/x")
        assert time.monotonic() - began < 100
    assert "Still waiting" in caplog.text
    assert "stays silent for 2 s (TIERING_REMOTE_TIMEOUT)" in caplog.text


def test_a_limit_that_is_no_number_is_refused(monkeypatch, s3):
    monkeypatch.setenv("TIERING_REMOTE_TIMEOUT", "soon")
    with pytest.raises(UsageError, match="TIERING_REMOTE_TIMEOUT"):
        tiering.open_store("s3://photos/x")


@pytest.mark.slow
def test_the_message_comes_after_ten_seconds_on_stderr(program, s3, monkeypatch):
    monkeypatch.setenv("TIERING_REMOTE_TIMEOUT", "15")
    with silent_server() as server, s3_environment(server):
        done = program("info", "s3://photos/x")
    assert done.returncode == 4, done.stderr
    assert "Still waiting for s3://photos/x/manifest.json, after 10 s" in done.stderr
