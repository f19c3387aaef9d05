"""A tier as it is bought: whole steps, rates that come with the room, rates that are paid for, and where they end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.profiles import TIERS
from tiering.advice.bill import monthly_bill
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.sizing import sized
from tiering.errors import UsageError

GIB, TIB = 1 << 30, 1 << 40
VOLUME = TIERS["nvme"].model_copy(
    update={
        "included_bandwidth": 125e6, "bandwidth_price": 0.04, "max_bandwidth": 1e9, "included_iops": 3000,
        "iops_price": 0.005, "max_iops": 16000, "price": 0.08, "gb": GIB,
    }
)  # fmt: skip
GROWING = TIERS["parallel-fs"].model_copy(
    update={"bandwidth_per_tib": 125e6, "minimum_capacity": 1200 * GIB, "price": 0.145, "gb": GIB}
)


def test_nothing_changes_where_nothing_is_for_sale():
    for tier in TIERS.values():
        assert sized(tier, 10**12, 1e9, 1e6) == tier


def test_a_volume_gives_what_is_included_until_more_is_bought():
    small = sized(VOLUME, 10**12)
    assert (small.read_bandwidth, small.iops, small.write_bandwidth) == (125e6, 3000, 125e6)
    assert monthly_bill(DatasetSizes(1, 1), small).provisioned == 0
    bought = sized(VOLUME, 10**12, wanted_bandwidth=800e6, wanted_iops=7000)
    assert (bought.read_bandwidth, bought.random_bandwidth, bought.iops) == (800e6, 800e6, 7000)
    assert monthly_bill(DatasetSizes(1, 1), bought).provisioned == pytest.approx(675 * 0.04 + 4000 * 0.005)


def test_random_reads_need_requests():
    assert sized(VOLUME, 1, wanted_bandwidth=800e6).random_bandwidth == 3000 * 131072


def test_no_more_than_the_largest_can_be_bought():
    most = sized(VOLUME, 1, 5e9, 1e6)
    assert (most.read_bandwidth, most.iops) == (1e9, 16000)
    assert sized(most, 1, 5e9, 1e6) == most


def test_bandwidth_grows_with_the_room():
    small = sized(GROWING, 10**9)
    assert small.minimum_capacity == 1200 * GIB
    assert small.total_bandwidth == small.read_bandwidth == pytest.approx(125e6 * 1200 / 1024)
    large = sized(GROWING, 10**9, wanted_bandwidth=25e9)
    assert large.minimum_capacity == 200 * TIB
    assert large.total_bandwidth == 25e9
    assert large.read_bandwidth == GROWING.read_bandwidth
    assert monthly_bill(DatasetSizes(1, 10**9), large).storage == pytest.approx(200 * 1024 * 0.145)


def test_room_is_bought_in_whole_steps_and_ends():
    disks = TIERS["nvme"].model_copy(update={"capacity_step": 375 * GIB, "capacity": 3000 * GIB})
    assert sized(disks, 376 * GIB).minimum_capacity == 750 * GIB
    assert sized(disks, 3000 * GIB).minimum_capacity == 3000 * GIB
    ended = GROWING.model_copy(update={"capacity": 100 * TIB})
    assert sized(ended, 1, wanted_bandwidth=1e12).minimum_capacity == 100 * TIB
    assert sized(ended, 1, wanted_bandwidth=1e12).total_bandwidth == 100 * 125e6


@pytest.mark.parametrize("wrong", [(-1,), (1, 0), (1, float("inf")), (1, 1e9, -1)])
def test_impossible_wishes_are_refused(wrong):
    with pytest.raises(UsageError, match="must be"):
        sized(VOLUME, *wrong)


@given(stored=st.integers(0, 10**15), wanted=st.floats(1, 1e12), more=st.floats(1, 100))
def test_more_is_never_slower_and_never_cheaper(stored, wanted, more):
    for tier in (VOLUME, GROWING):
        one, other = sized(tier, stored, wanted, wanted), sized(tier, stored, wanted * more, wanted * more)
        assert other.read_bandwidth >= one.read_bandwidth
        assert other.iops >= one.iops
        data = DatasetSizes(1, stored + 1)
        assert monthly_bill(data, other).total >= monthly_bill(data, one).total * (1 - 1e-12)


@given(stored=st.integers(0, 10**15), wanted=st.floats(1, 1e12))
def test_what_is_bought_once_stays_as_it_is(stored, wanted):
    for tier in (VOLUME, GROWING, TIERS["nvme"].model_copy(update={"capacity_step": 375 * GIB})):
        bought = sized(tier, stored, wanted, wanted)
        assert sized(bought, stored) == bought
