"""Faces for PyTorch: a map-style dataset with a sampler, and an iterable dataset, over any store."""

from __future__ import annotations

from tiering.errors import MachineError, needs_package

try:
    import torch as _torch
except ImportError as error:
    raise MachineError(
        "tiering.serve.torch", rule=needs_package("PyTorch", error), action="pip install 'tiering[torch]'"
    ) from error

from tiering.serve.epoch_dataset import EpochDataset
from tiering.serve.epoch_sampler import EpochSampler
from tiering.serve.store_dataset import StoreDataset

__all__ = ["EpochDataset", "EpochSampler", "StoreDataset"]

del _torch
