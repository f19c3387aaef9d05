"""Loader.to: the batches of a loader as tensors on a device."""

from __future__ import annotations

import gc
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.damage import undecodable
from tests.examples import examples
from tests.fielded import add_fields
from tests.trees import picture, put
from tiering.errors import DatasetError, MachineError, UsageError
from tiering.serve.device import DeviceLoader
from tiering.serve.device_copies import Copies
from tiering.serve.tensors import as_tensors

CROP = tiering.RandomResizedCrop(24, flip=0.5)
SEVERAL = [tiering.RandomResizedCrop(24, views=2, layout="NHWC"), tiering.CenterCrop(16, resize=18)]


class Ahead(Copies):
    """Copies one batch ahead, as to a GPU, but to the CPU."""

    ahead = 1


def to_cpu(loader: tiering.Loader, ahead: bool) -> DeviceLoader:
    found = loader.to("cpu")
    if ahead:
        found._copies = Ahead(found.device, found._copies._channels_last)
    return found


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A store of 37 images whose pixels all have the number of their sample, with fields."""
    root = tmp_path_factory.mktemp("numbered")
    for number in range(37):
        put(root / "images", f"{number % 3}/{number:02}.png", picture(8, 8, "PNG"))
    tiering.convert(root / "images", root / "store", "lmdb", workers=1)
    add_fields(
        root / "store",
        {
            "score": [number / 7 for number in range(37)],
            "box": [[number, 2, 3, 4] for number in range(37)],
            "age": [None if number % 5 == 0 else number for number in range(37)],
            "caption": [f"image {number}" for number in range(37)],
        },
    )
    return tiering.open_store(root / "store")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A store of 12 images, of which the sixth cannot be decoded."""
    root = tmp_path_factory.mktemp("damaged")
    for number in range(12):
        image = undecodable()["half.png"] if number == 5 else picture(20, 20, "PNG")
        put(root / "images", f"{number:02}.png", image)
    tiering.convert(root / "images", root / "store", "lmdb", workers=1)
    return root / "store"


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_batches_are_the_loaders_as_tensors(store, layout, dtype):
    crop = tiering.RandomResizedCrop((20, 30), flip=0.5, layout=layout, dtype=dtype)
    loader = tiering.Loader(store, 64, seed=3, images=crop)
    found = list(loader.to("cpu").epoch(2))
    for batch, plain in zip(found, loader.epoch(2), strict=True):
        assert batch.images.shape == (len(plain), 3, 20, 30)
        order = torch.channels_last if layout == "NHWC" else torch.contiguous_format
        assert batch.images.is_contiguous(memory_format=order)
        images = plain.images.transpose(0, 3, 1, 2) if layout == "NHWC" else plain.images
        assert np.array_equal(batch.images.numpy(), images)
        assert batch.images.numpy().dtype == plain.images.dtype
        assert batch.labels.dtype == torch.int64
        assert batch.labels.tolist() == plain.labels.tolist()
        assert np.array_equal(batch.indices, plain.indices)
        assert (batch.keys, len(batch)) == (plain.keys, len(plain))


def test_several_crops_and_views_are_a_tuple_of_tensors(store):
    wide, narrow = next(iter(tiering.Loader(store, 50, images=SEVERAL).to("cpu"))).images
    assert wide.shape == (2, 50, 3, 24, 24)
    assert wide[0].is_contiguous(memory_format=torch.channels_last)
    assert narrow.shape == (50, 3, 16, 16)
    assert narrow.is_contiguous()


def test_pixels_of_a_store_have_their_channels_first(photos, tmp_path):
    tiering.convert(photos, tmp_path / "pixels", "zarr", pixels=tiering.Pixels(24, 32))
    loader = tiering.Loader(tmp_path / "pixels", 60)
    batch = next(iter(loader.to("cpu").epoch(0)))
    assert batch.images.shape == (60, 3, 24, 32)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(batch.images.numpy().transpose(0, 2, 3, 1), next(loader.epoch(0)).images)


def test_decoded_images_are_a_list_of_tensors(store):
    for images in (batch.images for batch in tiering.Loader(store, 64, images="pixels").to("cpu")):
        assert isinstance(images, list)
        assert all(image.dtype == torch.uint8 and image.shape[0] == 3 for image in images)


