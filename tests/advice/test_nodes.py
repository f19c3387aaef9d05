"""Who owns a limit: what one node has for itself, what all nodes share, and what that costs."""

from __future__ import annotations

import operator
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.advice.profiles import GIB, TIERS, dataset, everything
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.feasible_options import SLOW_READ
from tiering.advice.job import Job
from tiering.advice.loading import Loading
from tiering.advice.prediction import CachePlan, predict
from tiering.advice.ranking import total_usd
from tiering.advice.recommend import recommend
from tiering.errors import UsageError

FIVE_TB = dataset(45_000_000, 5 * 10**12)
SIZES = DatasetSizes(45_000_000, 5 * 10**12)
SHARED = [tier for tier in TIERS.values() if tier.network]
HERE = [TIERS["nvme"], TIERS["hdd"]]


@pytest.mark.parametrize("nodes", [1, 2, 8, 64, 512])
@pytest.mark.parametrize("store_format", ["folder", "zarr"])
def test_nodes_together_get_no_more_from_a_filer_than_it_has(nodes, store_format):
    found = predict(SIZES, TIERS["nfs"], store_format, loading=Loading(threads=64, nodes=nodes))
    assert found.bytes_per_s <= TIERS["nfs"].total_bandwidth * 1.001
    assert found.samples_per_s <= TIERS["nfs"].total_iops * 1.001


@given(tier=st.sampled_from(SHARED), nodes=st.integers(1, 512), more=st.integers(1, 8), ram=st.integers(0, 10**12))
def test_more_nodes_never_make_a_shared_tier_faster_than_its_limit(tier, nodes, more, ram):
    few, many = (
        predict(SIZES, tier, "zarr", cache=CachePlan(ram, fill_once=True), loading=Loading(threads=8, nodes=count))
        for count in (nodes, nodes * more)
    )
    assert many.steady_epoch_s <= few.steady_epoch_s * (1 + 1e-9)
    missed = SIZES.bytes * (1 - many.hit_ratio)
    if tier.total_bandwidth:
        assert missed / many.steady_epoch_s <= tier.total_bandwidth * 1.001


def test_the_page_cache_of_a_node_seldom_has_what_it_wants_next():
    small = DatasetSizes(100_000, 10**10)
    one, eight = (
        predict(small, TIERS["nfs"], "zarr", cache=CachePlan(ram=10**11), loading=Loading(threads=8, nodes=nodes))
        for nodes in (1, 8)
    )
    assert one.hit_ratio == 1
    assert eight.hit_ratio == pytest.approx(1 / 8)


def test_opens_are_requests_to_the_one_server():
    slow = TIERS["nfs"].model_copy(update={"total_iops": 1000.0, "iops": 1000.0})
    found = predict(DatasetSizes(100_000, 10**9), slow, "folder", loading=Loading(threads=64, nodes=64))
    # A look-up, an open and a close, by its open_cost and latency, and the read.
    assert 100 < found.samples_per_s < 400


def test_a_local_tier_holds_a_copy_on_every_node():
    one, eight = (
        recommend(FIVE_TB, tiers=HERE, current="hdd", job=Job(decode=False, nodes=nodes, samples_per_s=1e6))
        for nodes in (1, 8)
    )
    alone, many = one.baseline, eight.baseline
    assert (alone.copies, many.copies) == (1, 8)
    assert many.monthly_usd == pytest.approx(8 * alone.monthly_usd)
    assert many.monthly_usd_per_node == pytest.approx(alone.monthly_usd)
    assert "Each of the 8 nodes holds a copy" in eight.choice.reason
    assert (one.nodes, eight.nodes) == (1, 8)


def test_a_shared_tier_holds_one_copy_for_all_nodes():
    found = recommend(FIVE_TB, current="object", job=Job(decode=False, nodes=8))
    assert found.baseline.copies == 1
    assert found.baseline.monthly_usd_per_node == pytest.approx(found.baseline.monthly_usd / 8)


def test_data_too_large_for_one_host_is_shared_out_to_the_disks_of_all():
    room = {"capacity": 10**12}
    small = [TIERS["nvme"].model_copy(update=room)]
    found = recommend(FIVE_TB, tiers=small, job=Job(decode=False, nodes=8), current="nvme")
    assert {option.copies for option in everything(found)} == {1}
    assert 'shuffle="sticky"' in found.choice.reason
    with pytest.raises(UsageError, match="more than any"):
        recommend(FIVE_TB, tiers=small, job=Job(decode=False, nodes=4), current="nvme")


