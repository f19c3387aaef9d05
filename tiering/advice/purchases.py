"""Each tier as it would be bought for a dataset, and from how far the nodes would read it."""

from __future__ import annotations

from collections.abc import Iterator

from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.option import Option
from tiering.advice.prediction import Setting
from tiering.advice.sizing import sized
from tiering.advice.stored_size import served_bytes, stored_on
from tiering.advice.tier import Tier
from tiering.literals import Format


def by_rule(home: Tier, tier: Tier) -> bool:
    """Return whether a lifecycle rule of the bucket moves objects from the one tier to the other."""
    both = home.access == tier.access == "object" and home.cloud == tier.cloud
    # Rules move objects to colder classes. The way back is a copy, which pays for reading.
    return both and tier.price < home.price and tier.transition_price is not None


def as_small_as_the_data(tier: Tier, data: DatasetSizes, store_format: Format, codec: str, setting: Setting) -> Tier:
    """Return the tier as it is bought for the room that the dataset needs."""
    return sized(tier, _on_one_system(tier, data, store_format, codec, setting))


def ways_to_buy(tier: Tier, data: DatasetSizes, store_format: Format, codec: str, setting: Setting) -> Iterator[Tier]:
    """Yield the tier as it is bought for the dataset, and for the rate of the job where that buys more."""
    least = as_small_as_the_data(tier, data, store_format, codec, setting)
    yield least
    rate = setting.loading.samples_per_s
    if rate is None:
        return
    own = rate / (1 if tier.network else setting.loading.nodes)
    room = _on_one_system(tier, data, store_format, codec, setting)
    quick = sized(tier, room, own * served_bytes(data, store_format) / data.samples, own)
    if quick != least:
        yield quick


def _on_one_system(tier: Tier, data: DatasetSizes, store_format: Format, codec: str, setting: Setting) -> int:
    """Return the bytes on the shared system, or on each node: all of the dataset where its disk holds that."""
    stored = stored_on(tier, data, store_format, codec, setting.costs)
    return stored if tier.network or tier.holds(stored) else -(-stored // setting.loading.nodes)


def distances(tier: Tier, home: Tier, setting: Setting) -> tuple[bool, ...]:
    """Return whether the nodes read a tier from afar.

    The dataset's own tier is far where it is now. Storage of its kind beside the nodes is another way, except where the
    nodes are outside the cloud. Other clouds are then far as well.
    """
    border = setting.terms.reads_from
    if border == "same-zone" or not tier.network:
        return (False,)
    if border == "internet":
        return (tier == home or tier.cloud not in {None, "onprem"},)
    return (True, False) if tier == home else (False,)


def bought_for(option: Option, tier: Tier, data: DatasetSizes, setting: Setting) -> Tier:
    """Return the tier of an option as the option has it bought: with the speed that the job needs, or without."""
    least, *quick = ways_to_buy(tier, data, option.store_format, option.codec, setting)
    return quick[0] if option.provisioned and quick else least
