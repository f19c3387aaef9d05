"""Profile, place, pack and serve image datasets at the speed of the storage below them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tiering.advice.cache_size import CacheSizes, cache_size
    from tiering.advice.catalog import Tier, load_catalog
    from tiering.advice.constraints import Limits
    from tiering.advice.estimate import Estimate, TrainingRun, estimate
    from tiering.advice.recommend import Job, recommend
    from tiering.advice.recommendation import Recommendation
    from tiering.cache.cached_store import CachedStore
    from tiering.cache.metrics import serve_metrics
    from tiering.cache.open import cached
    from tiering.cache.stats import CacheStats
    from tiering.dataset.profile import DatasetProfile, profile_dataset
    from tiering.measure.bench import Measurement, bench
    from tiering.measure.shuffle_quality import ShuffleQuality, shuffle_quality
    from tiering.packing.append import append
    from tiering.packing.convert import convert
    from tiering.packing.executors import Dask
    from tiering.packing.export import export
    from tiering.packing.repair import repair
    from tiering.packing.settings import Pixels, Shards
    from tiering.packing.sync import Synced, sync
    from tiering.packing.verify import verify
    from tiering.placement.heat_sources import read_heat
    from tiering.placement.plan import Placement, place
    from tiering.probing.probe import Probe, probe
    from tiering.serve.batches import Batch
    from tiering.serve.epochs import Ranks
    from tiering.serve.loader import Loader
    from tiering.serve.orders import BlockShuffle, StickyShuffle
    from tiering.sources.source import TableSource
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
    "cache_size": "tiering.advice.cache_size",
    "CacheSizes": "tiering.advice.cache_size",
    "estimate": "tiering.advice.estimate",
    "Estimate": "tiering.advice.estimate",
    "TrainingRun": "tiering.advice.estimate",
    "load_catalog": "tiering.advice.catalog",
    "Tier": "tiering.advice.catalog",
    "place": "tiering.placement.plan",
    "Placement": "tiering.placement.plan",
    "read_heat": "tiering.placement.heat_sources",
    "probe": "tiering.probing.probe",
    "Probe": "tiering.probing.probe",
    "convert": "tiering.packing.convert",
    "Pixels": "tiering.packing.settings",
    "Shards": "tiering.packing.settings",
    "Dask": "tiering.packing.executors",
    "TableSource": "tiering.sources.source",
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
    "cached": "tiering.cache.open",
    "CachedStore": "tiering.cache.cached_store",
    "CacheStats": "tiering.cache.stats",
    "Loader": "tiering.serve.loader",
    "Batch": "tiering.serve.batches",
    "Ranks": "tiering.serve.epochs",
    "BlockShuffle": "tiering.serve.orders",
    "StickyShuffle": "tiering.serve.orders",
    "bench": "tiering.measure.bench",
    "Measurement": "tiering.measure.bench",
    "serve_metrics": "tiering.cache.metrics",
    "shuffle_quality": "tiering.measure.shuffle_quality",
    "ShuffleQuality": "tiering.measure.shuffle_quality",
}

__all__ = [
    "Batch",
    "BlockShuffle",
    "CacheSizes",
    "CacheStats",
    "CachedStore",
    "Dask",
    "DatasetProfile",
    "Estimate",
    "Job",
    "Limits",
    "Loader",
    "Manifest",
    "Measurement",
    "Pixels",
    "Placement",
    "Probe",
    "Profile",
    "Ranks",
    "Recommendation",
    "Sample",
    "Shards",
    "ShuffleQuality",
    "StickyShuffle",
    "Store",
    "Synced",
    "TableSource",
    "Tier",
    "TraceProfile",
    "TrainingRun",
    "Verdict",
    "__version__",
    "append",
    "bench",
    "cache_size",
    "cached",
    "classify",
    "convert",
    "estimate",
    "export",
    "load_catalog",
    "open_store",
    "place",
    "probe",
    "profile_dataset",
    "profile_trace",
    "read_heat",
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
