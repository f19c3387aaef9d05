"""The model agrees with what was measured, and moves the right way."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tiering.advice.bill import Terms
from tiering.advice.catalog import load_catalog
from tiering.advice.dataset_sizes import DatasetSizes, spread_of
from tiering.advice.loading import Loading
from tiering.advice.prediction import CachePlan, hit_ratio, predict
from tiering.advice.stored_size import stored_bytes
from tiering.units import MONTH_SECONDS

TIERS = {tier.name: tier for tier in load_catalog()}
#: The virtual disk of docs/benchmarks.md, its 2 cores and its 20,000 JPEGs of 110 KB.
MEASURED = TIERS["nvme"].model_copy(
    update={"read_bandwidth": 850e6, "random_bandwidth": 1406e6, "iops": 50e3, "open_cost": 320e-6}
)
IMAGENET_LIKE = DatasetSizes(20_000, 20_000 * 110_000)

ways = st.sampled_from(
    [
        ("folder", "none"),
        ("lmdb", "none"),
        ("zarr", "none"),
        ("zarr", "zstd"),
        ("pixels", "none"),
        ("pixels", "zstd"),
        ("pixels", "blosc-lz4"),
    ]
)
tiers = st.sampled_from(list(TIERS.values()))
datasets = st.builds(
    lambda samples, mean, side, pixels: DatasetSizes(samples, samples * mean, pixels=pixels, row_bytes=3 * side * side),
    st.integers(1, 10**9),
    st.integers(1, 10**8),
    st.integers(1, 1024),
    st.integers(0, 10**7),
)
loadings = st.builds(
    Loading,
    st.booleans(),
    st.integers(1, 64),
    st.none() | st.integers(1, 64),
    st.none() | st.floats(0.1, 1e7),
    st.integers(1, 100),
)
#: A local cache is tiering's own, and then memory before it is, too.
plans = st.builds(CachePlan, st.integers(0, 10**14), st.booleans()) | st.builds(
    CachePlan, st.integers(0, 10**14), st.just(True), st.integers(0, 10**14), tiers
)
#: Sums of floats may differ in the last places.
NEARLY = 1 + 1e-9


def test_folders_are_as_fast_as_measured():
    cold = predict(IMAGENET_LIKE, MEASURED, "folder")
    assert cold.samples_per_s == pytest.approx(5_471, rel=0.15)
    assert cold.bottleneck == "open latency"
    warm = predict(IMAGENET_LIKE, MEASURED, "folder", cache=CachePlan(ram=24 << 30))
    assert warm.samples_per_s == pytest.approx(31_077, rel=0.25)


def test_announced_lmdb_is_as_fast_as_measured():
    cold = predict(IMAGENET_LIKE, MEASURED, "lmdb")
    assert cold.samples_per_s == pytest.approx(14_023, rel=0.15)
    assert cold.bottleneck == "device"
    warm = predict(IMAGENET_LIKE, MEASURED, "lmdb", cache=CachePlan(ram=24 << 30))
    assert warm.samples_per_s == pytest.approx(96_163, rel=0.15)
    assert warm.bottleneck == "CPU copy"
    assert warm.first_epoch_s == pytest.approx(cold.first_epoch_s, rel=0.02)


def test_decoding_sets_the_pace_of_jpegs_and_pixels_do_without():
    data = DatasetSizes(20_000, 20_000 * 110_000, pixels=400 * 350, row_bytes=224 * 224 * 3)
    how = Loading(decode=True, threads=2)
    jpegs = predict(data, MEASURED, "lmdb", cache=CachePlan(ram=24 << 30), loading=how)
    assert jpegs.bottleneck == "decoding"
    assert predict(data, MEASURED, "folder", loading=how).bottleneck == "decoding"
    pixels = predict(data, MEASURED, "pixels", cache=CachePlan(ram=24 << 30), loading=how)
    assert pixels.steady_epoch_s < jpegs.steady_epoch_s / 10
    alone = predict(data, MEASURED, "lmdb", loading=Loading(decode=True, threads=1, cores=2))
    assert alone.steady_epoch_s == pytest.approx(2 * jpegs.steady_epoch_s, rel=0.1)


def test_a_job_slower_than_its_data_never_waits_and_a_faster_one_does():
    slow = predict(IMAGENET_LIKE, MEASURED, "lmdb", loading=Loading(samples_per_s=1000))
    assert (slow.bottleneck, slow.stall_fraction) == ("training job", 0)
    assert slow.steady_epoch_s == slow.first_epoch_s == 20
    fast = predict(IMAGENET_LIKE, MEASURED, "lmdb", loading=Loading(samples_per_s=1e6))
    assert fast.bottleneck == "device"
    assert fast.stall_fraction == pytest.approx(1 - 0.02 / fast.steady_epoch_s)
    assert predict(IMAGENET_LIKE, MEASURED, "lmdb").stall_fraction is None


def test_the_distribution_of_sizes_counts_and_not_their_mean_alone():
    # The device is asked as often: small ones wait as long as their mean would, and large ones longer.
    mixed = DatasetSizes(10**6, 10**6 * 100_000, sizes=((0.5, 1000.0), (0.5, 199_000.0)))
    even = DatasetSizes(10**6, 10**6 * 100_000)
    hdd = TIERS["hdd"]
    assert predict(mixed, hdd, "lmdb").steady_epoch_s > 1.05 * predict(even, hdd, "lmdb").steady_epoch_s
    assert stored_bytes(mixed, "folder") > stored_bytes(even, "folder")


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=20), st.floats(1, 1e9))
def test_a_spread_has_the_mean_it_was_told(sizes, mean):
    shares = [place / (len(sizes) - 1) for place in range(len(sizes))]
    spread = spread_of([*zip(shares, sorted(sizes), strict=True)], mean)
    if sum(sizes) == 0:
        assert spread == ()
        return
    assert sum(share for share, _ in spread) == pytest.approx(1)
    assert sum(share * size for share, size in spread) == pytest.approx(mean)


@given(datasets, tiers, ways, plans, loadings, st.integers(2, 8))
def test_more_nodes_or_threads_never_make_it_slower(data, tier, way, plan, how, times):
    # The page caches of more nodes keep less of what each wants: docs/predicting.md, "Several nodes".
    plan = replace(plan, fill_once=True)
    before = predict(data, tier, *way, plan, loading=how).steady_epoch_s
    cores = how.cores and how.cores * times
    for more in (replace(how, nodes=how.nodes * times), replace(how, threads=how.threads * times, cores=cores)):
        assert predict(data, tier, *way, plan, loading=more).steady_epoch_s <= before * NEARLY


def test_samples_that_stay_with_their_node_add_the_caches_up():
    plan = CachePlan(ram=IMAGENET_LIKE.bytes // 10, fill_once=True)
    ratios = [
        predict(IMAGENET_LIKE, MEASURED, "lmdb", cache=plan, loading=Loading(nodes=n)).hit_ratio for n in (1, 4, 20)
    ]
    assert ratios == pytest.approx([0.1, 0.4, 1.0])


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"cores": 0}, {"nodes": 0}, {"samples_per_s": 0.0}])
def test_impossible_loading_is_refused(wrong):
    with pytest.raises(ValueError, match="loading: expected"):
        Loading(**wrong)


def test_pixels_need_a_shape():
    with pytest.raises(ValueError, match="one shape"):
        predict(IMAGENET_LIKE, MEASURED, "pixels")


@pytest.mark.parametrize(("share", "lru"), [(0.05, 0.001), (0.2, 0.021), (0.35, 0.070), (0.5, 0.153), (0.8, 0.478)])
def test_hit_ratios_follow_the_theory(share, lru):
    assert hit_ratio(share, 1) == share
    assert hit_ratio(share, 1, fill_once=False) == pytest.approx(lru, abs=0.001)


@pytest.mark.parametrize(("cache", "dataset"), [(-1, 1), (1, 0), (1, -1)])
def test_impossible_sizes_are_refused(cache, dataset):
    with pytest.raises(ValueError, match="expected a cache"):
        hit_ratio(cache, dataset)


@given(st.floats(0, 2e15), st.floats(0, 2e15), st.integers(1, 10**15), st.booleans())
def test_hit_ratios_are_ratios_and_grow_with_the_cache(one, two, dataset, fill_once):
    less, more = sorted((one, two))
    low, high = (hit_ratio(size, dataset, fill_once=fill_once) for size in (less, more))
    assert 0 <= low <= high * NEARLY + 1e-12 <= 1 + 2e-9
    assert hit_ratio(less, dataset, fill_once=False) <= hit_ratio(less, dataset) + 1e-12


@given(datasets, tiers, ways, plans, st.sampled_from(["read_bandwidth", "random_bandwidth", "iops"]), st.floats(1, 100))
def test_more_of_a_device_never_makes_it_slower(data, tier, way, plan, field, factor):
    before = predict(data, tier, *way, plan)
    after = predict(data, tier.model_copy(update={field: getattr(tier, field) * factor}), *way, plan)
    assert after.first_epoch_s <= before.first_epoch_s * NEARLY
    assert after.steady_epoch_s <= before.steady_epoch_s * NEARLY


@given(datasets, tiers, ways, plans, st.sampled_from(["read_latency_p50", "open_cost"]), st.floats(1, 100))
def test_more_latency_never_makes_it_faster(data, tier, way, plan, field, factor):
    slow = tier.model_copy(update={field: getattr(tier, field) * factor})
    assert predict(data, slow, *way, plan).steady_epoch_s * NEARLY >= predict(data, tier, *way, plan).steady_epoch_s


@given(datasets, tiers, ways, plans, st.integers(0, 10**14), st.integers(0, 10**14))
def test_a_larger_cache_never_makes_a_steady_epoch_slower(data, tier, way, plan, more_ram, more_local):
    local = plan.local + more_local if plan.local_tier else 0
    larger = CachePlan(plan.ram + more_ram, plan.fill_once, local, plan.local_tier)
    before, after = predict(data, tier, *way, plan), predict(data, tier, *way, larger)
    assert after.steady_epoch_s <= before.steady_epoch_s * NEARLY
    assert after.hit_ratio >= before.hit_ratio - 1e-9


@given(datasets, tiers, ways, st.integers(0, 10**14))
def test_more_bytes_are_never_faster(data, tier, way, more):
    larger = replace(data, bytes=data.bytes + more)
    assert predict(larger, tier, *way).steady_epoch_s * NEARLY >= predict(data, tier, *way).steady_epoch_s
    assert stored_bytes(larger, *way) >= stored_bytes(data, *way)


@given(datasets, tiers, ways, plans, st.integers(1, 10**6))
def test_every_figure_is_finite_and_consistent(data, tier, way, plan, epochs):
    found = predict(data, tier, *way, plan, epochs=epochs)
    figures = (found.first_epoch_s, found.steady_epoch_s, found.samples_per_s, found.bytes_per_s, found.monthly_usd)
    assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
    assert found.samples_per_s * found.steady_epoch_s == pytest.approx(data.samples)
    assert 0 <= found.hit_ratio <= 1
    assert found.steady_epoch_s <= found.first_epoch_s * NEARLY


@given(datasets, tiers, loadings)
def test_a_packed_store_is_never_slower_than_the_folder(data, tier, how):
    assume(tier.access == "file")
    packed, plain = (predict(data, tier, name, loading=how).steady_epoch_s for name in ("zarr", "folder"))
    assert packed <= plain * NEARLY


def test_requests_and_retrievals_are_billed_for_what_the_cache_misses():
    archive = TIERS["object-archive"]
    data = DatasetSizes(1_000_000, 100_000_000_000)
    bare = predict(data, archive, "folder", epochs=10).monthly_usd
    assert bare == pytest.approx(131.072 * 0.004 + 10 * 1000 * 0.01 + 10 * 100 * 0.03)
    cached = predict(data, archive, "folder", cache=CachePlan(ram=data.bytes, fill_once=True), epochs=10).monthly_usd
    assert cached == pytest.approx(131.072 * 0.004 + 1000 * 0.01 + 100 * 0.03)


def test_several_runs_a_month_are_billed_and_no_more_than_fit():
    data, archive = DatasetSizes(1000, 10**9), TIERS["object-archive"]
    once, thrice = (
        predict(data, archive, "folder", epochs=3, terms=Terms(runs_per_month=runs)).bill for runs in (1, 3)
    )
    assert thrice.requests == pytest.approx(3 * once.requests)
    assert thrice.retrieval == pytest.approx(3 * once.retrieval)
    assert thrice.storage == once.storage
    long = DatasetSizes(10**7, 10**14)
    found = predict(long, archive, "folder", epochs=3, terms=Terms(runs_per_month=1000))
    busy = found.first_epoch_s + 2 * found.steady_epoch_s
    assert found.bill.requests == pytest.approx(MONTH_SECONDS / busy * 3 * 10**7 / 1000 * archive.request_price)


def test_a_tier_is_bought_as_large_as_the_dataset_needs():
    lustre = TIERS["parallel-fs"].model_copy(
        update={"bandwidth_per_tib": 125e6, "minimum_capacity": 1200 << 30, "total_bandwidth": None}
    )
    small = predict(DatasetSizes(10**5, 10**10), lustre, "zarr")
    assert small.bill.storage == pytest.approx((1200 << 30) / 1e9 * lustre.price)
    assert small.bytes_per_s <= 125e6 * 1200 / 1024 * 1.001
    large = predict(DatasetSizes(10**7, 10**13), lustre, "zarr")
    assert large.bytes_per_s == pytest.approx(125e6 * 10**13 / (1 << 40), rel=0.02)


def test_each_node_buys_whole_disks_for_its_part():
    disks = TIERS["nvme"].model_copy(update={"capacity_step": 10**12, "capacity": 2 * 10**12})
    data = DatasetSizes(10**6, 5 * 10**12)
    found = predict(data, disks, "zarr", loading=Loading(nodes=4))
    assert found.bill.storage == pytest.approx(4 * 2000 * disks.price)
    assert predict(data, disks, "zarr", copies=4, loading=Loading(nodes=4)).bill.storage == pytest.approx(
        4 * 5000 * disks.price
    )


def test_a_bill_says_where_the_readers_are():
    data = DatasetSizes(1000, 10**9)
    bucket = TIERS["object"].model_copy(update={"egress_region_price": 0.02})
    far = predict(data, bucket, "folder", epochs=10, terms=Terms(reads_from="other-region")).bill
    assert far.egress == pytest.approx(10 * 0.02)
    assert predict(data, bucket, "folder", epochs=10).bill.egress == 0
