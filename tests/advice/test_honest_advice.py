"""Advice that says what it rests on: ratios, opens, cores, and what writing costs."""

from __future__ import annotations

import pytest

from tests.advice.profiles import IMAGENET, TIERS, dataset, verdict
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.job import Job
from tiering.advice.loading import Loading
from tiering.advice.prediction import predict
from tiering.advice.recommend import recommend

SIZES = DatasetSizes(1_281_167, 140 * 10**9)


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        (500 * 10**9, "Writes dominate: 3.57 bytes are written for each byte read."),
        (100 * 10**9, "1.4 bytes are read for each byte written."),
        (10**6, "Reads dominate: 140,000 bytes are read for each byte written."),
    ],
)
def test_the_larger_of_reads_and_writes_is_named(checkpoint, words):
    found = recommend(IMAGENET, job=Job(checkpoint_bytes=checkpoint, decode=False))
    assert words in [each.text for each in found.assumptions]


def test_more_workers_open_more_files_of_a_share_at_the_same_time():
    few, many = (predict(SIZES, TIERS["nfs"], "folder", loading=Loading(threads=n, cores=64)) for n in (8, 16))
    assert (few.bottleneck, many.bottleneck) == ("open latency", "open latency")
    assert many.samples_per_s == pytest.approx(2 * few.samples_per_s, rel=0.1)


def test_decoding_scales_with_threads_unless_a_measurement_says_otherwise():
    one, many = (predict(SIZES, TIERS["nvme"], "lmdb", loading=Loading(decode=True, threads=n)) for n in (1, 96))
    assert one.bottleneck == "decoding"
    # Copying out of the map is the share that threads do not divide.
    assert one.stages["decoding"] / 96 < many.stages["decoding"] < one.stages["decoding"] / 70


def test_write_heavy_advice_says_how_much_slower_it_reads_and_what_wears():
    found = recommend(IMAGENET, verdict=verdict("write-heavy"), current="nvme")
    slower = 1 / found.choice.speedup
    assert slower > 1.5
    assert f"{slower:.3g} times as slow" in found.choice.reason
    assert "1 times its own capacity" not in found.choice.reason


def test_a_dataset_of_one_node_has_no_words_about_nodes():
    found = recommend(dataset(1000, 10**8), job=Job(decode=False))
    assert "node" not in found.choice.reason + found.criterion + found.doing_nothing
