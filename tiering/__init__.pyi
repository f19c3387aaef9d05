# The public names of tiering and the module of each: for type checkers, and read by `__getattr__` in `__init__.py`.
# isort: skip_file

from tiering.advice.accelerators import (
    Accelerator as Accelerator,
    find_accelerator as find_accelerator,
    with_accelerators as with_accelerators,
)
from tiering.advice.cache_size import (
    CacheSizes as CacheSizes,
    cache_size as cache_size,
    sizes_for_trace as sizes_for_trace,
    sizes_for_training as sizes_for_training,
)
from tiering.advice.catalog import load_catalog as load_catalog
from tiering.advice.constraints import Limits as Limits
from tiering.advice.estimate import Estimate as Estimate, TrainingRun as TrainingRun, estimate as estimate
from tiering.advice.job import Job as Job
from tiering.advice.option import Option as Option
from tiering.advice.recommend import recommend as recommend
from tiering.advice.recommendation import Recommendation as Recommendation
from tiering.advice.saved_advice import Assumptions as Assumptions
from tiering.advice.saved_advice import SavedAdvice as SavedAdvice
from tiering.advice.saved_advice import advise as advise
from tiering.advice.saved_advice import read_advice as read_advice
from tiering.advice.saved_advice import write_advice as write_advice
from tiering.advice.tier import ReadPoint as ReadPoint, Tier as Tier
from tiering.cache.cached_store import CachedStore as CachedStore
from tiering.cache.cached_store import cached as cached
from tiering.cache.maintenance import (
    CacheCheck as CacheCheck,
    CacheInfo as CacheInfo,
    cache_info as cache_info,
    clear_cache as clear_cache,
    verify_cache as verify_cache,
    warm_cache as warm_cache,
)
from tiering.cache.metrics import serve_metrics as serve_metrics
from tiering.cache.stats import CacheStats as CacheStats
from tiering.dataset.profile import DatasetProfile as DatasetProfile, profile_dataset as profile_dataset
from tiering.images.crops import (
    CenterCrop as CenterCrop,
    PadCrop as PadCrop,
    RandomResizedCrop as RandomResizedCrop,
    Resize as Resize,
)
from tiering.images.reencoded import Reencoded as Reencoded
from tiering.measure.bench import bench as bench
from tiering.measure.calibration import calibrate as calibrate
from tiering.measure.emulated_job import EmulatedJob as EmulatedJob, emulated_job as emulated_job
from tiering.measure.measurement import Measurement as Measurement, Utilisation as Utilisation
from tiering.measure.shuffle_quality import ShuffleQuality as ShuffleQuality, shuffle_quality as shuffle_quality
from tiering.packing.append import append as append
from tiering.packing.convert import convert as convert
from tiering.packing.executors import Dask as Dask
from tiering.packing.export import export as export
from tiering.packing.log import StoreLog as StoreLog, log as log
from tiering.packing.relabel import Relabelled as Relabelled, relabel as relabel
from tiering.packing.remove import Removed as Removed, remove as remove
from tiering.packing.repair import repair as repair
from tiering.packing.settings import Pixels as Pixels, Shards as Shards
from tiering.packing.sync import Synced as Synced, sync as sync
from tiering.packing.verification import Verification as Verification
from tiering.packing.verify import verify as verify
from tiering.permutation import EpochOrder as EpochOrder
from tiering.placement.dataset_plan import (
    DatasetPlacement as DatasetPlacement,
    PlacedDataset as PlacedDataset,
    place_datasets as place_datasets,
)
from tiering.placement.fair_shares import fair_shares as fair_shares
from tiering.placement.heat_sources import read_heat as read_heat
from tiering.placement.month import Month as Month
from tiering.placement.plan import (
    Placement as Placement,
    PlacementSummary as PlacementSummary,
    TierShare as TierShare,
    place as place,
)
from tiering.placement.survey import (
    Survey as Survey,
    SurveyedDataset as SurveyedDataset,
    survey as survey,
)
from tiering.placement.survey_file import read_survey as read_survey, write_survey as write_survey
from tiering.probing.probe import Probe as Probe, probe as probe
from tiering.reporting.comparison import write_comparison as write_comparison
from tiering.reporting.model_card import write_model_card as write_model_card
from tiering.reporting.page import write_report as write_report
from tiering.reporting.printed import write_figures as write_figures
from tiering.serve.batches import Batch as Batch
from tiering.serve.loader import Loader as Loader
from tiering.serve.mixture import Mixture as Mixture, mix as mix
from tiering.serve.orders import BlockShuffle as BlockShuffle, StickyShuffle as StickyShuffle
from tiering.serve.ranks import Ranks as Ranks
from tiering.sources.source import TableSource as TableSource
from tiering.store.changes import Change as Change
from tiering.store.concat import ConcatStore as ConcatStore, concat as concat
from tiering.store.manifest import Manifest as Manifest
from tiering.store.open import open_store as open_store
from tiering.store.profile import profile_store as profile_store
from tiering.store.protocol import Store as Store
from tiering.store.sample import Sample as Sample
from tiering.store.selection import Selection as Selection
from tiering.trace.capture import Recording as Recording, record as record
from tiering.trace.profile import profile_events as profile_events, profile_trace as profile_trace
from tiering.trace.readers import read_trace as read_trace
from tiering.trace.trace_profile import TraceProfile as TraceProfile
from tiering.trace.watching.job_progress import ProgressTally as ProgressTally
from tiering.trace.watching.watch import Watched as Watched, watch as watch
from tiering.trace.waiting import Waiting as Waiting
from tiering.workload.cause import Cause as Cause
from tiering.workload.causes import causes as causes
from tiering.workload.classifier import Model as Model, load_model as load_model, save_model as save_model
from tiering.workload.profile import Profile as Profile, read_profile as read_profile, write_profile as write_profile
from tiering.workload.training.own_traces import own_examples as own_examples
from tiering.workload.training.train import evaluate_model as evaluate_model, train_model as train_model
from tiering.workload.verdict import Verdict as Verdict, classify as classify

__version__: str
