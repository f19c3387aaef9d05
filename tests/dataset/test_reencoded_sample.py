"""Figures of stores made for training, from some images of a dataset that are re-encoded in memory."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
from PIL import Image

import tiering
from tests.damage import half_a_png
from tests.trees import FIXTURES
from tiering.dataset import reencoded_sample
from tiering.dataset.profile import DatasetProfile, profile_dataset
from tiering.errors import UsageError
from tiering.images.reencoding import reencode
from tiering.images.training_formats import TRAINING_FORMATS, flags_of


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """30 JPEGs of many sizes and contents, some of them above 400 pixels."""
    root, random = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for number in range(30):
        high, wide = random.integers(200, 500, 2).tolist()
        rough = random.integers(0, 256, (random.integers(4, 60), random.integers(4, 60), 3), np.uint8)
        picture = Image.fromarray(rough).resize((wide, high), Image.Resampling.BICUBIC)
        picture.save(root / f"{number:02}.jpg", quality=int(random.integers(80, 98)))
    return root


@pytest.fixture(scope="module")
def whole(scenes):
    """The profile with all of them re-encoded."""
    return profile_dataset(scenes, reencoded=True)


def test_the_bytes_are_those_of_all_images_where_all_were_re_encoded(scenes, whole):
    files = tiering.open_store(scenes).files()
    for name in ("jpeg-400", "jpeg-256"):
        sizes = [len(reencode(path.read_bytes(), path.name, TRAINING_FORMATS[name])) for path in files]
        assert whole.reencoded[name].size.exact
        assert whole.reencoded[name].size.value == pytest.approx(np.mean(sizes))
        assert whole.reencoded[name].images == len(files)
    assert whole.reencoded["pixels-256"].size.value == 256 * 256 * 3
    assert DatasetProfile.model_validate_json(whole.model_dump_json()) == whole


def test_less_is_lost_the_larger_the_pictures_are(whole):
    found = whole.reencoded
    mild, strong, pixels = found["jpeg-400"], found["jpeg-256"], found["pixels-256"]
    assert 1 > mild.ssim > strong.ssim > 0.5
    assert mild.psnr > strong.psnr > 20
    assert mild.ssim_low <= mild.ssim
    assert (mild.area, strong.area) == (1, 1)
    # Pixels of one shape keep the middle square.
    assert 0.3 < pixels.area < 0.95
    assert 0 < strong.decode_ratio < 1


def test_a_few_images_foretell_the_bytes_of_all(scenes, whole, monkeypatch):
    truth = whole.reencoded["jpeg-400"].size.value
    monkeypatch.setattr(reencoded_sample, "REENCODED", 12)
    some = [profile_dataset(scenes, reencoded=True, seed=seed).reencoded["jpeg-400"].size for seed in range(5)]
    assert all(each.sample == 12 and not each.exact for each in some)
    assert np.median([abs(each.value / truth - 1) for each in some]) < 0.08
    assert sum(each.low <= truth <= each.high for each in some) >= 3


@pytest.mark.parametrize("count", [1, 4, 8])
def test_very_few_images_do_not_pass_for_all_of_them(scenes, whole, monkeypatch, count):
    truth = whole.reencoded["jpeg-400"].size.value
    monkeypatch.setattr(reencoded_sample, "REENCODED", count)
    some = [profile_dataset(scenes, reencoded=True, seed=seed).reencoded["jpeg-400"].size for seed in range(3)]
    assert all(each.low < min(truth, each.value) and max(truth, each.value) < each.high for each in some)


def test_tar_files_and_folders_agree(scenes, whole, tmp_path):
    with tarfile.open(tmp_path / "scenes.tar", "w") as tar:
        for path in sorted(scenes.iterdir()):
            tar.add(path, path.name)
    other = profile_dataset(tmp_path / "scenes.tar", reencoded=True).reencoded
    for name, figures in whole.reencoded.items():
        assert other[name].size == figures.size
        assert other[name].ssim == pytest.approx(figures.ssim)


def test_a_store_of_originals_can_be_asked_and_one_of_pixels_not(scenes, whole, tmp_path):
    tiering.convert(scenes, tmp_path / "scenes.lmdb", "lmdb")
    found = tiering.profile_store(tmp_path / "scenes.lmdb", reencoded=True)
    assert found.reencoded["jpeg-256"].size == whole.reencoded["jpeg-256"].size
    tiering.convert(scenes, tmp_path / "pixels.zarr", "zarr", pixels=tiering.Pixels(8, 8))
    with pytest.raises(UsageError, match="encoded images"):
        tiering.profile_store(tmp_path / "pixels.zarr", reencoded=True)


def test_an_image_that_cannot_be_re_encoded_is_counted(tmp_path):
    for path in sorted(FIXTURES.rglob("*.jpg"))[:4]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "torn.png").write_bytes(half_a_png())
    found = profile_dataset(tmp_path, reencoded=True)
    assert found.reencoded["jpeg-400"].images == 4
    assert any("1 of 5 images could not be re-encoded" in line and "torn.png" in line for line in found.notes)


def test_nothing_is_re_encoded_unless_it_is_asked_for(scenes):
    assert profile_dataset(scenes).reencoded == {}


def test_each_format_has_the_flags_that_make_it():
    assert [flags_of(name) for name in TRAINING_FORMATS] == [
        ["--max-side", "400", "--quality", "90"],
        ["--max-side", "256", "--quality", "90"],
        ["--resize", "256x256", "--codec", "none"],
    ]
