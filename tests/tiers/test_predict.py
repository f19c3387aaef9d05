"""The model agrees with what was measured, and moves the right way."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tiering.tiers.catalog import load_catalog
from tiering.tiers.predict import CachePlan, Data, hit_ratio, predict, stored_bytes

TIERS = {tier.name: tier for tier in load_catalog()}
#: The virtual disk on which the constants were fitted.
MEASURED = TIERS["nvme"].model_copy(
    update={"read_bandwidth": 850e6, "random_bandwidth": 1247e6, "iops": 50e3, "open_cost": 320e-6}
)
IMAGENET_LIKE = Data(20_000, 20_000 * 110_000)

ways = st.sampled_from([("folder", "none"), ("lmdb", "none"), ("zarr", "none"), ("zarr", "zstd")])
tiers = st.sampled_from(list(TIERS.values()))
datasets = st.builds(lambda samples, mean: Data(samples, samples * mean), st.integers(1, 10**9), st.integers(1, 10**8))
plans = st.builds(
    CachePlan,
    st.integers(0, 10**14),
    st.booleans(),
    st.integers(0, 10**14),
    tiers,
)
#: Sums of floats may differ in the last places.
NEARLY = 1 + 1e-9


def test_folders_are_as_fast_as_measured():
    cold = predict(IMAGENET_LIKE, MEASURED, "folder")
    assert 1_979 <= cold.samples_per_s <= 2_186
    assert cold.bottleneck == "open latency"
    warm = predict(IMAGENET_LIKE, MEASURED, "folder", cache=CachePlan(ram=24 << 30))
    assert 8_500 <= warm.samples_per_s <= 12_000


def test_announced_lmdb_is_as_fast_as_measured():
    cold = predict(IMAGENET_LIKE, MEASURED, "lmdb")
    assert cold.samples_per_s == pytest.approx(9_840, rel=0.03)
    assert cold.bottleneck == "device"
    warm = predict(IMAGENET_LIKE, MEASURED, "lmdb", cache=CachePlan(ram=24 << 30))
    assert warm.samples_per_s == pytest.approx(109_047, rel=0.03)
    assert warm.bottleneck == "CPU copy"
    assert warm.first_epoch_s == cold.first_epoch_s


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
    larger = CachePlan(plan.ram + more_ram, plan.fill_once, plan.local + more_local, plan.local_tier)
    before, after = predict(data, tier, *way, plan), predict(data, tier, *way, larger)
    assert after.steady_epoch_s <= before.steady_epoch_s * NEARLY
    assert after.hit_ratio >= before.hit_ratio - 1e-9


@given(datasets, tiers, ways, st.integers(0, 10**14))
def test_more_bytes_are_never_faster(data, tier, way, more):
    larger = Data(data.samples, data.bytes + more)
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


@given(datasets, tiers)
def test_a_packed_store_is_never_slower_than_the_folder(data, tier):
    assume(tier.access != "memory")
    assert predict(data, tier, "zarr").steady_epoch_s <= predict(data, tier, "folder").steady_epoch_s * NEARLY


def test_requests_and_retrievals_are_billed_for_what_the_cache_misses():
    archive = TIERS["object-archive"]
    data = Data(1_000_000, 100_000_000_000)
    bare = predict(data, archive, "folder", epochs=10).monthly_usd
    assert bare == pytest.approx(100 * 0.004 + 10 * 1000 * 0.01 + 10 * 100 * 0.03)
    cached = predict(data, archive, "folder", cache=CachePlan(ram=data.bytes, fill_once=True), epochs=10).monthly_usd
    assert cached == pytest.approx(100 * 0.004 + 1000 * 0.01 + 100 * 0.03)
