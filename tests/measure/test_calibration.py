"""Calibration measures what the loader's work takes, and predicts an epoch that is then measured."""

from __future__ import annotations

import time

import pytest

import tiering
from tiering.errors import DatasetError, UsageError
from tiering.measure.calibration import calibrate
from tiering.serve.loader import Loader
from tiering.system.page_cache import drop


@pytest.fixture(scope="module")
def files(photos):
    return tiering.open_store(photos).files()


def test_every_way_has_its_cost(files):
    costs = calibrate(files, (32, 32), codecs=("zstd",))
    assert costs.measured
    assert 0 < costs.view.seconds < costs.decode.seconds
    assert costs.file.seconds > 0
    assert costs.row.seconds > 0
    coding = costs.codings["zstd"]
    assert 0.3 < coding.ratio < 1.1
    assert coding.chunk == (16 << 10) // (32 * 32 * 3)
    assert coding.chunk_s > 0


@pytest.mark.slow
def test_a_large_sample_of_pixels_is_a_chunk_of_its_own(files):
    assert calibrate(files[:50], (80, 80), codecs=("zstd",)).codings["zstd"].chunk == 1


def test_what_is_read_cold_was_taken_out_of_memory_before(files, tmp_path, monkeypatch):
    gone = []

    def seen(paths):
        gone.append(drop(paths))
        return gone[-1]

    monkeypatch.setattr("tiering.measure.calibration.drop", seen)
    calibrate(files, scratch=tmp_path)
    assert len(gone) > 1
    assert all(gone)  # a file that a store has mapped, and read from, would stay


def test_without_a_shape_there_are_no_pixels(files):
    costs = calibrate(files[:50])
    assert costs.codings == costs.training == {}
    assert costs.row.seconds == 0
    assert costs.file.seconds > 0
    # Decoding counts all the same, as crops of 224 x 224.
    assert costs.decode.seconds > costs.view.seconds


@pytest.mark.slow
def test_stores_made_for_training_have_costs_of_their_own(files):
    costs = calibrate(files[:60], (64, 64), codecs=(), reencoded=True)
    assert list(costs.training) == ["jpeg-400", "jpeg-256", "pixels-256"]
    for each in costs.training.values():
        assert each.decode.seconds > 0
        assert each.make_s > 0
    assert costs.training["pixels-256"].view.seconds == 0


def test_what_is_measured_is_about_what_an_epoch_takes(files, photos):
    costs = calibrate(files, codecs=())
    loader = Loader(tiering.open_store(photos), 64, threads=1)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        for batch in loader:
            len(batch)
        took.append(time.perf_counter() - began)
    # Machines that run tests are seldom quiet: this tells a unit that is wrong, no more.
    assert 0.01 < costs.file.seconds * len(files) / min(took) < 100


def test_without_files_on_this_machine_nothing_is_measured():
    with pytest.raises(UsageError, match="images: needs files on this machine"):
        calibrate([])


def test_images_that_cannot_be_decoded_are_named(tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 no image")
    with pytest.raises(DatasetError):
        calibrate([bad], (32, 32))
