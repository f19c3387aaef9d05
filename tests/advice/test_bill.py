"""Bills to the cent, and that they never fall where there is more to pay for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.profiles import TIERS
from tiering.advice.bill import Bill, Terms, billed_bytes, egress_price, monthly_bill, storage_usd, stored_objects
from tiering.advice.dataset_sizes import DatasetSizes

GIB = 1 << 30
OBJECT, NVME = TIERS["object"], TIERS["nvme"]
PLAIN = OBJECT.model_copy(
    update={
        **dict.fromkeys(("price", "request_price", "retrieval_price", "write_request_price", "write_gb_price"), 0.0),
        "transition_price": None, "minimum_object": 0, "minimum_days": 0.0, "gb": GIB,
    }
)  # fmt: skip


def tier(**figures):
    return PLAIN.model_copy(update=figures)


def cents(usd):
    return round(usd, 2)


@pytest.mark.parametrize(
    ("figures", "objects", "month", "part", "usd"),
    [
        # 1,000 objects of 1 GiB: 1,000 GB at 0.023.
        ({"price": 0.023}, (1000, 1000 * GIB), {}, "storage", 23.00),
        # The same in GB of 10^9: 1,073.741824 x 0.023.
        ({"price": 0.023, "gb": 10**9}, (1000, 1000 * GIB), {}, "storage", 24.70),
        # 100 million objects of 10 kB, billed as 128 KiB each: 1e8 x 131,072 / 2^30 = 12,207.03 GB at 0.0125.
        ({"price": 0.0125, "minimum_object": 131072}, (10**8, 10**12), {}, "storage", 152.59),
        # 51,200 GB at 0.0208 = 1,064.96, the next 8,800 at 0.019968 = 175.72.
        ({"price": 0.0208, "price_steps": ((51200, 0.019968),)}, (60, 60000 * GIB), {}, "storage", 1240.68),
        # 500 GB on a system of at least 1,200 GB at 0.145.
        ({"price": 0.145, "minimum_capacity": 1200 * GIB}, (5, 500 * GIB), {}, "storage", 174.00),
        # 800 GB on disks of 375 GB: three, 1,125 GB at 0.08.
        ({"price": 0.08, "capacity_step": 375 * GIB}, (8, 800 * GIB), {}, "storage", 90.00),
        # Ten of 30.4375 days.
        ({"price": 0.02}, (1, 30000 * GIB), {"terms": Terms(kept_days=10)}, "storage", 197.13),
        ({"request_price": 0.0004}, (1, GIB), {"reads": 250e6}, "requests", 100.00),
        ({"retrieval_price": 0.01}, (1, GIB), {"bytes_read": 1234 * GIB}, "retrieval", 12.34),
        ({"egress_zone_price": 0.01}, (1, GIB), {"bytes_read": 500 * GIB, "terms": Terms(reads_from="other-zone")}, "egress", 5.00),
        ({"egress_region_price": 0.02}, (1, GIB), {"bytes_read": 500 * GIB, "terms": Terms(reads_from="other-region")}, "egress", 10.00),
        ({"egress_internet_price": 0.09}, (1, GIB), {"bytes_read": 500 * GIB, "terms": Terms(reads_from="internet")}, "egress", 45.00),
        ({"egress_internet_price": 0.09}, (1, GIB), {"bytes_read": 500 * GIB}, "egress", 0.00),
        # 800 - 125 MB/s at 0.04.
        ({"included_bandwidth": 125e6, "bandwidth_price": 0.04, "provisioned_bandwidth": 800e6}, (1, GIB), {}, "provisioned", 27.00),
        # 7,273 - 3,000 IOPS at 0.005 = 21.365.
        ({"included_iops": 3000, "iops_price": 0.005, "provisioned_iops": 7274}, (1, GIB), {}, "provisioned", 21.37),
        ({"included_iops": 3000, "iops_price": 0.005, "provisioned_iops": 100}, (1, GIB), {}, "provisioned", 0.00),
        # 8 million writes at 0.01 per 1,000.
        ({"write_request_price": 0.01}, (8 * 10**6, GIB), {}, "writes", 80.00),
        ({"write_request_price": 0.01, "transition_price": 0.02}, (8 * 10**6, GIB), {"terms": Terms(by_rule=True)}, "writes", 160.00),
        ({"write_request_price": 0.01}, (8 * 10**6, GIB), {"terms": Terms(by_rule=True)}, "writes", 80.00),
        ({"write_gb_price": 0.0032}, (1, 1000 * GIB), {}, "upload", 3.20),
        # 20 of the 30 days that are billed at least: 1,000 GB x 0.01 x 20 / 30.4375.
        ({"price": 0.01, "minimum_days": 30}, (1, 1000 * GIB), {"terms": Terms(kept_days=10)}, "early_deletion", 6.57),
        ({"price": 0.01, "minimum_days": 30}, (1, 1000 * GIB), {}, "early_deletion", 0.00),
    ],
)  # fmt: skip
def test_each_part_of_a_bill_is_right_to_the_cent(figures, objects, month, part, usd):
    assert cents(getattr(monthly_bill(DatasetSizes(*objects), tier(**figures), **month), part)) == usd


def test_a_bill_adds_up():
    whole = tier(
        price=0.02, request_price=0.0004, retrieval_price=0.01, egress_region_price=0.02, write_request_price=0.005,
        write_gb_price=0.01, minimum_days=60, bandwidth_price=0.04, provisioned_bandwidth=100e6,
    )  # fmt: skip
    found = monthly_bill(
        DatasetSizes(10**6, 100 * GIB), whole, reads=10**7, bytes_read=1000 * GIB,
        terms=Terms(reads_from="other-region", kept_days=45),
    )  # fmt: skip
    assert cents(found.total) == cents(2.00 + 4.00 + 10.00 + 20.00 + 4.00)
    assert cents(found.once) == cents(5.00 + 1.00 + 2.00 * 15 / 30.4375)
    assert found + found == found.times(2)
    assert Bill().total == Bill().once == 0


def test_the_minimum_counts_for_each_object_and_not_for_the_mean():
    half = DatasetSizes(1000, 1000 * 200_000, sizes=((0.5, 0), (0.5, 400_000)))
    assert billed_bytes(half, tier(minimum_object=100_000)) == 1000 * 200_000 + 500 * 100_000


def test_a_packed_store_is_of_large_objects():
    tiny = DatasetSizes(10**8, 10**12)
    small = tier(minimum_object=131072)
    assert billed_bytes(stored_objects(tiny, small, "folder"), small) == 10**8 * 131072
    assert billed_bytes(stored_objects(tiny, small, "zarr"), small) == 10**12
    assert stored_objects(tiny, small, "zarr").samples < 4000


def test_what_is_in_the_node_crosses_no_border_and_what_is_not_known_is_said():
    assert egress_price(NVME, "internet") == 0.0
    assert egress_price(tier(), "internet") is None
    assert egress_price(tier(egress_internet_price=0.09), "same-zone") == 0.0


@pytest.mark.parametrize("wrong", [{"reads": -1}, {"bytes_read": float("inf")}, {"reads": float("nan")}])
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        monthly_bill(DatasetSizes(1, 1), PLAIN, **wrong)


@pytest.mark.parametrize("wrong", [{"runs_per_month": -1}, {"kept_days": float("nan")}, {"kept_days": -3}])
def test_impossible_terms_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Terms(**wrong)


prices = st.floats(0, 1)
figures = st.fixed_dictionaries(
    {
        **dict.fromkeys(
            ("price", "request_price", "retrieval_price", "write_request_price", "write_gb_price", "bandwidth_price",
             "iops_price", "egress_zone_price", "egress_region_price", "egress_internet_price"), prices,
        ),
        "minimum_object": st.integers(0, 10**6), "minimum_capacity": st.integers(0, 10**13),
        "capacity_step": st.sampled_from([0, 1, 10**9, 375 * GIB]), "minimum_days": st.floats(0, 200),
        "price_steps": st.sampled_from([(), ((10.0, 0.5),), ((10.0, 0.02), (100.0, 0.01))]),
        "provisioned_bandwidth": st.floats(0, 1e10), "included_bandwidth": st.floats(0, 1e9),
        "provisioned_iops": st.floats(0, 1e6), "gb": st.sampled_from([10**9, GIB]),
    }
)  # fmt: skip
terms = st.builds(
    Terms,
    reads_from=st.sampled_from(["same-zone", "other-zone", "other-region", "internet"]),
    kept_days=st.none() | st.floats(0, 400),
)


def parts(bill):
    return [getattr(bill, name) for name in Bill.__slots__]


@given(
    figures=figures,
    terms=terms,
    samples=st.integers(1, 10**9),
    size=st.integers(1, 10**14),
    more=st.integers(0, 10**14),
)
def test_a_bill_is_never_negative_and_never_falls_where_there_is_more(figures, terms, samples, size, more):
    where = tier(**figures)

    def billed(samples, size, where=where):
        return parts(monthly_bill(DatasetSizes(samples, size), where, reads=samples, bytes_read=size, terms=terms))

    def rises(low, high):
        return all(one <= other * (1 + 1e-9) + 1e-9 for one, other in zip(low, high, strict=True))

    first = billed(samples, size)
    assert min(first) >= 0
    assert rises(first, billed(samples, size + more))
    assert rises(first, billed(samples + more % 10**9, size))
    larger = where.model_copy(update={"minimum_object": where.minimum_object + more % 10**6})
    assert rises(first, billed(samples, size, larger))


@given(
    steps=st.lists(st.tuples(st.floats(1, 1e6), prices), max_size=4, unique_by=lambda step: step[0]),
    amount=st.floats(0, 1e7),
)
def test_volume_prices_apply_to_what_is_above_each_step(steps, amount):
    where = tier(price=0.5, price_steps=tuple(sorted(steps)), gb=1)
    low, high = min([0.5, *(price for _, price in steps)]), max([0.5, *(price for _, price in steps)])
    assert amount * low * (1 - 1e-9) <= storage_usd(amount, where) <= amount * high * (1 + 1e-9)
