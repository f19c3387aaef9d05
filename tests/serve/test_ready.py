"""Ready batches: crops of images in one array, by random numbers that belong to seed, epoch and sample."""

from __future__ import annotations

import io
import itertools
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

import tiering
from tests.examples import examples
from tests.trees import picture, put
from tiering.errors import DatasetError, UsageError
from tiering.images.image import decode
from tiering.serve.ready_images import ReadyImages
from tiering.serve.torch import EpochDataset
from tiering.store.concat import pixel_views
from tiering.store.protocol import pixels_of

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

CROP = tiering.RandomResizedCrop(24, flip=0.5)


@pytest.fixture(scope="module")
def small(photos, tmp_path_factory):
    """A store of 40 photographs: a hundred epochs of it take seconds."""
    source = tmp_path_factory.mktemp("small") / "photos"
    for path in sorted(photos.rglob("*.jpg"))[::6][:40]:
        (source / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, source / path.parent.name)
    assert tiering.convert(source, source.parent / "store", "lmdb", workers=1).samples == 40
    return tiering.open_store(source.parent / "store")


def tensors(*loaders, epoch=0):
    """The image of each sample, by its number."""
    found = {}
    for loader in loaders:
        for batch in loader.epoch(epoch):
            for number, image in zip(batch.indices.tolist(), batch.images, strict=True):
                assert number not in found
                found[number] = image.tobytes()
    return found


def pillow(data, size, box=None):
    pixels = Image.fromarray(decode(data))
    return np.asarray(pixels.resize(size, Image.Resampling.BILINEAR, box=box))


