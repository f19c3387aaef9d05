"""The worked example, and that every quantity moves what depends on it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.advice.estimate import TrainingRun, figures, in_words, lines, texts
from tiering.errors import UsageError

COUNTS = st.integers(1, 10**12)
RUNS = st.builds(TrainingRun, COUNTS, COUNTS, st.integers(1, 10**6), COUNTS, st.integers(1, 10**4), COUNTS)


def test_the_worked_example_in_words():
    assert dict(lines(TrainingRun())) == {
        "an MNIST image": "28 x 28 pixels, 1 byte each = 784 B",
        "a 4K image by the 4,096 x 4,096 definition": "16,777,216 pixels",
        "one 4,520 x 2,540 uncompressed TIFF, 4 channels, 8 bit": "45.9 MB",
        "the same at 16 bit": "91.8 MB",
        "the dataset: 100 million such 8-bit images": "4.59 PB",
        "read in one epoch": "4.59 PB, in 100 million file reads",
        "epochs to train": "5,000",
        "bytes read in the whole run": "22.95 EB",
        "file reads in the whole run": "100 M x 5,000 = 500 billion",
        "a checkpoint": "40 MB, one every 100 epochs",
        "checkpoints in the run": "50, 2 GB in all",
        "one checkpoint interval": "459 PB in 10 billion reads, then one write of 40 MB; repeated 50 times",
        "batches of 32 images": "3,125,000 transfers to the GPU an epoch",
        "bytes read : bytes written, whole run": "about 11.5 billion : 1",
    }


@given(RUNS)
def test_the_identities_between_the_figures_hold_exactly(run):
    assert run.run_bytes_read == run.images * run.image_bytes * run.epochs
    assert run.run_bytes_read == run.run_file_reads * run.image_bytes
    assert run.interval_bytes_read * run.checkpoints <= run.run_bytes_read
    assert (run.epoch_transfers - 1) * run.batch_size < run.images <= run.epoch_transfers * run.batch_size
    if run.checkpoints:
        assert run.read_write_ratio == Fraction(run.run_bytes_read, run.run_bytes_written)
    else:
        assert run.read_write_ratio is None
    assert figures(run).keys() == texts(run).keys()
    assert len(lines(run)) == 14


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"images": 3}, {"dataset_bytes": 3 * 45_900_000, "run_file_reads": 15_000, "epoch_transfers": 1}),
        ({"image_bytes": 10}, {"dataset_bytes": 10**9, "epoch_bytes_read": 10**9, "interval_bytes_read": 10**11}),
        ({"epochs": 250}, {"checkpoints": 2, "intervals": 2, "run_file_reads": 25 * 10**9}),
        ({"checkpoint_bytes": 1}, {"run_bytes_written": 50, "interval_bytes_written": 1}),
        ({"checkpoint_every": 1}, {"checkpoints": 5000, "interval_file_reads": 10**8}),
        ({"batch_size": 33}, {"epoch_transfers": 3_030_304}),
    ],
)
def test_each_quantity_moves_its_figures(change, moved):
    found = figures(replace(TrainingRun(), **change))
    assert {key: found[key] for key in moved} == moved


@pytest.mark.parametrize("name", list(TrainingRun.__dataclass_fields__))
@pytest.mark.parametrize("value", [0, -1])
def test_less_than_one_is_refused_by_name(name, value):
    with pytest.raises(UsageError, match=name):
        replace(TrainingRun(), **{name: value})


def test_a_run_that_writes_nothing_has_no_ratio():
    run = TrainingRun(epochs=99)
    assert figures(run)["bytes_read_per_byte_written"] is None
    assert texts(run)["bytes_read_per_byte_written"] == "nothing is written"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (500 * 10**9, "500 billion"),
        (3_125_000, "3,125,000"),
        (1_280_000, "1.28 million"),
        (5000, "5,000"),
        (999_999_999, "999,999,999"),
        (10**21, f"{10**21:,}"),
    ],
)
def test_counts_in_words_only_where_three_digits_are_exact(count, words):
    assert in_words(count) == words
