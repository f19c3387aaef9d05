"""`tiering estimate`: the worked example to the last digit, and every flag."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests import warm
from tiering.cli.app import app


def tiering(*words):
    return CliRunner().invoke(app, ["estimate", *words])


def figures(*words):
    done = tiering(*words, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert (document.pop("format"), document.pop("format_version")) == ("tiering-estimate", 1)
    return document


def test_every_figure_of_the_worked_example():
    found = figures()
    text, kept_as = found.pop("text"), found.pop("kept_as")
    assert found == {
        "mnist_image_bytes": 784,
        "image_4k_pixels": 16_777_216,
        "tiff_8_bit_bytes": 45_923_200,
        "tiff_16_bit_bytes": 91_846_400,
        "images": 100_000_000,
        "image_bytes": 45_900_000,
        "dataset_bytes": 4_590_000_000_000_000,
        "epoch_bytes_read": 4_590_000_000_000_000,
        "epoch_file_reads": 100_000_000,
        "epochs": 5000,
        "run_bytes_read": 22_950_000_000_000_000_000,
        "run_file_reads": 500_000_000_000,
        "checkpoint_bytes": 40_000_000,
        "checkpoint_every": 100,
        "checkpoints": 50,
        "run_bytes_written": 2_000_000_000,
        "interval_bytes_read": 459_000_000_000_000_000,
        "interval_file_reads": 10_000_000_000,
        "interval_bytes_written": 40_000_000,
        "intervals": 50,
        "batch_size": 32,
        "epoch_transfers": 3_125_000,
        "bytes_read_per_byte_written": 11_475_000_000,
    }
    assert all(isinstance(value, int) for value in found.values())
    assert [each["name"] for each in kept_as] == ["originals", "jpeg-400", "jpeg-256", "pixels-256"]
    assert kept_as[0]["run_bytes_read"] == found["run_bytes_read"]
    assert kept_as[3]["dataset_bytes"] == 100_000_000 * 256 * 256 * 3
    assert text == {
        "mnist_image_bytes": "784 B",
        "image_4k_pixels": "16,777,216",
        "tiff_8_bit_bytes": "45.9 MB",
        "tiff_16_bit_bytes": "91.8 MB",
        "images": "100 million",
        "image_bytes": "45.9 MB",
        "dataset_bytes": "4.59 PB",
        "epoch_bytes_read": "4.59 PB",
        "epoch_file_reads": "100 million",
        "epochs": "5,000",
        "run_bytes_read": "22.95 EB",
        "run_file_reads": "500 billion",
        "checkpoint_bytes": "40 MB",
        "checkpoint_every": "100",
        "checkpoints": "50",
        "run_bytes_written": "2 GB",
        "interval_bytes_read": "459 PB",
        "interval_file_reads": "10 billion",
        "interval_bytes_written": "40 MB",
        "intervals": "50",
        "batch_size": "32",
        "epoch_transfers": "3,125,000",
        "bytes_read_per_byte_written": "about 11.5 billion : 1",
    }


@pytest.mark.parametrize(
    ("flag", "value", "moved"),
    [
        ("--images", "1.28M", {"images": 1_280_000, "epoch_transfers": 40_000, "run_file_reads": 6_400_000_000}),
        ("--image-size", "110kB", {"image_bytes": 110_000, "dataset_bytes": 11 * 10**12}),
        ("--epochs", "90", {"epochs": 90, "checkpoints": 0, "bytes_read_per_byte_written": None}),
        ("--checkpoint-size", "1GiB", {"checkpoint_bytes": 1 << 30, "run_bytes_written": 50 << 30}),
        ("--checkpoint-every", "1", {"checkpoints": 5000, "interval_bytes_read": 4_590_000_000_000_000}),
        ("--batch-size", "256", {"batch_size": 256, "epoch_transfers": 390_625}),
    ],
)
def test_every_flag_moves_its_figures(flag, value, moved):
    found = figures(flag, value)
    assert {key: found[key] for key in moved} == moved


def test_the_table_says_the_same_and_nothing_is_cut_short():
    done = warm.run("estimate")
    for words in ("100 M x 5,000 = 500 billion", "22.95 EB", "about 11.5 billion : 1", "repeated 50 times"):
        assert words in done.stdout
    assert "…" not in done.stdout
    assert "one 4,520 x 2,540 uncompressed TIFF, 4 channels, 8 bit" in done.stdout


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--images", "0"),
        ("--images", "-5"),
        ("--images", "many"),
        ("--images", "1.5"),
        ("--epochs", "0"),
        ("--image-size", "45,9MB"),
        ("--image-size", "0"),
        ("--batch-size", "0"),
        ("--checkpoint-every", "0"),
    ],
)
def test_nonsense_is_one_line_and_exit_code_2(flag, value):
    done = tiering(flag, value)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("UsageError: ")
    assert len(done.stderr.splitlines()) == 1


def test_help_says_what_it_is_for_an_example_and_which_figure_is_wrong_in_print():
    done = tiering("--help")
    said = " ".join(done.stdout.split())
    assert said.index("Calculate how much") < said.index("tiering estimate --images 1.28M")
    assert "50 billion" in said
