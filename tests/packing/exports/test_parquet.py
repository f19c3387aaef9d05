"""Export to Parquet as Hugging Face's datasets read it."""

from __future__ import annotations

import json
import os
import subprocess
import venv

import polars as pl
import pytest

import tiering
from tests.trees import picture, put
from tiering.packing.exports import parquet, shards


def features(path):
    return json.loads(pl.read_parquet_metadata(path)["huggingface"])["info"]["features"]


@pytest.fixture
def published(tmp_path):
    """A dataset as Hugging Face's hub has it."""
    rows = {
        "image": [{"bytes": picture(8 + number), "path": f"{number}.jpg"} for number in range(12)],
        "label": [number % 3 - 1 for number in range(12)],
        "caption": [None if number % 5 == 0 else f"é {number}\n" for number in range(12)],
        "score": [number / 7 for number in range(12)],
        "annotation": [
            {"bytes": picture(6, format="PNG"), "path": None} if number % 2 else None for number in range(12)
        ],
    }
    kinds = {
        "image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
        "caption": {"dtype": "string", "_type": "Value"}, "score": {"dtype": "float64", "_type": "Value"},
        "annotation": {"_type": "Image"},
    }  # fmt: skip
    struct = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    for split, part in (("train", slice(0, 8)), ("test", slice(8, 12))):
        path = tmp_path / f"hub/data/{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = pl.DataFrame(rows, schema_overrides={"image": struct, "annotation": struct})[part]
        frame.write_parquet(path, metadata={"huggingface": json.dumps({"info": {"features": kinds}})})
    return tmp_path / "hub"


@pytest.mark.parametrize("to", ["lmdb", "zarr"])
def test_a_published_dataset_comes_back(published, tmp_path, to):
    tiering.convert(published, tmp_path / "store", to, workers=1)
    assert tiering.export(tmp_path / "store", tmp_path / "out", "parquet") == 12
    assert sorted(os.listdir(tmp_path / "out/data")) == sorted(os.listdir(published / "data"))
    for name in os.listdir(published / "data"):
        before, after = published / "data" / name, tmp_path / "out/data" / name
        assert features(after) == features(before)
        columns = pl.read_parquet(before).columns
        assert sorted(pl.read_parquet(after).columns) == sorted(columns)
        rows = [sorted(map(repr, pl.read_parquet(path).select(columns).rows())) for path in (before, after)]
        assert rows[0] == rows[1]


def test_files_and_row_groups_are_bounded(published, tmp_path, monkeypatch):
    tiering.convert(published, tmp_path / "store", "lmdb", workers=1)
    monkeypatch.setattr(shards, "SHARD_BYTES", 4000)
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 1500)
    tiering.export(tmp_path / "store", tmp_path / "out", "parquet")
    names = sorted(os.listdir(tmp_path / "out/data"))
    train = [name for name in names if name.startswith("train")]
    assert len(train) > 1
    assert train == [f"train-{number:05d}-of-{len(train):05d}.parquet" for number in range(len(train))]
    assert pl.read_parquet(tmp_path / "out/data/*.parquet").height == 12


def test_classes_with_gaps_in_their_numbers_are_named(tmp_path):
    for name in ("cat", "dog"):
        put(tmp_path, f"photos/{name}/1.jpg", picture())
    put(tmp_path, "classes.json", b'{"3": "cat", "8": "dog"}')
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1, classes=tmp_path / "classes.json")
    tiering.export(tmp_path / "store", tmp_path / "out", "parquet")
    (file,) = (tmp_path / "out/data").iterdir()
    assert features(file)["label"] == {"dtype": "string", "_type": "Value"}
    assert sorted(pl.read_parquet(file)["label"]) == ["cat", "dog"]


def test_the_same_samples_give_the_same_bytes(published, tmp_path):
    tiering.convert(published, tmp_path / "store", "lmdb", workers=1)
    for name in ("one", "two"):
        tiering.export(tmp_path / "store", tmp_path / name, "parquet")
    for name in os.listdir(tmp_path / "one/data"):
        assert (tmp_path / "one/data" / name).read_bytes() == (tmp_path / "two/data" / name).read_bytes()


#: Loads an exported directory as its users do, and prints what it found.
LOADING = """
import json, sys, datasets, pyarrow.parquet as parquet
from pathlib import Path
found = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])
train = found["train"]
images = [name for name, feature in train.features.items() if isinstance(feature, datasets.Image)]
print(json.dumps({
    "rows": {split: len(rows) for split, rows in found.items()},
    "images": sorted(images),
    "names": train.features["label"].names,
    "widths": sorted((row["score"], row["image"].size[0]) for row in train),
    "groups": [parquet.read_metadata(path).num_row_groups for path in sorted(Path(sys.argv[1]).rglob("train*.parquet"))],
}))
"""


@pytest.mark.slow
def test_hugging_faces_datasets_reads_images_and_classes(published, tmp_path, monkeypatch):
    """In an environment of its own: pyarrow starts threads when it is imported."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "datasets", "pillow"], check=True, timeout=1200)
    tiering.convert(published, tmp_path / "store", "lmdb", workers=1)
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 1500)
    tiering.export(tmp_path / "store", tmp_path / "out", "parquet")
    command = [python, "-c", LOADING, tmp_path / "out", tmp_path / "cache"]
    done = subprocess.run(
        command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=True, timeout=600
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == {"train": 8, "test": 4}
    assert found["images"] == ["annotation", "image"]
    assert found["names"] == ["cat", "dog"]
    assert found["widths"] == [[number / 7, 8 + number] for number in range(8)]
    assert found["groups"][0] > 1
