"""One way to credentials and endpoints: whatever says them, everything that touches a bucket hears it."""

from __future__ import annotations

import os
import shutil

import fsspec
import pytest

import tiering
from tests.s3 import FaultyProxy, forget_connections, s3_environment
from tests.sources.trees.test_remote import upload
from tiering.probing.probe import probe
from tiering.testing import assert_holds_exactly

KEY = "AKIAONLYTHISONE"


@pytest.fixture
def told(s3_endpoint, tmp_path):
    """A server that answers to one key, and ways to tell a client of it, each of which tells all of it or names a file."""
    server = FaultyProxy(s3_endpoint, 0.0)
    with server as proxy, s3_environment(proxy.endpoint), pytest.MonkeyPatch.context() as monkeypatch:
        for name in list(os.environ):
            if name.startswith("AWS_") and name != "AWS_EC2_METADATA_DISABLED":
                monkeypatch.delenv(name)
        proxy.key = KEY
        credentials, config = tmp_path / "credentials", tmp_path / "config"
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        secret = f"aws_access_key_id = {KEY}\naws_secret_access_key = secret\n"

        def tell(way: str) -> None:
            if way == "credentials file":
                credentials.write_text(f"[default]\n{secret}")
                monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
            elif way == "profile with an endpoint":
                credentials.write_text(
                    f"[default]\naws_access_key_id = WRONG\naws_secret_access_key = x\n[team]\n{secret}"
                )
                config.write_text(
                    f"[profile team]\nregion = eu-central-1\nservices = here\n"
                    f"[services here]\ns3 =\n  endpoint_url = {proxy.endpoint}\n"
                )
                monkeypatch.setenv("AWS_PROFILE", "team")
            elif way == "AWS_ENDPOINT_URL_S3":
                monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
                monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
                monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
                monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            elif way == "fsspec's settings":
                said = {"FSSPEC_S3_KEY": KEY, "FSSPEC_S3_SECRET": "secret", "FSSPEC_S3_ENDPOINT_URL": proxy.endpoint}
                settings: dict[str, dict[str, str]] = {}
                fsspec.config.set_conf_env(settings, said)
                monkeypatch.setitem(fsspec.config.conf, "s3", settings["s3"])
            else:
                monkeypatch.setitem(fsspec.config.conf, "s3", {"anon": True, "endpoint_url": proxy.endpoint})
                proxy.key = ""
            forget_connections()

        yield tell


@pytest.fixture
def few_photos(photos, tmp_path):
    for path in sorted(photos.rglob("*.jpg"))[::60]:
        (tmp_path / "photos" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "photos" / path.parent.name)
    return tmp_path / "photos"


@pytest.mark.parametrize(
    "way",
    [
        "credentials file",
        *(
            pytest.param(way, marks=pytest.mark.slow)
            for way in ("AWS_ENDPOINT_URL_S3", "fsspec's settings", "profile with an endpoint", "anonymous")
        ),
    ],
)
def test_everything_that_touches_a_bucket_is_told_the_same_way(told, way, few_photos, tmp_path):
    url = f"s3://photos/told-{''.join(filter(str.isalnum, way))}"
    told(way)
    upload(few_photos, f"{url}/photos")
    tiering.convert(f"{url}/photos", f"{url}/store", "lmdb", workers=1)
    assert_holds_exactly(tiering.open_store(f"{url}/store"), few_photos)
    cached = tiering.cached(f"{url}/store", "64MB", tmp_path / "cache")
    assert sum(len(batch.images) for batch in tiering.Loader(cached, 16)) == len(cached)
    cached.close()
    assert tiering.profile_dataset(f"{url}/photos").files == len(cached)
    assert probe(f"{url}/probed", seconds=0.2, size=8 << 20).tier.read_points


def test_without_credentials_it_says_so_at_once(told, tmp_path, program):
    told("credentials file")
    (tmp_path / "credentials").write_text("")
    for words in (["info", "s3://photos/x"], ["probe", "s3://photos/x"], ["profile", "s3://photos/x"]):
        done = program(*words)
        assert done.returncode == 4, done.stderr
        assert "no credentials" in done.stderr, done.stderr