@pytest.mark.parametrize(
    ("dtype", "mean", "std"), [("uint8", None, None), ("float32", MEAN, STD), ("float16", None, None)]
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_batch_is_one_array_of_the_shape_and_type_that_was_asked_for(packed, layout, dtype, mean, std):
    crop = tiering.RandomResizedCrop((20, 30), layout=layout, dtype=dtype, mean=mean, std=std)
    plain = tiering.RandomResizedCrop((20, 30))
    store = tiering.open_store(packed)
    for batch, levels in zip(
        tiering.Loader(store, 32, images=crop), tiering.Loader(store, 32, images=plain), strict=True
    ):
        assert batch.images.shape == ((len(batch), 3, 20, 30) if layout == "NCHW" else (len(batch), 20, 30, 3))
        assert (batch.images.dtype, batch.images.flags.c_contiguous) == (np.dtype(dtype), True)
        assert torch.from_numpy(batch.images).data_ptr() == batch.images.ctypes.data
        want = levels.images if layout == "NCHW" else levels.images.transpose(0, 2, 3, 1)
        if dtype != "uint8":
            channels = (1, 3, 1, 1) if layout == "NCHW" else (1, 1, 1, 3)
            mean_, std_ = (
                np.array(each or fill, np.float32).reshape(channels)
                for each, fill in ((mean, (0,) * 3), (std, (1,) * 3))
            )
            want = ((want.astype(np.float32) * np.float32(1 / 255) - mean_) / std_).astype(dtype)
        assert np.array_equal(batch.images, want)


def test_every_kind_of_store_gives_the_same_batches(packed, photos, tmp_path):
    def by_key(store):
        batches = tiering.Loader(store, 50, images=tiering.CenterCrop(24, resize=28)).epoch(0)
        return {key: image.tobytes() for batch in batches for key, image in zip(batch.keys, batch.images, strict=True)}

    folder = by_key(tiering.open_store(photos))
    assert len(folder) == 300
    assert by_key(tiering.open_store(packed)) == folder
    with tiering.cached(packed, "64MB", tmp_path / "cache") as cached:
        assert by_key(cached) == folder


@settings(max_examples=examples(25))
@given(
    st.sampled_from([1, 2, 8]), st.integers(1, 3), st.integers(1, 3), st.integers(1, 17), st.integers(1, 17),
    st.integers(0, 5), st.integers(0, 3), st.sampled_from(["global", "block", False]),
)  # fmt: skip
def test_a_sample_is_the_same_however_it_is_served(small, threads, ranks, later, size, other, stop, epoch, shuffle):
    """Equal tensors for equal (seed, epoch, sample): over threads, ranks, batch sizes, and an interruption anywhere."""

    def loaders(count, batch_size, threads):
        return [
            tiering.Loader(
                small,
                batch_size,
                seed=9,
                images=CROP,
                threads=threads,
                shuffle=shuffle,
                even=False,
                ranks=tiering.Ranks(r, count),
            )
            for r in range(count)
        ]

    whole = tensors(tiering.Loader(small, 16, seed=9, images=CROP, threads=1), epoch=epoch)
    assert len(whole) == len(small)
    first = loaders(ranks, size, threads)
    found, states = {}, []
    for loader in first:
        for batch in itertools.islice(loader.epoch(epoch), stop):
            found |= {
                number: image.tobytes() for number, image in zip(batch.indices.tolist(), batch.images, strict=True)
            }
        states.append(loader.state_dict(stop))
    assert all(state == states[0] for state in states)
    for loader in loaders(later, other, 2):
        loader.load_state_dict(states[0])
        for batch in loader:
            found |= {
                number: image.tobytes() for number, image in zip(batch.indices.tolist(), batch.images, strict=True)
            }
    assert found == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_serve_the_same_batches(small, workers):
    dataset = EpochDataset(small.location.url, 16, seed=9, images=CROP)
    dataset.set_epoch(1)
    served = [images.numpy() for images, _ in DataLoader(dataset, batch_size=None, num_workers=workers)]
    wanted = [batch.images for batch in tiering.Loader(small, 16, seed=9, images=CROP).epoch(1)]
    assert all(np.array_equal(one, other) for one, other in zip(served, wanted, strict=True))


def test_epochs_seeds_and_samples_have_crops_of_their_own(small):
    loader = tiering.Loader(small, 16, seed=9, images=CROP)
    one, again, other = tensors(loader), tensors(loader), tensors(loader, epoch=1)
    seeded = tensors(tiering.Loader(small, 16, seed=10, images=CROP))
    assert one == again
    assert all(one[number] != other[number] and one[number] != seeded[number] for number in one)


@pytest.mark.parametrize(
    "how", [{"repeats": 3}, {"weights": np.arange(40) % 2 + 1.0}, {"weights": np.ones(40), "repeats": 2, "replacement": False}],
    ids=["repeats", "replacement", "both"],
)  # fmt: skip
def test_copies_of_a_sample_in_one_epoch_differ_whatever_the_ranks(small, how):
    def served(ranks):
        loaders = [
            tiering.Loader(small, 8, images=CROP, even=False, ranks=tiering.Ranks(r, ranks), **how)
            for r in range(ranks)
        ]
        found = {}
        for loader in loaders:
            for batch in loader.epoch(2):
                for number, image in zip(batch.indices.tolist(), batch.images, strict=True):
                    found.setdefault(number, []).append(image.tobytes())
        return {number: sorted(images) for number, images in found.items()}

    alone = served(1)
    assert max(map(len, alone.values())) > 1
    assert all(len(set(images)) == len(images) for images in alone.values())
    assert served(3) == alone


def test_a_mixture_crops_each_pass_over_a_store_differently(small):
    mixture = tiering.mix({small: 1, small.select(range(10)): 1}, until="last")
    found = {}
    for batch in tiering.Loader(mixture, 8, images=CROP).epoch(0):
        for number, image in zip(batch.indices.tolist(), batch.images, strict=True):
            found.setdefault(number, set()).add(image.tobytes())
    assert [len(images) for number, images in sorted(found.items())] == [1] * 40 + [4] * 10


def test_views_are_an_axis_and_several_crops_are_several_arrays(small):
    wide, narrow = (
        tiering.RandomResizedCrop(24, flip=0.5, views=2),
        tiering.RandomResizedCrop(12, scale=(0.05, 0.4), views=3),
    )
    for batch in tiering.Loader(small, 16, images=wide):
        assert batch.images.shape == (2, len(batch), 3, 24, 24)
        assert batch.images[0].flags.c_contiguous
        assert not np.array_equal(batch.images[0], batch.images[1])
    for batch in tiering.Loader(small, 16, images=[wide, narrow]):
        assert [each.shape for each in batch.images] == [(2, len(batch), 3, 24, 24), (3, len(batch), 3, 12, 12)]


def test_flips_mirror_and_come_as_often_as_asked(small):
    never, always, half = (tiering.CenterCrop(24, flip=flip) for flip in (0.0, 1.0, 0.5))
    plain, mirrored, some = (tensors(tiering.Loader(small, 16, images=crop)) for crop in (never, always, half))
    shape = 3, 24, 24
    for number, image in plain.items():
        assert np.array_equal(
            np.frombuffer(image, np.uint8).reshape(shape)[:, :, ::-1],
            np.frombuffer(mirrored[number], np.uint8).reshape(shape),
        )
    flipped = sum(
        tensors(tiering.Loader(small, 16, images=half), epoch=e)[n] != plain[n] for e in range(10) for n in plain
    )
    assert abs(flipped - 200) < 5 * np.sqrt(100)
    assert some != plain


@pytest.mark.parametrize("size", [(24, 24), (9, 40), (300, 200)])
def test_a_resize_is_pillows(small, size):
    loader = tiering.Loader(small, 16, shuffle=False, images=tiering.Resize(size, layout="NHWC"))
    for batch in loader:
        for image, encoded in zip(batch.images, small.read(batch.indices), strict=True):
            off = np.abs(image.astype(int) - pillow(encoded, size[::-1]))
            assert off.mean() <= 0.5
            assert (off <= 3).mean() >= 0.999


def test_a_centre_crop_resizes_the_shorter_side_and_pads_what_is_too_small(tmp_path):
    put(tmp_path / "photos", "a.png", picture(80, 60, "PNG"))
    store = tiering.open_store(tmp_path / "photos")
    (batch,) = tiering.Loader(store, 1, images=tiering.CenterCrop(32, resize=40, layout="NHWC"))
    resized = pillow(store[0].image, (53, 40))
    assert np.abs(batch.images[0].astype(int) - resized[4:36, 10:42]).max() <= 1
    (batch,) = tiering.Loader(store, 1, images=tiering.CenterCrop(100, layout="NHWC"))
    assert np.array_equal(batch.images[0][20:80, 10:90], decode(store[0].image))
    assert batch.images.sum() == decode(store[0].image).sum()


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=40, max_size=40),
)
def test_a_random_resized_crop_lies_within_the_picture(width, height, numbers):
    geometry = tiering.RandomResizedCrop(224).geometry(width, height, numbers)
    left, top, wide, tall = geometry.region
    assert 0 <= left <= width - wide
    assert 0 <= top <= height - tall
    assert min(wide, tall) >= 1
    assert (geometry.size, geometry.corner) == ((224, 224), (0, 0))
    if wide * tall > 10_000:
        assert wide / tall < 4 / 3 + 0.05 or wide == width
        assert tall / wide < 4 / 3 + 0.05 or tall == height


