"""What helps where the processor sets the pace: no faster storage would."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from tiering.advice.catalog import Tier
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.option import Option
from tiering.advice.prediction import CachePlan, Prediction, Setting, predict
from tiering.advice.ranking import MOST_STALL
from tiering.units import counted, format_count

#: Cores of the largest hosts.
_MOST_CORES: Final = 1024
#: How many times as quick an offer must be to be worth a sentence.
_WORTHWHILE: Final = 1.05


def offers(choice: Option, bought: Tier, plan: CachePlan, data: DatasetSizes, setting: Setting) -> Iterator[str]:
    """Say what would serve more samples a second where decoding, or the processor as a whole, limits the choice.

    Args:
        choice: The chosen option.
        bought: Its tier, as it is bought.
        plan: Its caches.
        data: The dataset.
        setting: What all predictions share.
    """
    if choice.bottleneck not in {"decoding", "all cores"} or not setting.loading.decode or not choice.has_originals:
        return

    def served(setting: Setting) -> Prediction:
        return predict(
            data, bought, choice.store_format, choice.codec, plan,
            copies=choice.copies, loading=setting.loading, costs=setting.costs, order=choice.order,
        )  # fmt: skip

    how = setting.loading
    # Times of an epoch include those of checkpoints, which nothing here changes.
    working = 1 - choice.checkpoint_fraction
    encoded = served(replace(setting, loading=replace(how, decode=False)))
    yield (
        f"Decoding limits it to {format_count(choice.samples_per_s)} samples/s. To decode on the accelerator "
        f"(`decode`) gives {format_count(working * encoded.samples_per_s)}. Pixels of one shape "
        f"{'are among the options' if data.row_bytes else 'need no decoding (`resize`)'}."
    )
    single = replace(how, processes=how.processes * how.threads, threads=1)
    spread = working * served(replace(setting, loading=single)).samples_per_s
    if spread > _WORTHWHILE * choice.samples_per_s:
        yield (
            f"{single.processes:,} loader processes of one thread each, which share no interpreter lock (`processes`, "
            f"`threads`), give {format_count(spread)}."
        )
    if how.samples_per_s is None:
        return

    def keep_up(cores: int) -> bool:
        threads = max(1, cores // how.processes)
        stall = served(replace(setting, loading=replace(how, cores=cores, threads=threads))).stall_fraction
        return (stall or 0.0) <= MOST_STALL

    # Storage, and what threads do not divide, may be too slow for any number.
    cores = bisect_left(range(1, _MOST_CORES + 1), True, key=keep_up) + 1
    if cores <= _MOST_CORES:
        yield f"About {counted(cores, 'core')} on each node, with a thread each, would keep up with the training job."
