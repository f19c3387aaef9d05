"""`tiering bench` with an emulated job: utilisation beside the predicted one, and clear errors."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tiering import convert
from tiering.cli.app import app


def tiering(*words):
    return CliRunner().invoke(app, ["bench", *map(str, words)])


def test_an_accelerator_is_emulated_and_what_differs_is_said(photos):
    done = tiering(photos, "--emulate", "h100", "--epochs", 2)
    assert done.exit_code == 0, done.stderr
    assert "utilisation" in done.stdout
    assert "ResNet-50 on one H100 (resnet50-h100): 400 samples in 224 ms, 1,786 samples/s" in done.stderr
    assert "MLPerf Storage asks for 90 %" in done.stderr
    assert "those of the emulated model 115 kB" in done.stderr
    assert "An epoch has only 1 step, and the first does not count" in done.stderr
    assert "Encoded images were served, and not decoded" in done.stderr


def test_json_has_measured_and_predicted_utilisation(photos, tmp_path):
    packed = tmp_path / "photos.lmdb"
    convert(photos, packed, "lmdb")
    done = tiering(packed, "--step", "2ms", "--batch-size", 20, "--epochs", 2, "--tier", "hdd", "--json")
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)["measurements"]
    busy = found["utilisation"]
    assert busy["step_seconds"] == 0.002
    assert busy["samples_per_s"] == pytest.approx(10_000)
    assert 0 < busy["predicted_first"] <= busy["predicted_later"] <= 1
    assert 0 < busy["first"] <= 1
    assert busy["emulated_sample_bytes"] is None
    assert json.loads(tiering(packed, "--epochs", 2, "--json").stdout)["measurements"][0]["utilisation"] is None


def test_ready_batches_are_measured_beside_the_folders(photos, tmp_path):
    convert(photos, tmp_path / "photos.lmdb", "lmdb")
    done = tiering(photos, tmp_path / "photos.lmdb", "--images", "32x48", "--epochs", 2)
    assert done.exit_code == 0, done.stderr
    assert "3 x 32 x 48 uint8" in done.stderr
    assert "per CPU-second" in done.stdout
    done = tiering(tmp_path / "photos.lmdb", "--images", "32", "--epochs", 2, "--step", "1ms", "--json")
    (found,) = json.loads(done.stdout)["measurements"]
    assert found["later_cpu_seconds"] > 0
    assert found["utilisation"]["predicted_later"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--images", "224px"), "--images: must be HxW"),
        (("--emulate", "tpu"), "--emulate: must be one of resnet50-h100, resnet50-a100"),
        (("--emulate", "h100", "--step", "1s"), "takes one of --emulate, --samples-per-second and --step, not both"),
        (("--samples-per-second", "0"), "--samples-per-second: must be above 0, not 0"),
        (("--step", "soon"), "is not a duration"),
        (("--tier", "nvme"), "--tier: needs --emulate, --samples-per-second or --step beside it"),
        (("--step", "1ms", "--tier", "attic"), "--tier: must be one of dram, nvme"),
    ],
)
def test_what_cannot_be_emulated_is_one_clear_error(photos, words, message):
    done = tiering(photos, *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
