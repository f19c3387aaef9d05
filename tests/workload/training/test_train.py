"""Training: reproducible, and better than the plain rule on programs that it has not seen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tiering.workload.classifier import load_model, shipped
from tiering.workload.doubt import FLOOR
from tiering.workload.features import FEATURE_NAMES, features
from tiering.workload.label import WORKLOADS
from tiering.workload.training.corpus import CUT, PARTS, Example, examples, recorded
from tiering.workload.training.train import evaluate_model, train_model
from tiering.workload.training.train import main as build


@pytest.fixture(scope="module")
def small():
    return list(examples(3, runs=1, parts=(0.25,), scale=0.2))


def test_the_same_corpus_gives_the_same_model(small):
    vectors = np.array([features(example.trace) for example in small])
    first, again = (train_model(4, small, measure=False).probabilities(vectors) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (len(small), len(WORKLOADS))


def test_medians_are_of_what_is_known(small):
    medians = train_model(0, small, measure=False).medians
    assert medians.shape == (len(FEATURE_NAMES),)
    assert not np.isnan(medians).any()


@pytest.mark.slow
def test_even_a_small_corpus_beats_the_plain_rule_on_unfinished_runs():
    figures = evaluate_model(0, list(examples(3, runs=3, parts=(0.25,), scale=0.2)))
    names = {f"{kind}_{what}" for kind in ("f1", "rule", "answered", "accuracy") for what in ("whole", "0.25")}
    names |= {f"unlisted_f1_{what}" for what in ("whole", "0.25")}
    assert set(figures) >= names | {"answered", "accuracy", "calibration_error", "bytes_f1_0.25", "misleading_wrong"}
    assert figures["f1_0.25"] > figures["rule_0.25"]
    assert all(0 <= figures[name] <= 1 for name in names if not math.isnan(figures[name]))


def test_what_gets_no_verdict_for_want_of_data_counts_as_none_in_evaluation_which_reports_its_progress(small):
    families = sorted({each.family for each in small})[::5]
    some = [_scaled_to(FLOOR / 2, each) for each in small if each.family in families]
    calls = []
    assert evaluate_model(0, some, progress=lambda *call: calls.append(call))["answered"] == 0
    assert calls[: len(some) + 1] == [(number, len(some), 0) for number in range(len(some) + 1)]
    assert (len(families), len(families), 0) in calls[len(some) + 1 :]


def _scaled_to(size: float, example: Example) -> Example:
    """Let a run move that many bytes in all."""
    trace = example.trace
    factor = size / (trace.bytes_read + trace.bytes_written + trace.mapped_bytes)
    names = ("bytes_read", "bytes_written", "bytes_reread", "mapped_bytes", "excluded_bytes")
    sizes = {name: int(getattr(trace, name) * factor) for name in names}
    return replace(example, trace=trace.model_copy(update=sizes))


def test_recorded_programs_are_many_and_of_every_workload():
    runs = [each for each in recorded() if each.part == "whole"]
    assert len(runs) >= 40
    assert len({each.family for each in runs}) >= 15
    assert {each.workload for each in runs} == set(WORKLOADS)


@pytest.mark.parametrize("held_out", ["recorded", "kind"])
def test_of_recorded_programs_that_were_held_out_none_is_misjudged_whole_and_1_percent_from_parts(held_out):
    figures = shipped().figures
    parts = [f"{part:g}" for part in PARTS] + list(CUT)
    assert figures[f"{held_out}_whole"] >= 100
    assert figures[f"{held_out}_wrong_whole"] == 0
    wrong, of = (sum(figures[f"{held_out}{what}_{part}"] for part in parts) for what in ("_wrong", ""))
    assert wrong <= 0.01 * of
    assert figures[f"{held_out}_wrong_0.25"] < figures[f"{held_out}_rule_wrong_0.25"] / 4


def test_no_verdict_on_a_held_out_family_that_was_made_to_mislead_is_wrong():
    assert shipped().figures["misleading_answered"] > 50
    assert shipped().figures["misleading_wrong"] == 0


def test_the_shipped_model_carries_its_figures():
    figures = shipped().figures
    assert figures["f1_whole"] >= 0.975
    assert figures["accuracy"] >= 0.98
    assert figures["calibration_error"] < 0.035
    assert figures["f1_whole"] > figures["rule_whole"]
    assert figures["f1_0.25"] >= 0.87
    assert figures["f1_0.25"] > figures["rule_0.25"] + 0.05


def test_evidence_of_who_reads_helps_and_costs_nothing_where_no_name_is_listed_or_none_is_in_the_trace():
    figures = shipped().figures
    for part in ("0.1", "0.25"):
        assert figures[f"f1_{part}"] > figures[f"unlisted_f1_{part}"] >= figures[f"bytes_f1_{part}"] - 0.01
    assert figures["bytes_f1_0.25"] >= 0.82
    assert figures["answered"] > figures["bytes_answered"]


@pytest.mark.slow
def test_the_build_makes_the_model_that_ships(tmp_path):
    build([str(tmp_path / "again.skops")])
    again = load_model(tmp_path / "again.skops")
    fresh = list(examples(11, runs=2, parts=(0.25,)))
    vectors = np.array([features(example.trace) for example in fresh])
    np.testing.assert_array_equal(again.probabilities(vectors), shipped().probabilities(vectors))
    assert again.thresholds == shipped().thresholds
    assert again.figures == shipped().figures


@pytest.mark.slow
def test_new_runs_of_known_families_are_told_apart():
    fresh = list(examples(12, runs=4, parts=(0.25, 1.0)))
    chances = shipped().probabilities(np.array([features(example.trace) for example in fresh]))
    right = chances.argmax(axis=1) == np.array([WORKLOADS.index(example.workload) for example in fresh])
    whole = np.array([example.part == "whole" for example in fresh])
    assert right[whole].mean() >= 0.95
    assert right[~whole].mean() >= 0.85
