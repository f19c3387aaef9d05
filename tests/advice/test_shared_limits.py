"""Who owns a limit: nodes, their networks and connections, prefixes, and loader processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.profiles import TIERS
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.job import Job
from tiering.advice.loading import Loading
from tiering.advice.prediction import predict
from tiering.errors import UsageError

THUMBNAILS = DatasetSizes(100_000_000, 10**12)
PHOTOS = DatasetSizes(20_000_000, 2 * 10**12)
#: A bucket with a limit for each prefix and each connection, and none of its own.
BUCKET = TIERS["object"].model_copy(
    update={"iops": 1e6, "total_iops": None, "prefix_iops": 5500.0, "connection_bandwidth": 90e6}
)
tiers = st.sampled_from([*TIERS.values(), BUCKET])
formats = st.sampled_from(["folder", "zarr", "lmdb"])
loadings = st.builds(
    Loading,
    decode=st.booleans(),
    threads=st.integers(1, 64),
    cores=st.none() | st.integers(1, 128),
    nodes=st.integers(1, 512),
    processes=st.integers(1, 16),
    network=st.none() | st.floats(1e6, 1e11),
    prefixes=st.integers(1, 64),
    connections=st.none() | st.integers(1, 1024),
)
NEARLY = 1 + 1e-9


def test_a_prefix_limits_the_requests_of_all_nodes_together():
    one, many, spread = (
        predict(THUMBNAILS, BUCKET, "folder", loading=Loading(threads=512, nodes=nodes, prefixes=prefixes))
        for nodes, prefixes in ((1, 1), (64, 1), (64, 8))
    )
    assert one.samples_per_s == pytest.approx(5500, rel=0.01)
    assert many.samples_per_s == pytest.approx(5500, rel=0.01)
    assert spread.samples_per_s == pytest.approx(44_000, rel=0.01)


def test_the_shipped_bucket_states_the_limit_of_one_prefix():
    found = predict(THUMBNAILS, TIERS["object"], "folder", loading=Loading(threads=512, nodes=8, prefixes=4))
    assert found.samples_per_s == pytest.approx(22_000, rel=0.01)


def test_a_packed_store_in_blocks_has_as_many_prefixes_as_it_needs_unless_they_are_counted():
    how = Loading(threads=64, nodes=256)
    sizes = DatasetSizes(10**9, 2 * 10**15)
    free, one = (
        predict(sizes, TIERS["object"], "zarr", order="block", loading=replace(how, prefixes=prefixes))
        for prefixes in (None, 1)
    )
    assert free.bytes_per_s > 5 * one.bytes_per_s
    single = predict(sizes, TIERS["object"], "zarr", loading=how)
    assert single.samples_per_s <= 5500 * 1.001


def test_blocks_hardly_count_as_requests():
    found = predict(THUMBNAILS, BUCKET, "zarr", order="block", loading=Loading(threads=64))
    assert found.samples_per_s > 20 * 5500


def test_connections_bound_a_node():
    few, many = (
        predict(PHOTOS, BUCKET, "zarr", order="block", loading=Loading(connections=count)) for count in (4, 64)
    )
    assert few.bytes_per_s == pytest.approx(4 * 90e6, rel=0.01)
    assert many.bytes_per_s > 4 * few.bytes_per_s


def test_the_network_of_a_node_bounds_what_comes_from_shared_storage_and_nothing_else():
    slow = Loading(threads=64, network=125e6, nodes=2)
    shared, local = (predict(PHOTOS, TIERS[name], "zarr", loading=slow) for name in ("parallel-fs", "nvme"))
    assert shared.bottleneck == "network"
    assert shared.bytes_per_s == pytest.approx(2 * 125e6, rel=0.01)
    assert "network" not in local.stages
    assert local.bytes_per_s > 2 * 125e6


def test_processes_do_not_share_an_interpreter_lock():
    one, four = (
        predict(PHOTOS, TIERS["nvme"], "folder", loading=Loading(threads=64 // n, processes=n, cores=64))
        for n in (1, 4)
    )
    assert four.stages["CPU copy"] < one.stages["CPU copy"] / 2


def test_more_threads_than_cores_do_not_decode_faster():
    some, many = (
        predict(PHOTOS, TIERS["nvme"], "lmdb", loading=Loading(decode=True, threads=n, cores=8)) for n in (8, 64)
    )
    assert many.steady_epoch_s >= some.steady_epoch_s / NEARLY


def test_local_disks_open_as_many_files_as_the_loader_has_threads():
    few, many = (predict(PHOTOS, TIERS["nvme"], "folder", loading=Loading(threads=n, cores=64)) for n in (2, 8))
    assert few.bottleneck == "open latency"
    assert many.stages["open latency"] == pytest.approx(few.stages["open latency"] / 4)
    # But two seeks for each file are those of the disk, however many wait for it.
    disk = predict(PHOTOS, TIERS["hdd"], "folder", loading=Loading(threads=64, cores=64))
    assert disk.bottleneck == "device"
    assert 400 < disk.samples_per_s < 2100


@given(tiers, formats, loadings, st.integers(2, 8))
def test_more_connections_bandwidth_prefixes_or_processes_are_never_slower(tier, store_format, how, times):
    before = predict(PHOTOS, tier, store_format, loading=how).steady_epoch_s
    better = [
        replace(how, prefixes=how.prefixes * times),
        replace(how, connections=how.connections and how.connections * times),
        replace(how, network=how.network and how.network * times),
        replace(how, processes=how.processes * times),
    ]
    for each in better:
        assert predict(PHOTOS, tier, store_format, loading=each).steady_epoch_s <= before * NEARLY


@given(
    tiers.filter(lambda tier: tier.network), formats, loadings, st.integers(2, 8), st.sampled_from(["global", "block"])
)
def test_all_nodes_together_never_get_more_than_the_limit(tier, store_format, how, more, order):
    for nodes in (how.nodes, how.nodes * more):
        found = predict(PHOTOS, tier, store_format, loading=replace(how, nodes=nodes), order=order)
        taken, asked = found.epoch_bytes / found.steady_epoch_s, found.epoch_requests / found.steady_epoch_s
        assert taken <= (tier.total_bandwidth or float("inf")) * 1.001
        if tier.prefix_iops:
            assert asked <= tier.prefix_iops * how.prefixes * 1.001
        if how.network:
            assert taken <= how.network * nodes * 1.001


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"prefixes": 0}, {"connections": 0}, {"network": 0.0}])
def test_impossible_limits_are_refused(wrong):
    with pytest.raises(ValueError, match="loading: expected"):
        Loading(**wrong)


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"prefixes": 0}, {"cpus": 0}, {"network": 0.0}, {"threads": 0}])
def test_an_impossible_job_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Job(**wrong)


def test_threads_are_the_cores_of_the_host_that_trains_divided_among_its_processes():
    assert Job(cpus=96, processes=8).threads_each == 12
    assert Job(cpus=2, processes=8).threads_each == 1
    assert Job(cpus=96, threads=3).threads_each == 3
