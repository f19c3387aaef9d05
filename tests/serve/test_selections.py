"""Loaders serve selections: every sample once, over ranks, after interruptions, through workers."""

from __future__ import annotations

import importlib
import json
import pickle
import shutil

import numpy as np
import pytest
import s3fs
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.fielded import add_fields
from tests.s3 import FaultyProxy, s3_environment
from tiering.errors import DatasetError, UsageError
from tiering.testing import assert_every_sample_once, served

SHUFFLES = [True, False, "block", tiering.BlockShuffle(2), "sticky"]


@pytest.fixture(scope="module", params=["folder", "lmdb", "zstd", "pixels"])
def store(request, photos, tmp_path_factory):
    place = tmp_path_factory.mktemp("served") / "store"
    how = {"lmdb": {"to": "lmdb"}, "zstd": {"to": "zarr", "codec": "zstd"}}.get(request.param, {})
    if request.param == "folder":
        place = photos
    elif request.param == "pixels":
        tiering.convert(photos, place, "zarr", pixels=tiering.Pixels(16, 16), codec="zstd")
    else:
        tiering.convert(photos, place, shards=tiering.Shards(1 << 20), **how)
    with tiering.open_store(place) as opened:
        yield opened


@pytest.mark.parametrize("shuffle", SHUFFLES, ids=str)
@pytest.mark.parametrize("world_size", [1, 3])
def test_every_selected_sample_is_served_once(store, shuffle, world_size):
    for selection in (store.sample(0.3, seed=1), store.select(slice(31, 240)), store.select(range(0, 300, 7))):
        ranks = [tiering.Ranks(rank, world_size) for rank in range(world_size)]
        loaders = [tiering.Loader(selection, 8, shuffle=shuffle, seed=2, ranks=rank) for rank in ranks]
        assert_every_sample_once(loaders, 3, len(selection))


def test_a_batch_holds_the_images_labels_and_keys_of_its_samples(store):
    selection = store.sample(0.5, seed=4)
    for batch in tiering.Loader(selection, 16, shuffle="block"):
        rows = selection.in_origin(batch.indices)
        assert batch.keys == [store[int(row)].key for row in rows]
        assert np.array_equal(batch.labels, np.asarray(store.index.label)[rows])
        wanted = store.read(rows)
        assert all(bytes(one) == bytes(other) for one, other in zip(batch.images, wanted, strict=True))


@settings(max_examples=examples(40))
@given(st.data())
def test_an_interrupted_epoch_of_a_selection_resumes_with_any_ranks(photos, data):
    with tiering.open_store(photos) as store:
        selection = store.sample(data.draw(st.integers(1, 120)), seed=data.draw(st.integers(0, 9)))
        shuffle = data.draw(st.sampled_from([True, False, "block"]))
        before, after = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))

        def loaders(size):
            ranks = [tiering.Ranks(rank, size) for rank in range(size)]
            return [tiering.Loader(selection, 5, shuffle=shuffle, seed=3, ranks=rank, even=False) for rank in ranks]

        served_before, states = [], []
        steps = min(data.draw(st.integers(0, 6)), *map(len, loaders(before)), len(selection))
        for loader in loaders(before):
            batches = iter(loader)
            for _ in range(steps):
                served_before += next(batches).indices.tolist()
            batches.close()
            states.append(loader.state_dict(steps))
        assert all(state == states[0] for state in states)
        saved = json.loads(json.dumps(states[0]))
        served_after = []
        for loader in loaders(after):
            loader.load_state_dict(saved)
            served_after += [index for batch in loader.epoch(0) for index in batch.indices.tolist()]
        assert sorted(served_before + served_after) == list(range(len(selection)))


def test_a_state_is_of_one_selection(store, packed):
    selection = store.sample(0.2, seed=1)
    state = tiering.Loader(selection, 8, seed=3).state_dict()
    assert state["selection"] == selection.selection
    assert "selection" not in tiering.Loader(store, 8, seed=3).state_dict()
    same = store.select(selection.in_origin(np.arange(len(selection))))
    tiering.Loader(same, 8, seed=3).load_state_dict(state)
    others = [store.sample(0.2, seed=2), store.select(slice(0, len(selection)))]
    for other in others:
        with pytest.raises(UsageError, match="the loader's state: expected selection"):
            tiering.Loader(other, 8, seed=3).load_state_dict(state)
    whole = tiering.Loader(store, 8, seed=3, limit=len(selection))
    with pytest.raises(UsageError, match="selection"):
        whole.load_state_dict(state)
    with pytest.raises(UsageError, match="selection"):
        tiering.Loader(selection, 8, seed=3).load_state_dict(whole.state_dict())


