"""The classifier, by its public names: classify a trace, and train, save and load the model that does it."""

from __future__ import annotations

from tiering.workload.classifier import Model, load, save, shipped
from tiering.workload.explain import Fact
from tiering.workload.features import FEATURE_NAMES, features
from tiering.workload.label import WORKLOADS, Workload
from tiering.workload.skops_archive import TRUSTED_TYPES
from tiering.workload.training.train import cross_validate, train
from tiering.workload.verdict import BLOCK_ABOVE, FORECAST_ABOVE, SHOWN_ABOVE, Verdict, classify

__all__ = [
    "BLOCK_ABOVE",
    "FEATURE_NAMES",
    "FORECAST_ABOVE",
    "SHOWN_ABOVE",
    "TRUSTED_TYPES",
    "WORKLOADS",
    "Fact",
    "Model",
    "Verdict",
    "Workload",
    "classify",
    "cross_validate",
    "features",
    "load",
    "save",
    "shipped",
    "train",
]
