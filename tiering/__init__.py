"""Profile, place, pack and serve image datasets at the speed of the storage below them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tiering.advice.constraints import Limits
    from tiering.advice.recommend import Job, recommend
    from tiering.advice.recommendation import Recommendation
    from tiering.dataset.profile import DatasetProfile, profile_dataset
    from tiering.packing.append import append
    from tiering.packing.convert import convert
    from tiering.packing.export import export
    from tiering.packing.repair import repair
    from tiering.packing.sync import Synced, sync
    from tiering.packing.verify import verify
    from tiering.serve.cache.open import cached
    from tiering.serve.cache.stats import CacheStats
    from tiering.serve.cache.store import CachedStore
    from tiering.serve.loader import Batch, Loader
    from tiering.serve.metrics import serve_metrics
    from tiering.serve.quality import ShuffleQuality, shuffle_quality
    from tiering.store.manifest import Manifest
    from tiering.store.open import open_store
    from tiering.store.protocol import Sample, Store
    from tiering.trace.profile import profile_trace
    from tiering.trace.readers import read_trace
    from tiering.trace.trace_profile import TraceProfile
    from tiering.workload.model import Verdict, classify
    from tiering.workload.profile import Profile

# Imported on first use: `tiering --help` must not pay for scikit-learn, Polars and Zarr.
_HOME = {
    "profile_dataset": "tiering.dataset.profile",
    "DatasetProfile": "tiering.dataset.profile",
    "read_trace": "tiering.trace.readers",
    "profile_trace": "tiering.trace.profile",
    "TraceProfile": "tiering.trace.trace_profile",
    "Profile": "tiering.workload.profile",
    "classify": "tiering.workload.model",
    "Verdict": "tiering.workload.model",
    "recommend": "tiering.advice.recommend",
    "Job": "tiering.advice.recommend",
    "Limits": "tiering.advice.constraints",
    "Recommendation": "tiering.advice.recommendation",
    "convert": "tiering.packing.convert",
    "append": "tiering.packing.append",
    "export": "tiering.packing.export",
    "repair": "tiering.packing.repair",
    "sync": "tiering.packing.sync",
    "Synced": "tiering.packing.sync",
    "verify": "tiering.packing.verify",
    "open_store": "tiering.store.open",
    "Store": "tiering.store.protocol",
    "Sample": "tiering.store.protocol",
    "Manifest": "tiering.store.manifest",
    "cached": "tiering.serve.cache.open",
    "CachedStore": "tiering.serve.cache.store",
    "CacheStats": "tiering.serve.cache.stats",
    "Loader": "tiering.serve.loader",
    "Batch": "tiering.serve.loader",
    "serve_metrics": "tiering.serve.metrics",
    "shuffle_quality": "tiering.serve.quality",
    "ShuffleQuality": "tiering.serve.quality",
}

__all__ = [
    "Batch",
    "CacheStats",
    "CachedStore",
    "DatasetProfile",
    "Job",
    "Limits",
    "Loader",
    "Manifest",
    "Profile",
    "Recommendation",
    "Sample",
    "ShuffleQuality",
    "Store",
    "Synced",
    "TraceProfile",
    "Verdict",
    "__version__",
    "append",
    "cached",
    "classify",
    "convert",
    "export",
    "open_store",
    "profile_dataset",
    "profile_trace",
    "read_trace",
    "recommend",
    "repair",
    "serve_metrics",
    "shuffle_quality",
    "sync",
    "verify",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tiering' has no attribute {name!r}")
