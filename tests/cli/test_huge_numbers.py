"""Numbers far beyond sense, or of no sense, are refused in one line or taken: never a fault of our own, never a hang."""

from __future__ import annotations

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import FIXTURES
from tiering.cli.app import app

HUGE = ["100000000000000000000", "900EiB", "-1", "nan", "9" * 400]
MORE = ["1e300", "0", "inf", "9007199254740993"]

OPTIONS = {
    "profile photos": ["--sample", "--probes", "--seed"],
    "convert photos out --to zarr": ["--resize", "--channels", "--shard-size", "--seed"],
    "convert photos out --to lmdb": ["--workers"],
    "append photos store": ["--workers"],
    "bench store --epochs 1": ["--batch-size", "--seed"],
    "bench store --epochs 1 --cache-dir cache": ["--cache-size"],
    "bench store --epochs 1 --metrics-host 127.0.0.1": ["--metrics-port"],
    "estimate --images 1M --image-size 100kB": [
        "--epochs", "--checkpoint-size", "--checkpoint-every", "--batch-size",
    ],
    "estimate --image-size 100kB": ["--images"],
    "estimate --images 1M": ["--image-size"],
    "recommend photos": [
        "--ram", "--epochs", "--budget", "--max-epoch-time", "--samples-per-second", "--gpu-utilisation", "--threads",
        "--nodes", "--checkpoint-size", "--checkpoint-every", "--hour-price", "--resize",
    ],
    "report photos TRACE": ["--ram", "--epochs", "--hour-price"],
    "place TRACE": ["--runs-per-month", "--nodes", "--duration", "--hour-price", "--in-flight", "--most-busy"],
    "probe . --seconds 0.05": ["--size"],
    "cache warm store --cache-dir cache": ["--cache-size"],
    "cache size photos": ["--samples-per-second"],
}  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A directory with a small dataset and its store."""
    root = tmp_path_factory.mktemp("ground")
    for number in range(4):
        (root / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (number, 90, 9)).save(root / "photos" / "ab"[number % 2] / f"{number}.jpg")
    assert CliRunner().invoke(app, ["convert", f"{root}/photos", f"{root}/store", "--to", "lmdb"]).exit_code == 0
    return root


@pytest.mark.parametrize("numbers", [HUGE, pytest.param(MORE, marks=pytest.mark.slow)], ids=["huge", "more"])
@pytest.mark.parametrize(("command", "option"), [(line, each) for line, some in OPTIONS.items() for each in some])
def test_no_number_is_a_fault_of_our_own(ground, tmp_path, monkeypatch, command, option, numbers):
    monkeypatch.chdir(tmp_path)
    for name in "photos", "store":
        (tmp_path / name).symlink_to(ground / name)
    trace = str(FIXTURES / "traces" / "fio-3.iolog")
    words = [trace if word == "TRACE" else word for word in command.split()]
    for number in numbers:
        value = f"{number}x{number}" if option == "--resize" else number
        done = CliRunner().invoke(app, [*words, option, value])
        assert done.exit_code in (0, 2, 3, 4), (value, done.output)
        assert "Traceback" not in done.output
