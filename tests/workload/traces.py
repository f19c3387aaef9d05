"""Trace profiles made by hand, for tests of the classifier."""

from __future__ import annotations

import numpy as np

from tiering.trace.trace_profile import TraceProfile
from tiering.workload.classifier import Model
from tiering.workload.features import FEATURE_NAMES
from tiering.workload.label import WORKLOADS

_TRAINING = {
    "source": "train.strace",
    "format": "strace",
    "level": "file",
    "events": 5000,
    "duration": 4.0,
    "processes": 1,
    "files": 300,
    "reads": 3000,
    "writes": 6,
    "opens": 1500,
    "bytes_read": 9_000_000,
    "bytes_written": 10_000,
    "bytes_reread": 7_200_000,
    "bytes_shared": 0,
    "unique_bytes_read": 1_800_000,
    "mapped_bytes": 0,
    "excluded_bytes": 0,
    "reread_share": 7_200_000 / 9_010_000,
    "write_share": 10_000 / 9_010_000,
    "opens_per_file": 5.0,
    "reopened_share": 1.0,
    "whole_file_share": 1.0,
    "read_only_files": 0.99,
    "write_only_files": 0.01,
    "read_write_files": 0.0,
    "sequentiality": 1.0,
    "order_randomness": 0.97,
    "file_size_mean": 6000.0,
    "file_coverage": 1.0,
    "epochs": 5.0,
}

_NOTHING = {name: 0 for name, value in _TRAINING.items() if isinstance(value, int | float)}


def training(**changes) -> TraceProfile:
    """Five epochs over 300 small files, shuffled."""
    return TraceProfile.model_validate(_TRAINING | changes)


def nothing(**changes) -> TraceProfile:
    """A trace in which no data moved."""
    return TraceProfile.model_validate(_TRAINING | _NOTHING | changes)


class Fixed:
    """An estimator that always answers the same."""

    def __init__(self, *chances):
        self.chances = chances

    def predict_proba(self, vectors):
        return np.tile(np.array(self.chances), (len(vectors), 1))


def fixed(*chances):
    return Model(Fixed(*chances), np.zeros(len(FEATURE_NAMES)))


def sure_of(best, chance):
    return fixed(*(chance if name == best else (1 - chance) / 3 for name in WORKLOADS))
