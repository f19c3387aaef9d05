"""The closed forms of docs/predicting.md, "Several nodes": the model agrees with arithmetic that fits on one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.profiles import TIERS
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.loading import Loading
from tiering.advice.prediction import CachePlan, predict

#: 3 TB of photographs on a filer, and NVMe in each of 16 nodes.
DATA = DatasetSizes(27_272_727, 2_999_999_970_000)
FILER, NVME = TIERS["nfs"], TIERS["nvme"]


def test_a_filer_behind_the_caches_of_nodes_is_read_once_and_then_not_at_all():
    nodes = 16
    plan = CachePlan(local=DATA.bytes // nodes + 1, local_tier=NVME)
    found = predict(DATA, FILER, "zarr", cache=plan, loading=Loading(threads=64, nodes=nodes))
    assert found.first_epoch_s == pytest.approx(DATA.bytes / FILER.total_bandwidth, rel=0.02)
    assert found.epoch_bytes == 0
    own = DATA.samples / nodes * NVME.read_seconds(DATA.mean)
    assert found.steady_epoch_s == pytest.approx(own, rel=0.05)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_caches_that_hold_a_share_leave_the_rest_to_the_filer(share):
    nodes = 16
    plan = CachePlan(local=round(share * DATA.bytes / nodes), local_tier=NVME)
    found = predict(DATA, FILER, "zarr", cache=plan, loading=Loading(threads=64, nodes=nodes))
    assert found.hit_ratio == pytest.approx(share, rel=1e-3)
    filer = (1 - share) * DATA.bytes / FILER.total_bandwidth
    own = share * DATA.samples / nodes * NVME.read_seconds(DATA.mean)
    assert found.steady_epoch_s == pytest.approx(filer + own, rel=0.02)


def test_the_network_of_a_node_may_be_less_than_its_part_of_the_filer():
    nodes, network = 4, 125e6
    found = predict(DATA, FILER, "zarr", loading=Loading(threads=64, nodes=nodes, network=network))
    assert found.steady_epoch_s == pytest.approx(DATA.bytes / nodes / network, rel=0.02)


@given(st.integers(1, 512))
def test_loading_a_copy_to_each_node_reads_the_filer_as_often(nodes):
    how = Loading(threads=64, nodes=nodes, network=12.5e9)
    found = predict(DATA.times(nodes), FILER, "zarr", epochs=1, loading=how)
    least = max(nodes * DATA.bytes / FILER.total_bandwidth, DATA.bytes / how.network)
    assert least <= found.first_epoch_s * 1.001
    if nodes > 4:
        assert found.first_epoch_s == pytest.approx(least, rel=0.02)