def test_every_node_reads_its_copy_from_where_the_data_lies():
    job = Job(decode=False, nodes=8, samples_per_s=1e6)
    found = recommend(FIVE_TB, tiers=[*HERE, TIERS["nfs"]], current="nfs", job=job)
    to_local = next(option for option in everything(found) if option.tier == "nvme")
    assert to_local.move_s >= 8 * FIVE_TB.bytes / TIERS["nfs"].total_bandwidth


def test_an_hour_of_waiting_costs_as_much_as_all_nodes_that_wait():
    job = Job(decode=False, samples_per_s=1e5)
    cheap, dear = (
        recommend(FIVE_TB, current="object", job=replace(job, nodes=nodes, hour_usd=1.0, ram=GIB)) for nodes in (1, 64)
    )
    hours = dear.baseline.run_s(100) / 3600
    assert (
        f"{64 * hours:,.0f} node hours" in dear.doing_nothing or f"{64 * hours:,.2f} node hours" in dear.doing_nothing
    )
    # The hours in which the job works are the same for every option, and are no waiting.
    works = 100 * FIVE_TB.files / 1e5 / 3600
    assert total_usd(dear.baseline, 100, 1.0) - dear.baseline.monthly_usd == pytest.approx(
        64 * (hours - works), rel=1e-3
    )
    assert total_usd(cheap.baseline, 100, 1.0) > cheap.baseline.monthly_usd


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_short_run_is_not_moved_to_a_slow_disk_to_save_a_few_dollars(epochs):
    job = Job(epochs=epochs, decode=False, samples_per_s=4000.0, ram=200 * GIB)
    found = recommend(dataset(1_000_000, 100 * 10**9), tiers=HERE, current="nvme", job=job)
    assert found.choice.tier == "nvme"


def test_a_job_that_is_far_too_fast_gets_the_quickest_option():
    job = Job(decode=False, nodes=512, samples_per_s=1e12)
    found = recommend(FIVE_TB, current="nfs", job=job)
    quickest = min(option.move_s + option.run_s(100) for option in everything(found))
    assert found.choice.move_s + found.choice.run_s(100) <= 1.01 * quickest


@given(tier=st.sampled_from(list(TIERS.values())), nodes=st.integers(1, 64), more=st.integers(2, 8))
def test_a_cold_epoch_is_never_slower_on_more_nodes(tier, nodes, more):
    few, many = (
        predict(DatasetSizes(20_000, 2 * 10**9), tier, "folder", loading=Loading(threads=64, nodes=count))
        for count in (nodes, nodes * more)
    )
    assert many.first_epoch_s <= few.first_epoch_s * (1 + 1e-9)


def test_a_copy_of_a_tier_with_other_totals_has_its_own_limits():
    assert TIERS["nfs"].together.iops == TIERS["nfs"].total_iops
    faster = TIERS["nfs"].model_copy(update={"total_bandwidth": 20e9, "total_iops": 1e6})
    assert (faster.together.read_bandwidth, faster.together.iops) == (20e9, 1e6)


def test_writing_to_a_filer_is_bounded_for_all_nodes_together():
    job = Job(decode=False, nodes=64)
    found = recommend(FIVE_TB, tiers=[TIERS["object"], TIERS["nfs"]], current="object", job=job)
    to_filer = next(option for option in everything(found) if option.tier == "nfs")
    assert to_filer.move_s >= FIVE_TB.bytes / TIERS["nfs"].total_bandwidth


def test_a_shared_tier_that_is_slow_for_all_together_gets_local_caches():
    quick = TIERS["parallel-fs"].model_copy(
        update={"random_bandwidth": 6e9, "read_bandwidth": 9e9, "total_bandwidth": 10e9}
    )
    found = recommend(FIVE_TB, tiers=[quick, TIERS["nvme"]], current="parallel-fs", job=Job(decode=False, nodes=64))
    assert any(option.cache_local and option.tier == "parallel-fs" for option in everything(found))


