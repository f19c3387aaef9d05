"""The model file: it comes back as it was, and anything else is refused before it can do harm."""

from __future__ import annotations

import dataclasses
import importlib.resources
import pickle
import subprocess
import zipfile

import numpy as np
import pytest
import skops.io

from tests.workload.traces import training
from tiering.errors import ModelError
from tiering.workload.classifier import load_model, save_model, shipped
from tiering.workload.features import FEATURE_NAMES, features
from tiering.workload.forest import untrained
from tiering.workload.verdict import classify


class Foreign:
    """A type that no model file may hold."""

    def __init__(self) -> None:
        self.harm = "done"


class Unsaveable:
    """A figure that cannot be written."""

    def __getstate__(self):
        raise OSError(28, "the disk is full")


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "model.skops"
    save_model(shipped(), path)
    return path


def _document(**changes):
    model = shipped()
    document = {
        "format": "tiering-model",
        "format_version": 3,
        "features": list(FEATURE_NAMES),
        "workloads": ["re-read-heavy", "write-heavy", "read-once", "mixed"],
        "estimator": untrained(model.estimator),
        "medians": model.medians,
        "temperature": model.temperature,
        "thresholds": {"forecast": 0.9, "shown": 0.8, "mixed": 0.9},
        "figures": {},
    }
    return document | changes


def test_a_saved_model_comes_back_the_same(written):
    vector = features(training())[None, :]
    again = load_model(written)
    np.testing.assert_array_equal(again.probabilities(vector), shipped().probabilities(vector))
    np.testing.assert_array_equal(again.medians, shipped().medians)
    assert again.figures == shipped().figures
    assert again.temperature == shipped().temperature
    assert again.thresholds == shipped().thresholds
    assert [path.name for path in written.parent.iterdir()] == ["model.skops"]
    assert classify(training(), again) == classify(training())


def test_the_shipped_model_is_small():
    data = (importlib.resources.files("tiering.workload") / "workload.skops").read_bytes()
    assert len(data) < 1_000_000


def test_a_foreign_type_is_refused_by_name(tmp_path):
    path = tmp_path / "foreign.skops"
    skops.io.dump(_document(extra=Foreign()), path)
    with pytest.raises(ModelError, match=r"types that are not trusted: .*Foreign"):
        load_model(path)


def test_a_function_is_refused(tmp_path):
    path = tmp_path / "function.skops"
    skops.io.dump(_document(medians=subprocess.run), path)
    with pytest.raises(ModelError, match="not trusted"):
        load_model(path)


def test_a_pickle_is_refused_unread(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(_document(estimator=None)))
    with pytest.raises(ModelError, match="expected a model file"):
        load_model(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"format_version": 1},
        {"format_version": 2},
        {"features": ["write_share"]},
        {"workloads": ["mixed"]},
        {"estimator": "none"},
        {"medians": np.zeros(2)},
        {"temperature": 0.0},
        {"temperature": "hot"},
        {"thresholds": {"forecast": 0.9}},
        {"thresholds": {"forecast": 0.9, "shown": 0.1, "mixed": 0.9}},
        {"thresholds": {"forecast": 0.9, "shown": "high", "mixed": 0.9}},
        {"thresholds": {"forecast": float("nan"), "shown": 0.9, "mixed": 0.9}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_document_is_refused(tmp_path, changes):
    path = tmp_path / "other.skops"
    skops.io.dump(_document(**changes), path)
    with pytest.raises(ModelError, match="tiering model train -o FILE"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"garbage" * 1000, b"PK\x05\x06" + bytes(18)])
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "garbage.skops"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        load_model(path)


def test_an_archive_without_a_schema_is_refused(tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError):
        load_model(path)


@pytest.mark.parametrize("schema", ["", "[]", "{}", "null", '{"protocol": 1}', '{"__loader__": "x"}', "[" * 100_000])
def test_a_broken_schema_is_refused(tmp_path, schema):
    path = tmp_path / "broken.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", schema)
    with pytest.raises(ModelError):
        load_model(path)


@pytest.mark.parametrize("part", range(1, 20))
def test_a_damaged_file_is_refused_or_reads_the_same(written, part):
    content = bytearray(written.read_bytes())
    place = len(content) * part // 20
    truncated, flipped = written.with_suffix(".cut"), written.with_suffix(".flip")
    truncated.write_bytes(content[:place])
    with pytest.raises(ModelError):
        load_model(truncated)
    content[place] ^= 0xFF
    flipped.write_bytes(content)
    vector = features(training())[None, :]
    try:
        found = load_model(flipped)
    except ModelError:
        return
    np.testing.assert_array_equal(found.probabilities(vector), shipped().probabilities(vector))


def test_a_missing_file_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none.skops")


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    target = tmp_path / "model.skops"
    with pytest.raises(OSError, match="full"):
        save_model(dataclasses.replace(shipped(), figures={"accuracy": Unsaveable()}), target)
    assert list(tmp_path.iterdir()) == []
