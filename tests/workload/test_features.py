"""The feature vector: its order, its units, and what it does not know."""

from __future__ import annotations

import numpy as np
import pytest

from tests.workload.traces import nothing, training
from tiering.trace.program_evidence import ProgramEvidence
from tiering.workload.features import EVIDENCE_FEATURES, FEATURE_NAMES, features


def test_the_vector_is_in_the_order_of_the_names():
    vector = dict(zip(FEATURE_NAMES, features(training()), strict=True))
    assert vector["reread_share"] == pytest.approx(0.7991, abs=1e-4)
    assert vector["file_size"] == pytest.approx(np.log10(6000))
    assert vector["read_size"] == pytest.approx(np.log10(3000))
    assert vector["order_randomness"] == 0.97
    assert vector["mapped_share"] == 0.0


def test_ten_times_as_long_a_run_with_as_many_epochs_looks_the_same():
    counts = ("events", "files", "reads", "writes", "opens", "bytes_read", "bytes_written", "bytes_reread")
    short = training()
    long = training(**{name: 10 * getattr(short, name) for name in counts}, unique_bytes_read=18_000_000)
    np.testing.assert_allclose(features(long), features(short))


def test_what_a_trace_cannot_tell_is_nan():
    vector = dict(zip(FEATURE_NAMES, features(training(opens=0)), strict=True))
    assert {name for name, value in vector.items() if np.isnan(value)} == {
        "coverage",
        "opens_per_file",
        "reopened_share",
        "whole_file_share",
        *EVIDENCE_FEATURES,
    }
    assert np.isnan(features(nothing())).sum() > 10


def test_no_overlap_with_the_dataset_is_no_coverage():
    place = FEATURE_NAMES.index("coverage")
    assert np.isnan(features(training(coverage=0.0))[place])
    assert features(training(coverage=0.5))[place] == 0.5


def test_kinds_that_mean_much_the_same_count_together_and_missing_ones_are_none():
    kinds = {"key_value": 0.4, "database": 0.7}
    found = features(training(evidence=ProgramEvidence(process_kinds=kinds, unnamed=0.0, alike=4)))
    values = dict(zip(FEATURE_NAMES, found, strict=True))
    assert (values["databases"], values["framework"], values["readers_alike"]) == (0.7, 0.0, 2.0)
    assert np.isnan(values["image_files"])