def test_a_state_holds_in_another_format_of_the_store(photos, tmp_path):
    for kind in ("lmdb", "zarr"):
        tiering.convert(photos, tmp_path / kind, kind)
    with tiering.open_store(tmp_path / "lmdb") as lmdb, tiering.open_store(tmp_path / "zarr") as zarr:
        loader = tiering.Loader(lmdb.select("label like 'china%'"), 8, seed=3)
        batches = iter(loader)
        first = [next(batches).keys for _ in range(3)]
        other = tiering.Loader(zarr.select("class_number < 5"), 8, seed=3)
        other.load_state_dict(loader.state_dict())
        rest = [batch.keys for batch in batches]
        assert [batch.keys for batch in other] == rest
        assert len({key for keys in first + rest for key in keys}) == 150


def test_fields_are_served_with_a_selection(packed, tmp_path):
    place = shutil.copytree(packed, tmp_path / "store")
    add_fields(
        place, {"score": [each / 300 for each in range(300)], "caption": [f"picture {each}" for each in range(300)]}
    )
    with tiering.open_store(place) as store:
        selection = store.select("score >= 0.5")
        for how in ({}, {"transform": lambda sample: sample["caption"]}):
            for batch in tiering.Loader(selection, 16, fields=("score", "caption"), **how):
                rows = selection.in_origin(batch.indices)
                assert batch["score"].tolist() == (rows / 300).tolist()
                assert batch["caption"] == [f"picture {row}" for row in rows]


def test_an_error_names_the_sample_by_its_number_in_the_store(photos, tmp_path):
    some = sorted(photos.rglob("*.jpg"))[:20]
    for number, path in enumerate(some):
        data = path.read_bytes()
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{number:02d}.jpg").write_bytes(data if number != 13 else data[:300] + data[-300:])
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    with tiering.open_store(tmp_path / "store") as store:
        bad = store.index.keys(np.arange(20)).index(b"13.jpg")
        selection = store.select(slice(bad, bad + 3)) if bad < 17 else store.select(slice(bad - 1, None))
        with pytest.raises(DatasetError, match=rf"sample {bad} \(13.jpg\) of"):
            list(tiering.Loader(selection, 1, images="pixels"))
        skipping = tiering.Loader(selection, 1, images="pixels", on_error="skip")
        assert len(list(skipping)) == len(selection)
        assert skipping.stats().skipped == 1


def test_a_block_order_reads_a_selection_from_a_bucket_in_few_requests(photos, tmp_path, s3, s3_endpoint):
    tiering.convert(photos, tmp_path / "store", "lmdb")
    s3fs.S3FileSystem(use_listings_cache=False).put(str(tmp_path / "store"), f"{s3}/store", recursive=True)
    with FaultyProxy(s3_endpoint, 0.0) as proxy, s3_environment(proxy.endpoint):
        store = tiering.open_store(f"{s3}/store")
        requests = {}
        for shuffle in ("global", "block"):
            loader = tiering.Loader(store.sample(0.5, seed=1), 8, shuffle=shuffle)
            before = proxy.requests
            assert sorted(served(loader, 0)) == list(range(150))
            requests[shuffle] = proxy.requests - before
        # Neighbours are joined where no more than 16 KiB lie between them.
        assert requests["block"] < 40 < 120 < requests["global"]


@pytest.mark.parametrize(
    "packed",
    ["lmdb", pytest.param("zarr", marks=pytest.mark.slow), pytest.param("zarr-zstd", marks=pytest.mark.slow)],
    indirect=True,
)
@pytest.mark.parametrize("method", [pytest.param("fork", marks=pytest.mark.slow), "spawn"])
def test_workers_of_pytorch_serve_a_selection(packed, method):
    torch_data = importlib.import_module("torch.utils.data")
    from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset  # noqa: PLC0415

    with tiering.open_store(packed) as store:
        selection = store.sample(0.4, seed=6)
        wanted = [
            ([bytes(each) for each in batch.images], batch.labels.tolist()) for batch in tiering.Loader(selection, 16)
        ]
        epochs = EpochDataset(selection, 16)
        workers = {"num_workers": 1, "multiprocessing_context": method}
        found = torch_data.DataLoader(epochs, batch_size=None, **workers | {"num_workers": 2})
        assert [(images, labels.tolist()) for images, labels in found] == wanted
        assert epochs.state_dict(2)["selection"] == selection.selection
        dataset = StoreDataset(selection)
        sampler = EpochSampler(dataset, seed=0)
        pairs = torch_data.DataLoader(dataset, batch_size=16, sampler=sampler, collate_fn=list, **workers)
        assert [([image for image, _ in each], [label for _, label in each]) for each in pairs] == wanted
        assert sampler.state_dict()["selection"] == selection.selection
        with pytest.raises(UsageError, match="selection"):
            EpochSampler(StoreDataset(store.sample(0.4, seed=7))).load_state_dict(sampler.state_dict(0))


def test_a_loader_of_a_selection_can_be_pickled(store):
    loader = tiering.Loader(store.sample(0.2, seed=1), 8, seed=1)
    assert served(pickle.loads(pickle.dumps(loader)), 2) == served(loader, 2)
