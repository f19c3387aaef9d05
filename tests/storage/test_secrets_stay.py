"""Presigned URLs and passwords open what they name, and appear nowhere: not in files, messages, logs or notes."""

from __future__ import annotations

import shutil
import tarfile

import polars as pl
import pytest

import tiering
from tests.web import CANARY, guarded_server, presigned, spilled
from tiering.testing import assert_holds_exactly, tree


@pytest.fixture
def few(photos, tmp_path):
    """Some photographs in class folders, a tar file of them, tables that list them, and a store of them."""
    root = tmp_path / "served"
    for path in sorted(photos.rglob("*.jpg"))[::45]:
        target = root / "photos" / path.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    with tarfile.open(root / "photos.tar", "w") as tar:
        tar.add(root / "photos", arcname=".")
    names = sorted(str(path.relative_to(root / "photos")) for path in (root / "photos").rglob("*.jpg"))
    pl.DataFrame({"path": names}).write_csv(root / "photos/list.csv")
    pl.DataFrame({"path": names}).write_parquet(root / "photos/list.parquet")
    tiering.convert(root / "photos", root / "store.lmdb", "lmdb")
    return root


@pytest.fixture
def host(few):
    with guarded_server(few) as host:
        yield host


@pytest.mark.parametrize("name", ["photos.tar", "photos/list.csv", "photos/list.parquet"])
def test_what_a_presigned_url_opens_is_packed(few, host, name, tmp_path):
    manifest = tiering.convert(presigned(host, name), tmp_path / "store", "lmdb", workers=1)
    assert manifest.source.url == f"http://{host}/{name}"
    shutil.rmtree(few / "store.lmdb")
    for table in (few / "photos").glob("list.*"):
        table.unlink()
    assert_holds_exactly(tiering.open_store(tmp_path / "store"), few / "photos")


def test_a_password_opens_a_table(few, host, tmp_path):
    manifest = tiering.convert(f"http://me:{CANARY}@{host}/photos.tar", tmp_path / "store", "zarr", workers=1)
    assert manifest.source.url == f"http://{host}/photos.tar"


def test_a_store_behind_a_signature_is_read_cached_and_exported(few, host, tmp_path):
    url = presigned(host, "store.lmdb")
    store = tiering.cached(url, "64MB", tmp_path / "cache")
    images = {bytes(image) for batch in tiering.Loader(store, 4) for image in batch.images}
    assert images == {path.read_bytes() for path in (few / "photos").rglob("*.jpg")}
    assert CANARY not in repr(store.location) + str(store.location)
    store.close()
    tiering.export(url, tmp_path / "out")
    assert len(tree(tmp_path / "out")) == len(images)
    assert not spilled(tmp_path / "cache", tmp_path / "out")


WORDS = {
    "convert": ["convert", "SOURCE", "WORK/new.lmdb", "--to", "lmdb"],
    "append": ["append", "SOURCE", "WORK/store.lmdb"],
    "verify": ["verify", "STORE", "--source", "SOURCE"],
    "info": ["info", "STORE"],
    "info in JSON": ["info", "STORE", "--json"],
    "export": ["export", "STORE", "WORK/out"],
    "bench": ["bench", "STORE", "--cache-size", "64MB", "--cache-dir", "WORK/cache"],
    "cache": ["cache", "warm", "STORE", "--cache-size", "64MB", "--cache-dir", "WORK/cache"],
    "profile": ["profile", "SOURCE", "-o", "WORK/profile.json"],
}


@pytest.mark.parametrize(
    "verb", [verb if verb in ("convert", "info") else pytest.param(verb, marks=pytest.mark.slow) for verb in WORDS]
)
@pytest.mark.parametrize("secret", [CANARY, f"{CANARY}-wrong"], ids=["opens", "refused"])
def test_no_command_writes_or_says_a_secret(few, host, program, verb, secret, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    shutil.copytree(few / "store.lmdb", work / "store.lmdb")
    monkeypatch.setenv("TIERING_DEBUG", "1" if secret != CANARY else "")
    places = {"SOURCE": presigned(host, "photos.tar", secret), "STORE": presigned(host, "store.lmdb", secret)}
    words = [places.get(word, word.replace("WORK", str(work))) for word in WORDS[verb]]
    done = program(*words, cwd=work)
    assert (done.returncode == 0) == (secret == CANARY), done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert not spilled(work)


@pytest.mark.slow
def test_no_report_of_a_profile_holds_a_secret(host, program, tmp_path):
    profile, report = tmp_path / "profile.json", tmp_path / "report.html"
    for words in (
        ["profile", presigned(host, "photos.tar"), "-o", profile],
        ["report", profile, "-o", report],
        ["recommend", profile],
    ):
        done = program(*words)
        assert done.returncode == 0, done.stderr
        assert CANARY not in done.stdout + done.stderr
    assert report.exists()
    assert CANARY not in profile.read_text() + report.read_text()
