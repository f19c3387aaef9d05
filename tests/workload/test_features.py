"""The feature vector: its order, its units, and what it does not know."""

from __future__ import annotations

import numpy as np
import pytest

from tests.workload.traces import nothing, training
from tiering.workload.features import FEATURE_NAMES, features


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
    }
    assert np.isnan(features(nothing())).sum() > 10


def test_no_overlap_with_the_dataset_is_no_coverage():
    place = FEATURE_NAMES.index("coverage")
    assert np.isnan(features(training(coverage=0.0))[place])
    assert features(training(coverage=0.5))[place] == 0.5