@given(
    st.integers(1, 64),
    st.integers(1, 64),
    st.integers(0, 9),
    st.integers(1, 64),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=2),
)
def test_a_pad_crop_is_as_large_as_asked_or_refused(width, height, padding, size, numbers):
    crop = tiering.PadCrop(size, padding=padding)
    if min(width, height) + 2 * padding < size:
        with pytest.raises(DatasetError, match="pixels to crop"):
            crop.geometry(width, height, numbers)
        return
    geometry = crop.geometry(width, height, numbers)
    assert geometry.region == (0, 0, *geometry.size) == (0, 0, width, height)
    x, y = geometry.corner
    assert -padding <= x <= width + padding - size
    assert -padding <= y <= height + padding - size


def test_pixels_are_cropped_too(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "zarr", pixels=tiering.Pixels(32, 32, mode="stretch"), workers=1)
    store = tiering.open_store(tmp_path / "store")
    pixels = store.read(np.arange(300))
    for batch in tiering.Loader(store, 64, images=tiering.PadCrop(32, padding=4, layout="NHWC")):
        for image, number in zip(batch.images, batch.indices, strict=True):
            padded = np.pad(pixels[number], ((4, 4), (4, 4), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (32, 32, 3)).reshape(81, 32, 32, 3)
            assert (windows == image).all(axis=(1, 2, 3)).any()
    for batch in tiering.Loader(store, 64, images=tiering.RandomResizedCrop(24)):
        assert batch.images.shape == (len(batch), 3, 24, 24)


def test_pictures_of_every_kind_become_three_channels(tmp_path):
    made = {
        "grey.png": Image.new("L", (40, 30), 90), "alpha.png": Image.new("RGBA", (40, 30), (10, 20, 30, 40)),
        "palette.gif": Image.new("P", (40, 30), 3), "cmyk.jpg": Image.new("CMYK", (40, 30), (9, 99, 0, 30)),
        "light.jpg": Image.new("L", (40, 30), 90), "tiny.png": Image.new("RGB", (1, 1), (7, 8, 9)), "web.webp": Image.new("RGB", (40, 30), (1, 2, 3)),
    }  # fmt: skip
    for name, image in made.items():
        written = io.BytesIO()
        image.save(written, {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP"}[name.split(".")[1]])
        put(tmp_path / "photos", name, written.getvalue())
    store = tiering.open_store(tmp_path / "photos")
    (batch,) = tiering.Loader(store, 99, images=tiering.Resize((8, 8), layout="NHWC"))
    assert batch.images.shape == (len(made), 8, 8, 3)
    for image, sample in zip(batch.images, (store[number] for number in batch.indices.tolist()), strict=True):
        assert np.abs(image.astype(int) - pillow(sample.image, (8, 8))).max() <= 1


@pytest.fixture
def masked(tmp_path):
    """Pictures whose red channel is their mask, so that a crop of one shows whether the other was cropped alike."""
    for number in range(12):
        red = np.kron(np.arange(12).reshape(3, 4) + number, np.ones((10, 12))).astype(np.uint8)
        pixels = np.stack([red, red * 0, red * 0], axis=2)
        for name, drawn in ((f"{number}.png", pixels), (f"{number}.mask.png", red)):
            written = io.BytesIO()
            Image.fromarray(drawn).save(written, "PNG")
            if "mask" not in name or number != 5:
                put(tmp_path / "photos", name, written.getvalue())
    return tmp_path / "photos"


@pytest.mark.parametrize(
    "crop",
    [
        tiering.RandomResizedCrop(24, flip=0.5, layout="NHWC", interpolation="nearest"),
        tiering.RandomResizedCrop((50, 9), flip=0.5, layout="NHWC", interpolation="nearest", views=2),
        tiering.CenterCrop((40, 30), layout="NHWC"),
        tiering.PadCrop(30, padding=5, flip=1.0, layout="NHWC"),
    ],
    ids=["random", "views", "centre", "pad"],
)
@pytest.mark.parametrize("transform", [None, lambda sample: (sample.image, sample["mask"])])
def test_masks_are_cropped_with_their_images(masked, tmp_path, crop, transform):
    tiering.convert(masked, tmp_path / "store", "lmdb", workers=1)
    for store in (tiering.open_store(tmp_path / "store"), tiering.open_store(masked)):
        for batch in tiering.Loader(store, 5, images=crop, fields=("mask",), transform=transform):
            lacking = [key == "5.png" for key in batch.keys]
            masks = np.moveaxis(batch["mask"], 1, 0) if crop.views > 1 else batch["mask"]
            if transform is None:
                assert masks.shape == batch.images.shape[:-1]
                images = batch.images[..., 0]
            else:
                images = np.stack([image[..., 0] for image, _ in batch.images], axis=1 if crop.views > 1 else 0)
                assert [mask is None for _, mask in batch.images] == lacking
            missing = np.ma.getmaskarray(masks)
            assert (np.ma.getdata(masks) == images)[~missing].all()
            assert missing.any() == any(lacking)
            assert not missing.all()


@pytest.mark.parametrize("mode", ["crop", "pad", "stretch"])
def test_depth_maps_of_resized_pixels_keep_their_16_bits_and_follow_the_crop(tmp_path, mode):
    for number, (height, width) in enumerate([(48, 60), (60, 48), (48, 48)] * 2):
        down, across = np.mgrid[:height, :width]
        red = 40 + 2 * across + down
        pixels = np.stack([red, red * 0, red * 0], axis=2).astype(np.uint8)
        for name, drawn in ((f"{number}.png", pixels), (f"{number}.depth.png", (256 * red + 7).astype(np.uint16))):
            written = io.BytesIO()
            Image.fromarray(drawn).save(written, "PNG")
            put(tmp_path / "photos", name, written.getvalue())
    shape = tiering.Pixels(32, 32, mode=mode)
    tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", pixels=shape, workers=1)
    crop = tiering.RandomResizedCrop(24, flip=0.5, layout="NHWC")
    for batch in tiering.Loader(tmp_path / "store", 3, images=crop, fields=("depth",)):
        depth = batch["depth"]
        assert (depth.shape, depth.dtype) == ((3, 24, 24), np.uint16)
        inside = depth > 0
        assert (depth[inside] % 256 == 7).all()
        away = np.abs(depth / 256 - batch.images[..., 0])
        # A pixel of the store is nearly two of the map, and a border blends with what is beside it.
        assert (away <= 8).mean() > (0.85 if mode == "pad" else 0.999)
        assert inside.all() or mode == "pad"


@pytest.mark.parametrize(("kind", "white"), [("uint16", 65_535), ("float32", 1)])
def test_pixels_of_16_bits_and_floats_are_cropped_with_all_their_bits(tmp_path, kind, white):
    numbers = np.random.default_rng(0).integers(0, 65_536, (8, 20, 30, 2)).astype(kind)
    (tmp_path / "scans").mkdir()
    for number, each in enumerate(numbers):
        np.save(tmp_path / "scans" / f"{number}.npy", each)
    tiering.convert(tmp_path / "scans", tmp_path / "store", "zarr", pixels=tiering.Pixels(dtype=kind), workers=1)
    crop = tiering.PadCrop((20, 30), flip=1.0, layout="NHWC", dtype="float32")
    (batch,) = tiering.Loader(tmp_path / "store", 8, images=crop)
    wanted = numbers[[int(key[0]) for key in batch.keys]].astype(np.float32) * np.float32(1 / white)
    assert np.array_equal(batch.images, wanted[:, :, ::-1])
    resized = tiering.RandomResizedCrop(16, flip=0.5, dtype="float32")
    (batch,) = tiering.Loader(tmp_path / "store", 8, images=resized)
    assert abs(batch.images.mean() - wanted.mean()) < 0.1 * wanted.std()
    levels = tiering.RandomResizedCrop(16)
    if kind == "float32":
        with pytest.raises(UsageError, match=r"dtype.*float32 or float16 for a store of float32 pixels.*found uint8"):
            tiering.Loader(tmp_path / "store", 8, images=levels)
    else:
        (batch,) = tiering.Loader(tmp_path / "store", 8, images=levels)
        assert batch.images.dtype == np.uint8
        assert 0 < batch.images.min() < batch.images.max() < 256


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_pixels_are_cropped_alike_from_whole_stores_selections_and_concatenations(photos, tmp_path, codec):
    store = tmp_path / "store"
    pixels, shards = tiering.Pixels(80, 80), tiering.Shards(400_000)
    tiering.convert(photos, store, "zarr", pixels=pixels, codec=codec, shards=shards, workers=1)
    whole = tensors(tiering.Loader(store, 16, seed=2, images=CROP))
    with tiering.open_store(store) as opened:
        assert (pixel_views(opened, np.array([3])) is None) == (codec != "none")
        # A chunk is one sample, so blocks of neighbours are as large as without a codec.
        assert opened.block == (8 << 20) // (80 * 80 * 3)
        pixels, crops = opened.read(np.arange(len(opened))), ReadyImages(CROP, pixels_of(opened.manifest), 2)
        drawn = np.zeros((len(opened), 1, 3, 24, 24), np.uint8)
        crops.make_all(pixels, np.arange(len(opened)), 0, np.zeros(len(opened), np.int64), [drawn])
        assert [drawn[number].tobytes() for number in sorted(whole)] == [whole[number] for number in sorted(whole)]
        half = opened.select(np.arange(0, len(opened), 2))
        joined = tiering.concat(half, opened)
        for part in (half, joined):
            numbers = np.arange(min(len(part), 150))
            views = pixel_views(part, numbers)
            assert views is None or np.array_equal(np.stack(views), part.read(numbers))


def test_a_mask_of_other_sides_than_its_image_names_the_sample(masked):
    written = io.BytesIO()
    Image.new("L", (40, 30)).save(written, "PNG")
    (masked / "7.mask.png").write_bytes(written.getvalue())
    store = tiering.open_store(masked)
    with pytest.raises(DatasetError, match=r"7\.png.*: expected 30 x 48 pixels in the field mask.*found 30 x 40"):
        list(tiering.Loader(store, 4, images=CROP, fields=("mask",)))
    loader = tiering.Loader(store, 4, images=CROP, fields=("mask",), on_error="skip")
    assert sum(len(batch["mask"]) for batch in loader) == 12
    assert loader.stats().skipped == 1


def test_a_damaged_image_is_named_or_skipped(some_photos, tmp_path):
    victim = sorted(some_photos.rglob("*.jpg"))[3]
    victim.write_bytes(victim.read_bytes()[:300])
    store = tiering.open_store(some_photos)
    key = str(victim.relative_to(some_photos))
    with pytest.raises(DatasetError, match=key):
        list(tiering.Loader(store, 8, images=CROP))
    loader = tiering.Loader(store, 8, images=CROP, on_error="skip")
    served = [image.tobytes() for batch in loader for image in batch.images]
    assert (len(served), loader.stats().skipped) == (len(store), 1)
    assert bytes(3 * 24 * 24) not in served


def _jittered(sample):
    return sample.image.astype(np.float32) * sample.rng.uniform(0.5, 1.5) + sample.index + sample.epoch


@pytest.mark.parametrize("threads", [1, 8])
def test_a_transform_has_random_numbers_of_its_own_and_its_results_are_stacked(small, threads):
    loader = tiering.Loader(small, 16, seed=3, images=CROP, transform=_jittered, threads=threads)
    for batch, crops in zip(loader.epoch(2), tiering.Loader(small, 16, seed=3, images=CROP).epoch(2), strict=True):
        assert isinstance(batch.images, np.ndarray)
        for image, crop, number in zip(batch.images, crops.images, batch.indices.tolist(), strict=True):
            sample = tiering.Sample(crop, 0, "", index=number, epoch=2, seed=3)
            assert np.array_equal(image, _jittered(sample))


def test_results_of_a_transform_are_joined_as_asked(small):
    def served(transform, collate=None):
        return next(iter(tiering.Loader(small, 4, transform=transform, collate=collate))).images

    assert isinstance(served(lambda sample: torch.ones(3)), torch.Tensor)
    assert served(lambda sample: np.float32(2)).shape == (4,)
    assert served(lambda sample: np.ones(2)).shape == (4, 2)
    assert isinstance(served(lambda sample: np.ones(1 + sample.index % 7)), list)
    assert served(lambda sample: sample.label, sum) == sum(served(lambda sample: sample.label))
    with pytest.raises(ZeroDivisionError):
        served(lambda sample: sample.label, lambda results: 1 / 0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: tiering.Resize(224), "CenterCrop"),
        (lambda: tiering.RandomResizedCrop(0), "size: must be pixels from 1"),
        (lambda: tiering.RandomResizedCrop(224, scale=(0.5, 0.1)), "scale: must be two rising"),
        (lambda: tiering.RandomResizedCrop(224, mean=MEAN), "mean: must be none"),
        (lambda: tiering.RandomResizedCrop(224, dtype="float32", std=(1, 0, 1)), "std: must be numbers above 0"),
        (lambda: tiering.CenterCrop(224, flip=1.5), "flip: must be a probability"),
        (lambda: tiering.CenterCrop(224, layout="CHW"), "layout: must be one of NCHW, NHWC"),
        (lambda: tiering.CenterCrop(224, views=0), "views: must be an integer"),
    ],
)
def test_values_out_of_range_are_refused_by_name(make, match):
    with pytest.raises(UsageError, match=match):
        make()


def test_a_mean_must_fit_the_channels_and_images_must_be_a_form(small):
    with pytest.raises(UsageError, match="mean: must be 3 numbers"):
        tiering.Loader(small, 4, images=tiering.CenterCrop(8, dtype="float32", mean=(0.5,)))
    for wrong in ("pictures", [], [CROP, "pixels"], 224):
        with pytest.raises(ValueError, match="images must be"):
            tiering.Loader(small, 4, images=wrong)
