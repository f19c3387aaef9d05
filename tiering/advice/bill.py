"""The bill of a dataset on a tier: USD a month, and once for moving in.

    billed bytes    sum over objects of max(bytes, minimum_object), at least minimum_capacity, in whole capacity_steps
    storage         billed GB x price, with the prices of price_steps for the GB above each step
    requests        reads / 1,000 x request_price
    retrieval       GB read x retrieval_price
    egress          GB read x the price of the border that they cross: none, another zone, another region, the internet
    provisioned     MB/s above the included ones x bandwidth_price + IOPS above the included ones x iops_price
    writes          once: objects / 1,000 x write_request_price, or x transition_price where a lifecycle rule moves them
    upload          once: GB x write_gb_price
    early_deletion  once: storage for the days left until minimum_days

A GB has `Tier.gb` bytes, a MB 10^6. Storage and provisioned rates count for the part of the month that data is kept.

Example: 100 million thumbnails of 10 kB fill 1 TB. A class with a minimum object of 128 KiB bills 13.1 TB for them, so
that at 0.0125 instead of 0.023 USD/GB it costs seven times as much as the standard class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

from tiering.advice.cpu_costs import Costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.sizing import sized
from tiering.advice.stored_size import stored_on
from tiering.advice.tier import Tier
from tiering.literals import Format, ReadsFrom
from tiering.units import MONTH_SECONDS

#: Days of a month: 365.25 / 12.
MONTH_DAYS: Final = MONTH_SECONDS / 86400
#: Bytes of an object of a packed store: the usual size of a shard. Only the number of writes depends on it.
PACKED_OBJECT: Final = 256 << 20
_MB: Final = 10**6
#: Where readers across a border are, in words.
_READERS: Final = {"other-zone": "another zone", "other-region": "another region", "internet": "the internet"}


@dataclass(frozen=True, slots=True)
class Terms:
    """How the month that is billed is used.

    Attributes:
        runs_per_month: Runs of the training job in a month.
        reads_from: Where the readers are, as seen from a tier behind a network. A local tier is in the node itself.
        kept_days: Days that the data is kept; None for good. Below a month only these days are billed, but at least the
            tier's minimum_days.
        by_rule: Whether a lifecycle rule moves the objects in, where the tier has a price for that.

    Raises:
        ValueError: For negative or infinite numbers.
    """

    runs_per_month: float = 1.0
    reads_from: ReadsFrom = "same-zone"
    kept_days: float | None = None
    by_rule: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.runs_per_month < math.inf and 0 <= (self.kept_days or 0.0) < math.inf):
            message = f"terms: expected runs and days of at least 0, found {self.runs_per_month} and {self.kept_days}"
            raise ValueError(message)

    @property
    def month(self) -> float:
        """Share of a month that the data is kept; 1 for a month and more."""
        return 1.0 if self.kept_days is None else min(1.0, self.kept_days / MONTH_DAYS)


@dataclass(frozen=True, slots=True)
class Bill:
    """USD: what each month costs, and what is paid once.

    Attributes:
        storage: Room, with minimum sizes and volume prices.
        requests: Reads, each of which is charged.
        retrieval: Bytes read.
        egress: Bytes that leave the zone, the region or the cloud.
        provisioned: Bandwidth and IOPS that are bought.
        cache: Room of the caches in front.
        writes: Once: the objects written or moved in.
        upload: Once: the bytes written.
        early_deletion: Once: storage for the days left until the tier's minimum_days.
    """

    storage: float = 0.0
    requests: float = 0.0
    retrieval: float = 0.0
    egress: float = 0.0
    provisioned: float = 0.0
    cache: float = 0.0
    writes: float = 0.0
    upload: float = 0.0
    early_deletion: float = 0.0

    @property
    def total(self) -> float:
        """USD a month."""
        return self.storage + self.requests + self.retrieval + self.egress + self.provisioned + self.cache

    @property
    def once(self) -> float:
        """USD that are paid once."""
        return self.writes + self.upload + self.early_deletion

    def __add__(self, other: Bill) -> Bill:
        return Bill(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Bill)))

    def times(self, systems: float) -> Bill:
        """Return this bill for several systems."""
        return Bill(*(getattr(self, field.name) * systems for field in fields(Bill)))


def monthly_bill(
    objects: DatasetSizes, tier: Tier, *, reads: float = 0.0, bytes_read: float = 0.0, terms: Terms | None = None
) -> Bill:
    """Return the bill of objects on one system of a tier.

    The module's docstring has the formulas.

    Args:
        objects: The objects or files as they are stored: their number, bytes, and distribution of sizes.
        tier: Where they are, as it is bought (advice/sizing.py): with its provisioned rates.
        reads: Reads of the month that the tier answers.
        bytes_read: Bytes of these reads.
        terms: How the month is used; by default kept for good, and read in the same zone.

    Returns:
        The bill in USD, not rounded.

    Raises:
        ValueError: For negative or infinite reads or bytes.

    Example:
        >>> from tiering.advice.catalog import find_tier, load_catalog
        >>> nvme = find_tier(load_catalog(), "nvme")
        >>> round(monthly_bill(DatasetSizes(samples=1000, bytes=10**12), nvme).storage, 2)
        80.0
    """
    if not (0 <= reads < math.inf and 0 <= bytes_read < math.inf):
        message = f"bill: expected reads and bytes of at least 0, found {reads} and {bytes_read}"
        raise ValueError(message)
    terms = terms or Terms()
    days = math.inf if terms.kept_days is None else terms.kept_days
    month = terms.month
    storage, count = storage_usd(billed_bytes(objects, tier), tier), objects.samples
    moved = tier.write_request_price
    if terms.by_rule and tier.transition_price is not None:
        moved = tier.transition_price
    more = max(0.0, tier.provisioned_bandwidth - tier.included_bandwidth) / _MB * tier.bandwidth_price
    more += max(0.0, tier.provisioned_iops - tier.included_iops) * tier.iops_price
    return Bill(
        storage=storage * month,
        requests=reads / 1000 * tier.request_price,
        retrieval=bytes_read / tier.gb * tier.retrieval_price,
        egress=bytes_read / tier.gb * (egress_price(tier, terms.reads_from) or 0.0),
        provisioned=more * month,
        writes=count / 1000 * moved,
        upload=objects.bytes / tier.gb * tier.write_gb_price,
        early_deletion=storage * max(0.0, tier.minimum_days - days) / MONTH_DAYS,
    )


def bill_of_copies(
    objects: DatasetSizes,
    tier: Tier,
    copies: int,
    nodes: int,
    *,
    reads: float = 0.0,
    bytes_read: float = 0.0,
    terms: Terms | None = None,
) -> Bill:
    """Return the bill of all copies of a dataset.

    One copy on a local tier of several nodes is divided among them: each node buys room for its part.

    Args:
        objects: One copy, as it is stored.
        tier: Where it is.
        copies: Copies that are kept.
        nodes: Nodes that share each epoch.
        reads: Reads of the month that the tier answers, on all nodes together.
        bytes_read: Bytes of these reads.
        terms: How the month is used.
    """
    systems = copies if tier.network or copies > 1 else nodes
    parts = systems // copies
    if parts > 1:
        objects = replace(objects, samples=-(-objects.samples // parts), bytes=-(-objects.bytes // parts))
    one = monthly_bill(objects, tier, reads=reads / systems, bytes_read=bytes_read / systems, terms=terms)
    return one.times(systems)


def early_deletion_in_month(bill: Bill, terms: Terms) -> float:
    """Return USD of early deletion that the month itself pays, because the data is deleted within it."""
    return bill.early_deletion if terms.kept_days is not None and terms.kept_days < MONTH_DAYS else 0.0


def room_usd(size: float, tier: Tier) -> float:
    """Return USD a month for the smallest system of a tier that holds `size` bytes in large files."""
    return monthly_bill(DatasetSizes(1, math.ceil(size)), sized(tier, size)).total if size > 0 else 0.0


def billed_bytes(objects: DatasetSizes, tier: Tier) -> float:
    """Return the bytes that a system of a tier bills for objects."""
    short = sum(share * max(0.0, tier.minimum_object - size) for share, size in objects.spread)
    billed = max(objects.bytes + objects.samples * short, tier.minimum_capacity)
    return math.ceil(billed / tier.capacity_step) * tier.capacity_step if tier.capacity_step else billed


def storage_usd(size: float, tier: Tier) -> float:
    """Return USD a month for storage of `size` billed bytes (`billed_bytes`)."""
    begins = [0.0, *(begin for begin, _ in tier.price_steps), math.inf]
    prices = [tier.price, *(price for _, price in tier.price_steps)]
    amount = size / tier.gb
    return sum(
        max(0.0, min(amount, end) - begin) * price
        for begin, end, price in zip(begins, begins[1:], prices, strict=False)
    )


def egress_price(tier: Tier, reads_from: ReadsFrom) -> float | None:
    """Return USD / GB read from there; None where the catalog does not know it. It then counts as 0."""
    if reads_from == "same-zone" or not tier.network:
        return 0.0
    return {
        "other-zone": tier.egress_zone_price,
        "other-region": tier.egress_region_price,
        "internet": tier.egress_internet_price,
    }[reads_from]


def egress_notes(tiers: Sequence[Tier], reads_from: ReadsFrom) -> Iterator[str]:
    """Yield a sentence about the tiers whose price of egress is not known."""
    names = [tier.name for tier in tiers if egress_price(tier, reads_from) is None]
    if names:
        place = _READERS[reads_from]
        yield f"The price of reading {', '.join(names)} from {place} is not in the catalog and counts as 0."


def stored_objects(
    data: DatasetSizes, tier: Tier, store_format: Format, codec: str = "none", costs: Costs | None = None
) -> DatasetSizes:
    """Return a dataset as a tier stores it: plain files keep their sizes, and packed stores are large objects.

    Args:
        data: The dataset.
        tier: Where it is stored. On file systems files fill whole pages.
        store_format: How it is kept.
        codec: Of "zarr" and "pixels".
        costs: Source of the ratio of a codec of pixels.
    """
    size = stored_on(tier, data, store_format, codec, costs)
    if store_format == "folder":
        return DatasetSizes(data.samples, size, sizes=data.sizes)
    return DatasetSizes(max(1, math.ceil(size / PACKED_OBJECT)), size)