@pytest.mark.parametrize("images", ["encoded", "bytes"])
def test_encoded_images_stay_as_they_are(store, images):
    loader = tiering.Loader(store, 64, images=images)
    batch, plain = next(loader.to("cpu").epoch(0)), next(loader.epoch(0))
    assert type(batch.images) is type(plain.images)
    assert list(map(bytes, batch.images)) == list(map(bytes, plain.images))


def test_results_of_a_transform_keep_their_shape(store):
    def transform(sample):
        return {"image": sample.image[..., 0], "box": (np.arange(4.0), sample.key)}

    loader = tiering.Loader(store, 50, images=tiering.CenterCrop(16, resize=18, layout="NHWC"), transform=transform)
    (first, *_), plain = next(loader.to("cpu").epoch(0)).images, next(loader.epoch(0)).images[0]
    assert np.array_equal(first["image"].numpy(), plain["image"])
    assert torch.equal(first["box"][0], torch.arange(4.0, dtype=torch.float64))
    assert first["box"][1] == plain["box"][1]


def test_fields_of_numbers_are_tensors(numbered):
    loader = tiering.Loader(numbered, 10, images=CROP, fields=("score", "box", "age", "caption"))
    for batch in loader.to("cpu"):
        numbers = batch.indices
        assert torch.equal(batch["score"], torch.from_numpy(np.asarray(numbered.read_field("score", numbers))))
        assert batch["score"].dtype == torch.float64
        assert batch["box"].shape == (len(batch), 4)
        assert isinstance(batch["age"], np.ma.MaskedArray)  # a tensor has no mask
        assert batch["caption"] == numbered.read_field("caption", numbers)
        assert batch["label"] is batch.labels


def test_a_field_that_was_not_asked_for_is_a_tensor_too(numbered):
    batch = next(iter(tiering.Loader(numbered, 10, images=CROP).to("cpu")))
    assert torch.equal(batch["score"], torch.from_numpy(np.asarray(numbered.read_field("score", batch.indices))))


def test_arrays_become_tensors_over_the_same_memory():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.shares_memory(as_tensors([array], "cpu")[0].numpy(), array)
    array.flags.writeable = False
    assert as_tensors(array, "cpu").tolist() == array.tolist()


@pytest.mark.parametrize("ahead", [False, True])
def test_memory_is_used_again_only_when_no_tensor_refers_to_it(store, ahead):
    loader = to_cpu(tiering.Loader(store, 10, seed=1, images=CROP, prefetch=1, threads=1), ahead)
    dropped = {batch.images.data_ptr() for batch in loader.epoch(0)}
    gc.collect()
    assert len(dropped) < 15
    kept = list(loader.epoch(1))
    assert len({batch.images.data_ptr() for batch in kept}) == 30
    for batch, plain in zip(kept, tiering.Loader(store, 10, seed=1, images=CROP).epoch(1), strict=True):
        assert np.array_equal(batch.images.numpy(), plain.images)


@pytest.mark.parametrize("ahead", [False, True])
def test_the_state_counts_batches_that_were_handed_out(numbered, ahead):
    plain = tiering.Loader(numbered, 10, seed=1, images=CROP)
    loader = to_cpu(tiering.Loader(numbered, 10, seed=1, images=CROP), ahead)
    for _ in range(2):
        for batch, expected in zip(loader, plain, strict=True):
            assert np.array_equal(batch.indices, expected.indices)
            assert loader.state_dict() == plain.state_dict()
            assert loader.state_dict(1) == plain.state_dict(1)
            assert (len(loader), loader.current_epoch) == (len(plain), plain.current_epoch)


@pytest.mark.parametrize("ahead", [False, True])
def test_iterating_again_serves_the_next_epoch_with_a_count_of_its_own(numbered, ahead):
    plain = tiering.Loader(numbered, 10, seed=1, images=CROP)
    loader = to_cpu(tiering.Loader(numbered, 10, seed=1, images=CROP), ahead)
    orders = [[batch.indices.tolist() for batch in plain.epoch(epoch)] for epoch in range(4)]
    for batch in loader:
        assert batch.indices.tolist() == orders[0][0]
        break
    first, second = iter(loader), iter(loader)
    assert [next(first).indices.tolist() for _ in range(3)] == orders[1][:3]
    assert next(second).indices.tolist() == orders[2][0]
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (2, 10)
    resumed = to_cpu(tiering.Loader(numbered, 10, seed=1, images=CROP), ahead)
    resumed.load_state_dict(loader.state_dict())
    assert len(resumed) == 3
    assert [batch.indices.tolist() for epoch in (resumed, resumed) for batch in epoch] == [*orders[2][1:], *orders[3]]


