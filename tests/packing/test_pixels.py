"""Stores of pixels: one shape, equal to the decoded originals, readable by plain zarr, served as arrays."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from PIL import Image

import tiering
from tiering.errors import DatasetError, UsageError
from tiering.images.image import decode
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape
from tiering.measure.bench import bench
from tiering.serve.torch import StoreDataset
from tiering.testing import assert_every_sample_once

CODECS = ["none", "zstd:1", "lz4", "blosc-lz4-bitshuffle"]


def _expected(photos, key, mode="crop", shape=(24, 32)):
    return to_pixels((photos / key).read_bytes(), key, PixelShape(*shape, 3), mode)


@pytest.mark.parametrize("codec", CODECS)
def test_pixels_are_those_of_the_originals_for_us_and_for_plain_zarr(photos, tmp_path, codec):
    manifest = tiering.convert(
        photos, tmp_path / "store", "zarr", pixels=tiering.Pixels(24, 32), codec=codec, shards=tiering.Shards(100_000)
    )
    assert len(manifest.shards) > 3
    store = tiering.open_store(tmp_path / "store")
    everything = np.arange(len(store))
    pixels = store.read(everything)
    assert (pixels.shape, pixels.dtype) == ((300, 24, 32, 3), np.uint8)
    for row, key in enumerate(store.index.keys(everything)):
        assert np.array_equal(pixels[row], _expected(photos, key.decode()))
    plain = zarr.open_group(tmp_path / "store", mode="r")["images"]
    assert plain.shape == (300, 24, 32, 3)
    assert np.array_equal(plain[:], pixels)
    assert np.array_equal(store[7].image, pixels[7])
    found = tiering.verify(tmp_path / "store", source=photos)
    assert found.ok, found.problems


@pytest.mark.parametrize("mode", ["crop", "pad", "stretch"])
def test_the_mode_of_resizing_is_kept_in_the_manifest(photos, tmp_path, mode):
    manifest = tiering.convert(photos, tmp_path / "store", "zarr", pixels=tiering.Pixels(20, 20, mode=mode))
    assert manifest.settings.pixels.resize == mode
    sample = tiering.open_store(tmp_path / "store")[0]
    assert np.array_equal(sample.image, _expected(photos, sample.key, mode, (20, 20)))


def _alike(place, count, mode="RGB", size=(40, 30)):
    place.mkdir()
    dice = np.random.default_rng(1)
    for number in range(count):
        sides = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
        Image.fromarray(dice.integers(0, 256, sides, dtype=np.uint8), mode).save(place / f"{number}.png")


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_images_of_one_shape_need_no_resize(tmp_path, mode, channels):
    _alike(tmp_path / "images", 20, mode)
    tiering.convert(tmp_path / "images", tmp_path / "store", "zarr", pixels=tiering.Pixels())
    store = tiering.open_store(tmp_path / "store")
    assert store[0].image.shape == (30, 40, channels)
    for i in range(20):
        original = decode((tmp_path / "images" / store[i].key).read_bytes())
        assert np.array_equal(store[i].image, original[:, :, :channels])


def test_images_of_many_shapes_ask_for_a_resize(photos, tmp_path):
    with pytest.raises(DatasetError, match="`pixels`"):
        tiering.convert(photos, tmp_path / "store", "zarr", pixels=tiering.Pixels())


def test_a_colour_image_among_grey_ones_is_a_bad_file(tmp_path):
    _alike(tmp_path / "images", 20, "L")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "images" / "red.png")
    with pytest.raises(DatasetError, match=r"red\.png"):
        tiering.convert(tmp_path / "images", tmp_path / "store", "zarr", pixels=tiering.Pixels(channels=1))
    manifest = tiering.convert(tmp_path / "images", tmp_path / "other", "zarr", pixels=tiering.Pixels())
    assert manifest.settings.pixels.channels == 3


def test_pixels_left_out_leave_a_gap_and_rows_are_found_by_the_offset(tmp_path):
    _alike(tmp_path / "images", 50)
    for name in ("3.png", "30.png"):
        (tmp_path / "images" / name).write_bytes(b"junk")
    manifest = tiering.convert(
        tmp_path / "images",
        tmp_path / "store",
        "zarr",
        pixels=tiering.Pixels(30, 40),
        shards=tiering.Shards(20_000),
        on_error="skip",
    )
    assert (manifest.samples, manifest.left_out) == (48, 2)
    store = tiering.open_store(tmp_path / "store")
    group = zarr.open_group(tmp_path / "store", mode="r")
    rows = group["index/offset"][:] // (30 * 40 * 3)
    assert np.array_equal(group["images"].oindex[rows], store.read(np.arange(48)))


def test_loader_torch_and_bench_take_pixels(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "zarr", pixels=tiering.Pixels(24, 32))
    store = tiering.open_store(tmp_path / "store")
    loader = tiering.Loader(store, 64, seed=3, images="pixels")
    assert_every_sample_once([loader], 0, 300)
    batch = next(iter(loader))
    assert np.array_equal(batch.images, store.read(batch.indices))
    image, label = StoreDataset(store).__getitems__([5, 6])[0]
    assert np.array_equal(image, store[5].image)
    assert label == store[5].label
    assert bench([tmp_path / "store"], epochs=2)[0].samples == 300


def test_pixels_are_exported_as_png(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "zarr", pixels=tiering.Pixels(24, 32))
    assert tiering.export(tmp_path / "store", tmp_path / "again") == 300
    store = tiering.open_store(tmp_path / "store")
    for i in (0, 17, 299):
        name = store[i].key if store[i].key.endswith(".png") else store[i].key + ".png"
        assert np.array_equal(decode((tmp_path / "again" / name).read_bytes()), store[i].image)


@pytest.mark.parametrize("size", ["0x10", "x", "10x", "axb", "10x10x10", "-1x5"])
def test_a_size_that_is_none_is_a_usage_error(program, photos, tmp_path, size):
    done = program("convert", photos, tmp_path / "store", "--to", "zarr", f"--resize={size}")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    with pytest.raises(UsageError):
        tiering.convert(photos, tmp_path / "store", "zarr", codec="nonsense")
