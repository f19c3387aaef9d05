"""--split and --where of info, export and bench."""

from __future__ import annotations

import json

import pytest

import tiering
from tests.trees import with_splits


@pytest.fixture(scope="module")
def store(photos, tmp_path_factory):
    """A store, beside its photographs; never written to."""
    place = tmp_path_factory.mktemp("selected")
    source = with_splits(photos, place / "photos", ["class 0", "class 1", "class 2"])
    tiering.convert(source, place / "store", "lmdb")
    return place / "store"


def test_info_counts_what_is_selected(program, store):
    done = program("info", store, "--split", "val", "--where", "label <> 'class 1'")
    assert done.returncode == 0, done.stderr
    assert "60" in done.stdout
    assert "10 samples (17 %)" in done.stdout
    assert "class 0 5, class 2 5" in done.stdout
    done = program("info", store, "--split", "val", "--split", "train", "--json")
    assert json.loads(done.stdout)["samples"] == 60
    done = program("info", store, "--where", "size > 0 and split = 'train'", "--json")
    assert json.loads(done.stdout)["samples"] == 45


def test_export_writes_what_is_selected(program, store, tmp_path):
    done = program("export", store, tmp_path / "out", "--where", "label in ('class 0', 'class 2') and split = 'val'")
    assert done.returncode == 0, done.stderr
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg"))
    assert len(names) == 10
    assert all(name.startswith(("val/class 0/", "val/class 2/")) for name in names)


@pytest.mark.parametrize("cache", [False, True])
def test_bench_serves_what_is_selected(program, store, tmp_path, cache):
    behind = ["--cache-size", "64MB", "--cache-dir", tmp_path / "cache"] if cache else []
    both = [store.parent / "photos", store]
    done = program("bench", *both, "--split", "val", "--epochs", "2", "--json", *behind)
    assert done.returncode == 0, done.stderr
    assert [each["samples"] for each in json.loads(done.stdout)["measurements"]] == [15, 15]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--where", "score > 1"], "--where: expected columns of the store: key, label, class_number, split, size, "),
        (["--where", "label ="], "--where: expected a condition on samples"),
        (["--where", "size"], "values of type Int64"),
        (["--where", ""], "--where: expected a condition on samples"),
        (["--split", "test"], "--split: must be one of train, val, not test"),
        (["--split", "val", "--where", "size < 0"], "fits the condition"),
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["info", "export", "bench"])
def test_a_selection_that_cannot_be_made_is_one_sentence(program, store, tmp_path, verb, words, message):
    more = [tmp_path / "out"] if verb == "export" else []
    done = program(verb, store, *more, *words)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