catalogs = st.lists(
    st.builds(
        lambda name, bandwidth, price, latency, cost: TIERS[name].model_copy(
            update={
                "read_bandwidth": bandwidth, "random_bandwidth": bandwidth / 2, "price": price,
                "read_latency_p50": latency, "open_cost": cost,
            }
        ),
        st.sampled_from([name for name in TIERS if name != "dram"]),
        st.floats(1e7, 1e11), st.floats(0, 1), st.floats(1e-5, 1e-1), st.floats(1e-5, 1e-1),
    ),
    min_size=1, max_size=5, unique_by=lambda tier: tier.name,
)  # fmt: skip
jobs = st.builds(
    lambda reencode, originals, **job: Job(reencode=reencode and originals != "drop", originals=originals, **job),
    epochs=st.integers(1, 1000),
    decode=st.booleans(),
    threads=st.integers(1, 128),
    nodes=st.integers(1, 512),
    samples_per_s=st.none() | st.floats(1, 1e7),
    ram=st.integers(0, 10**12),
    hour_usd=st.none() | st.floats(0, 100),
    originals=st.sampled_from(["cheapest", "stay", "drop"]),
    reads_from=st.sampled_from(["same-zone", "other-region", "internet"]),
    runs_per_month=st.floats(0.01, 100),
    checkpoint_bytes=st.none() | st.integers(1, 10**13),
    checkpoint_every_s=st.none() | st.floats(1, 10**5),
    processes=st.integers(1, 16),
    reencode=st.booleans(),
)
datasets = st.builds(lambda files, mean: dataset(files, files * mean), st.integers(1, 10**9), st.integers(1, 10**7))


@given(profile=datasets, tiers=catalogs, job=jobs)
def test_a_choice_is_never_dominated_and_carries_no_warning(profile, tiers, job):
    try:
        found = recommend(profile, tiers=tiers, job=job)
    except UsageError as error:
        if not re.search("more than any|outlives the machine", str(error)):
            raise
        return  # no tier holds it
    if not job.reencode:
        assert all(option.has_originals or option.format == "pixels" for option in everything(found))
    choice = found.choice
    sound = [option for option in everything(found) if not option.warnings]
    assert not choice.warnings or not sound

    def figures(option):
        # A shuffle of blocks is no match for one of single samples.
        times = option.run_s(job.epochs), option.move_s
        return option.monthly_usd, option.move_usd, *times, option.order == "block"

    for other in map(figures, sound):
        assert other == figures(choice) or any(map(operator.gt, other, figures(choice)))


FASTER = {"read_bandwidth": 1, "random_bandwidth": 1, "write_bandwidth": 1, "iops": 1, "total_bandwidth": 1, "total_iops": 1,
          "read_latency_p50": -1, "read_latency_p99": -1, "open_cost": -1}  # fmt: skip
CHEAPER = dict.fromkeys(("price", "request_price", "retrieval_price", "write_request_price"), -1)


@given(
    profile=datasets, tiers=catalogs, job=jobs, which=st.integers(0, 8), factor=st.floats(1, 100),
    changed=st.sampled_from([FASTER, CHEAPER]),
)  # fmt: skip
def test_a_faster_or_cheaper_tier_never_makes_the_best_answer_worse(profile, tiers, job, which, factor, changed):
    # Without a rate no tier is crowded, and the total alone decides.
    job = replace(job, samples_per_s=None, hour_usd=job.hour_usd or 1.0, checkpoint_bytes=None, kept_days=None)
    place = which % len(tiers)
    better = [*tiers]
    better[place] = tiers[place].model_copy(
        update={
            name: getattr(tiers[place], name) * factor**sign
            for name, sign in changed.items()
            if getattr(tiers[place], name)
        }
    )
    # Fast tiers are not read in blocks: those are a lesser shuffle.
    assume((better[place].read_latency_p50 >= SLOW_READ) == (tiers[place].read_latency_p50 >= SLOW_READ))
    try:
        before, after = (
            recommend(profile, tiers=catalog, job=job, current=tiers[0].name) for catalog in (tiers, better)
        )
    except UsageError as error:
        if not re.search("more than any|outlives the machine", str(error)):
            raise
        return  # no tier holds it

    def best(found):
        sound = [option for option in everything(found) if not option.warnings] or everything(found)
        return min(total_usd(option, job.epochs, job.hour_usd, job.runs_per_month) for option in sound)

    # Options that cost and take about the same are shown once.
    assert best(after) <= best(before) + max(1.0, 0.05 * best(before))
