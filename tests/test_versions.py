"""What earlier versions wrote is read by this one: a directory fixtures/v*/ for each, made by fixtures/make_version.py.

A version that can no longer read one of them refuses it with the command that upgrades it: then its test says so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import skops.io

import tiering
from tests.conftest import FIXTURES
from tiering.errors import InputError, UsageError
from tiering.workload.classifier import load_model, save_model, shipped
from tiering.workload.profile import Profile, read_profile, write_profile
from tiering.workload.skops_archive import TRUSTED_TYPES
from tiering.workload.verdict import classify

VERSIONS = sorted(path for path in FIXTURES.glob("v*") if path.is_dir())
STORES = ("lmdb", "zarr", "zarr-zstd", "pixels", "pixels-zstd", "appended")


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def version(request) -> Path:
    """What one version wrote; never written to."""
    return request.param


@pytest.fixture
def expected(version) -> dict:
    return json.loads((version / "expected.json").read_text())


@pytest.fixture(params=STORES)
def old_store(request, version, tmp_path) -> Path:
    """A copy of a store that the version wrote."""
    return shutil.copytree(version / request.param, tmp_path / request.param)


@pytest.fixture
def old_photos(expected, photos, tmp_path) -> Path:
    """The photographs that the version packed."""
    for key in expected["images"]:
        (tmp_path / "old" / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photos / key, tmp_path / "old" / key)
    return tmp_path / "old"


def _unpacked(archive: Path, to: Path) -> Path:
    with tarfile.open(archive) as file:
        # Releases of Python before 3.11.4 have no filters.
        file.extractall(to, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
        return to / file.getnames()[0]


def _digest(image) -> str:
    return hashlib.sha256(bytes(image)).hexdigest()


def _wanted(store: tiering.Store, expected: dict) -> dict[str, str]:
    return expected["pixels" if store.manifest.settings.pixels else "images"]


def test_an_old_store_is_opened_and_read(old_store, expected):
    store = tiering.open_store(old_store)
    found = [store[number] for number in range(len(store))]
    assert {sample.key: _digest(sample.image) for sample in found} == _wanted(store, expected)
    assert {sample.key: store.manifest.labels[sample.label] for sample in found} == expected["labels"]


def test_an_old_store_is_served(old_store, expected):
    store = tiering.open_store(old_store)
    served = {}
    for batch in tiering.Loader(store, 6, seed=1):
        served |= {key: _digest(image) for key, image in zip(batch.keys, batch.images, strict=True)}
    assert served == _wanted(store, expected)


def test_an_old_store_is_verified_with_its_source(old_store, old_photos):
    found = tiering.verify(old_store, source=old_photos)
    assert found.problems == []


def test_an_old_store_is_repaired(old_store, old_photos):
    shard = old_store / tiering.open_store(old_store).manifest.shards[0].name
    shard.write_bytes(shard.read_bytes()[:-1])
    tiering.repair(old_store, source=old_photos, workers=1)
    assert tiering.verify(old_store, source=old_photos).problems == []


def test_an_old_store_is_exported(old_store, expected, tmp_path):
    tiering.export(old_store, tmp_path / "exported")
    found = {path for path in (tmp_path / "exported").rglob("*") if path.is_file()}
    assert len(found) == len(expected["images"])


def test_an_old_store_is_appended_to(old_store, old_photos, photos, expected):
    added = next(
        path for path in sorted((photos / "china-0").iterdir()) if not (old_photos / "china-0" / path.name).exists()
    )
    shutil.copyfile(added, old_photos / "china-0" / added.name)
    generation = tiering.open_store(old_store).manifest.generation
    tiering.append(old_photos, old_store, workers=1)
    store = tiering.open_store(old_store)
    assert store.manifest.generation == generation + 1
    found = {sample.key: _digest(sample.image) for sample in map(store.__getitem__, range(len(store)))}
    new = found.pop(f"china-0/{added.name}")
    assert found == _wanted(store, expected)
    assert store.manifest.settings.pixels or new == _digest(added.read_bytes())
    assert tiering.verify(old_store, source=old_photos).problems == []


def test_an_old_cache_answers_what_it_holds(version, expected, tmp_path):
    directory = _unpacked(version / "cache.tar.gz", tmp_path)
    store = tiering.cached(version / "zarr", 8 << 20, directory)
    found = dict(zip(store.index.keys(np.arange(20)), store.read(np.arange(20)), strict=True))
    assert {key.decode(): _digest(image) for key, image in found.items()} == expected["images"]
    stats = store.stats()
    store.close()
    assert (stats.hits, stats.misses, stats.origin_requests) == (20, 0, 0)


def test_an_unfinished_conversion_goes_on_or_says_how_to_begin_anew(version, old_photos, tmp_path):
    """Its source lay elsewhere, so that going on would be another plan."""
    _unpacked(version / "unfinished.tar.gz", tmp_path)
    again = {"to": "lmdb", "shards": tiering.Shards(8 << 10), "workers": 1}
    with pytest.raises((UsageError, InputError), match='resume="never"'):
        tiering.convert(old_photos, tmp_path / "stopped", **again)
    tiering.convert(old_photos, tmp_path / "stopped", **again, resume="never")
    assert tiering.verify(tmp_path / "stopped", source=old_photos).ok


def test_an_old_profile_gives_the_same_verdict_and_advice(version, expected):
    profile = read_profile(version / "profile.json")
    verdict = classify(profile.traces[0])
    assert verdict.workload == expected["verdict"]["workload"]
    assert verdict.probability == pytest.approx(expected["verdict"]["probability"], abs=0.05)


def test_the_program_takes_an_old_profile(version, program):
    classified = program("classify", version / "profile.json", "--json")
    assert classified.returncode == 0, classified.stderr
    advised = program("recommend", version / "profile.json", "--json")
    assert advised.returncode == 0, advised.stderr


def test_an_old_model_says_the_same(version, expected):
    model = load_model(version / "model.skops")
    vectors = np.stack([factor * model.medians for factor in (0.0, 0.5, 1.0, 2.0)])
    np.testing.assert_allclose(model.probabilities(vectors), expected["model"]["probabilities"])


def test_an_old_state_goes_on_with_the_same_samples(version, expected):
    wanted = expected["state"]
    loader = tiering.Loader(tiering.open_store(version / "zarr"), wanted["batch_size"], seed=wanted["seed"])
    loader.load_state_dict(json.loads((version / "state.json").read_text()))
    assert [batch.indices.tolist() for batch in loader] == wanted["rest"]


def test_every_format_of_today_has_a_fixture(photos, tmp_path):
    """Whoever changes a format version runs fixtures/make_version.py: then what it writes stays readable, too."""
    tiering.convert(photos, tmp_path / "lmdb", "lmdb", workers=1)
    store = tiering.cached(tmp_path / "lmdb", 8 << 20, tmp_path / "cache")
    store.close()
    write_profile(Profile(), tmp_path / "profile.json")
    save_model(shipped(), tmp_path / "model.skops")
    (tmp_path / "state.json").write_text(json.dumps(tiering.Loader(store, 1).state_dict()))
    today = _formats(tmp_path, tmp_path / "cache")
    kept = [_formats(path, _unpacked(path / "cache.tar.gz", tmp_path / path.name)) for path in VERSIONS]
    assert {name: any(each[name] == version for each in kept) for name, version in today.items()} == dict.fromkeys(
        today, True
    )


def _formats(directory: Path, cache: Path) -> dict[str, int]:
    return {
        "store": json.loads((directory / "lmdb" / "manifest.json").read_text())["format_version"],
        "cache": json.loads((cache / "tiering-cache.json").read_text())["version"],
        "profile": json.loads((directory / "profile.json").read_text())["format_version"],
        "model": skops.io.load(directory / "model.skops", trusted=list(TRUSTED_TYPES))["format_version"],
        "order": json.loads((directory / "state.json").read_text())["order"],
    }