def test_ranks_share_an_epoch_and_mark_what_is_served_twice(numbered):
    ranks = [tiering.Loader(numbered, 10, ranks=tiering.Ranks(rank, 2), images=CROP).to("cpu") for rank in range(2)]
    found = [list(rank) for rank in ranks]
    assert [[len(batch) for batch in batches] for batches in found] == [[10, 9]] * 2
    assert [[batch.padding for batch in batches] for batches in found] == [[0, 0], [0, 1]]


@settings(max_examples=examples(30))
@given(st.integers(0, 3), st.integers(1, 4), st.booleans(), st.integers(1, 12))
def test_a_resumed_epoch_goes_on_with_equal_batches(numbered, epoch, stop, ahead, batch_size):
    def made():
        return to_cpu(tiering.Loader(numbered, batch_size, seed=5, images=CROP), ahead)

    expected = [batch.images.numpy().tobytes() for batch in made().epoch(epoch)]
    first = made()
    found = [batch.images.numpy().tobytes() for batch in islice(first.epoch(epoch), stop)]
    resumed = made()
    resumed.load_state_dict(first.state_dict())
    rest = [batch.images.numpy().tobytes() for batch in resumed.epoch(epoch)]
    assert [*found, *rest] == expected


@pytest.mark.parametrize("ahead", [False, True])
def test_a_failed_batch_raises_at_its_turn_and_the_next_follows(damaged, ahead):
    loader = to_cpu(tiering.Loader(damaged, 2, shuffle=False, images=CROP), ahead)
    batches, found = iter(loader), []
    while True:
        try:
            found.append(len(next(batches)))
        except StopIteration:
            break
        except DatasetError:
            found.append("failed")
            state = loader.state_dict()
    assert sorted(found, key=str) == [2, 2, 2, 2, 2, "failed"]
    assert state["position"] == 2 * (1 + found.index("failed"))


@pytest.mark.parametrize("ahead", [False, True])
def test_skipped_samples_are_marked_and_counted(damaged, ahead):
    loader = to_cpu(tiering.Loader(damaged, 4, images=CROP, on_error="skip"), ahead)
    assert sum(len(batch.filled) for batch in loader) == 1
    assert loader.stats().skipped == 1


def test_an_epoch_that_is_left_early_ends_its_threads(store):
    with tiering.Loader(store, 8, images=CROP, threads=2).to("cpu") as loader:
        batches = iter(loader)
        next(batches)
        batches.close()
        with pytest.raises(StopIteration):
            next(batches)


def test_batches_move_on_to_another_device(numbered):
    """To PyTorch's meta device, which has shapes but no memory: it copies as a real one does."""
    loader = tiering.Loader(numbered, 10, images=SEVERAL, fields=("score", "caption"))
    batch = next(iter(loader.to("cpu")))
    assert batch.to("cpu") is batch
    for moved in (batch.to("meta"), next(iter(loader.to(torch.device("meta"))))):
        assert {each.device.type for each in (*moved.images, moved.labels, moved["score"])} == {"meta"}
        assert moved.images[0].stride() == batch.images[0].stride()
        assert len(moved["caption"]) == 10
        assert "10 samples" in repr(moved)
        assert "meta" in repr(moved)


@pytest.mark.parametrize("device", ["nonsense", "cuda:x", 1.5])
def test_a_device_that_is_none_is_refused(numbered, device):
    with pytest.raises(UsageError, match="device"):
        tiering.Loader(numbered, 10).to(device)


def test_a_gpu_that_is_not_there_is_refused(numbered):
    with pytest.raises(MachineError, match=r"cuda:99, found . GPUs"):
        tiering.Loader(numbered, 10).to("cuda:99")


def test_without_pytorch_the_error_says_how_to_install_it(numbered):
    code = """
import sys
sys.modules["torch"] = None
import tiering
loader = tiering.Loader(sys.argv[1], 10)
try:
    loader.to("cpu")
except tiering.errors.MachineError as error:
    print(error)
"""
    command = [sys.executable, "-c", "import tiering.errors" + code, numbered.location.url.removeprefix("file://")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install 'tiering[torch]'" in done.stdout
