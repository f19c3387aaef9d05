"""Stores from elsewhere whose notes and links lead out of them: what they name is neither written nor removed."""

from __future__ import annotations

import io
import json
import os
import shutil

import numpy as np
import pytest

import tiering
from tiering.errors import StoreError, TieringError
from tiering.storage.location import Location
from tiering.store.manifest import read_manifest
from tiering.testing import tree

VICTIM = "victim"


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    """Some photographs, half of them as a store of each kind."""
    root = tmp_path_factory.mktemp("made")
    classes = [photos / name for name in sorted(os.listdir(photos))[:2]]
    for number, name in enumerate(classes):
        for path in sorted(name.iterdir())[:8]:
            for tree_of in ("photos", "first")[: 2 - number]:
                (root / tree_of / name.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, root / tree_of / name.name)
    for kind in ("lmdb", "zarr"):
        tiering.convert(root / "first", root / kind, kind, shards=tiering.Shards(30_000))
    return root


@pytest.fixture
def source(made, tmp_path):
    """A dataset that the store holds one class of, so that there is something to append."""
    shutil.copytree(made / "photos", tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture(params=["lmdb", "zarr"])
def store(request, made, tmp_path):
    """A store beside a directory that is nobody's business."""
    shutil.copytree(made / "first", tmp_path / "first")
    shutil.copytree(made / request.param, tmp_path / "store")
    (tmp_path / VICTIM / "below").mkdir(parents=True)
    (tmp_path / VICTIM / "thesis.txt").write_text("years of work")
    (tmp_path / VICTIM / "below" / "data.txt").write_text("more of it")
    return tmp_path / "store"


def forged_receipt(name):
    """A receipt that gives a shard any name."""
    about = {"plan": "", "shard": {"name": name, "samples": 1, "bytes": 1, "crc32c": 0}, "bad": []}
    packed = io.BytesIO()
    columns = {each: np.zeros(1, np.uint8) for each in tiering.store.index.COLUMNS}
    np.savez(packed, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **columns)
    return packed.getvalue()


@pytest.mark.parametrize("name", ["../victim", "/{victim}", "shard-00000.mdb", "data/c/0", "manifest.json"])
@pytest.mark.parametrize("number", ["00000", "00099"])
def test_a_receipt_from_elsewhere_removes_nothing(store, source, tmp_path, name, number):
    (store / ".tiering").mkdir()
    shard = name.replace("/{victim}", str(tmp_path / VICTIM))
    (store / ".tiering" / f"{number}.npz").write_bytes(forged_receipt(shard))
    before, held = tree(tmp_path / VICTIM), tree(store)
    try:
        tiering.append(source, store, resume="never")
    except TieringError:
        pass
    else:
        assert tiering.verify(store).ok
    assert tree(tmp_path / VICTIM) == before
    assert {name: held[name] for name in held if b".mdb" in name or b"c/" in name}.items() <= tree(store).items()


LINKS = [
    (".tiering", VICTIM),
    (".tiering/lock", f"{VICTIM}/thesis.txt"),
    (".tiering/plan.json", f"{VICTIM}/thesis.txt"),
    (".tiering/listing", VICTIM),
    (".tiering/00002.npz", f"{VICTIM}/thesis.txt"),
    ("index-2", VICTIM),
    ("index-2/label", VICTIM),
    ("index-2/label/c/0", f"{VICTIM}/thesis.txt"),
    ("shard-00002.mdb", f"{VICTIM}/thesis.txt"),
    ("data/c/2", f"{VICTIM}/thesis.txt"),
    ("zarr.json", f"{VICTIM}/thesis.txt"),
    ("left-out.tsv", f"{VICTIM}/thesis.txt"),
    ("left-out-2.tsv", f"{VICTIM}/thesis.txt"),
    ("quarantine", VICTIM),
]


@pytest.mark.parametrize("verb", ["append", "repair"])
@pytest.mark.parametrize(("link", "target"), LINKS)
def test_no_link_inside_a_store_is_written_through(store, source, tmp_path, link, target, verb):
    (source / min(os.listdir(source)) / "bad.jpg").write_bytes(b"")
    place = store / link
    place.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(place):
        place.unlink()
    place.symlink_to(os.path.relpath(tmp_path / target, place.parent))
    before = tree(tmp_path / VICTIM)
    if verb == "repair":
        shard = read_manifest(Location.of(store)).shards[0]
        (store / shard.name).unlink()
    try:
        if verb == "append":
            tiering.append(source, store, on_error="quarantine")
        else:
            tiering.repair(store, source=tmp_path / "first")
    except StoreError as error:
        assert "link" in str(error) or "expected" in str(error)  # noqa: PT017
    assert tree(tmp_path / VICTIM) == before
    assert sorted(os.listdir(tmp_path)) == ["first", "photos", "store", VICTIM]


def test_a_fifo_or_device_among_the_notes_is_refused_at_once(store, source):
    (store / ".tiering").mkdir()
    os.mkfifo(store / ".tiering" / "plan.json")
    with pytest.raises(StoreError, match="not a regular file"):
        tiering.append(source, store)
