"""The shipped catalog is sound, and another one overrides it or says what is wrong with it."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from tiering.advice.catalog import RANDOM_READ, find_tier, load_catalog
from tiering.errors import CatalogError

WHOLE = """
[tier.mine]
title = "a disk"
access = "file"
network = false
mmap_ok = true
read_bandwidth = 1e9
random_bandwidth = 5e8
iops = 1000
write_bandwidth = 1e9
read_latency_p50 = 1e-4
read_latency_p99 = 1e-3
queue_depth = 8
open_cost = 1e-4
price = 0.1
"""


def written(tmp_path, text):
    path = tmp_path / "tiers.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_shipped_tiers_are_plausible():
    tiers = load_catalog()
    names = {tier.name for tier in tiers}
    assert {"dram", "nvme", "sata-ssd", "hdd", "nfs", "parallel-fs", "object"} <= names
    for tier in tiers:
        assert tier.random_bandwidth <= tier.read_bandwidth
        assert tier.read_latency_p50 < tier.read_latency_p99
        assert not (tier.mmap_ok and tier.network)
        assert (tier.capacity is None) == (tier.access == "object")


def test_every_shipped_figure_names_its_source():
    text = resources.files("tiering.advice").joinpath("catalog.toml").read_text()
    figures = [line for line in text.splitlines() if re.match(r"\w+ = [0-9]", line)]
    assert len(figures) > 80
    assert [line for line in figures if "#" not in line] == []


def test_a_file_overrides_single_keys_and_adds_tiers(tmp_path):
    tiers = load_catalog(written(tmp_path, "[tier.nvme]\nprice = 0.5\n" + WHOLE))
    shipped = find_tier(load_catalog(), "nvme")
    assert find_tier(tiers, "nvme") == shipped.model_copy(update={"price": 0.5})
    assert find_tier(tiers, "mine").queue_depth == 8
    assert len(tiers) == len(load_catalog()) + 1


def test_a_file_may_stand_alone(tmp_path):
    assert [tier.name for tier in load_catalog(written(tmp_path, "replace = true\n" + WHOLE))] == ["mine"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[tier.nvme]\nprice = -1", "tier.nvme.price"),
        ("[tier.nvme]\nprice = 'much'", "tier.nvme.price"),
        ("[tier.nvme]\nprice = nan", "tier.nvme.price"),
        ("[tier.nvme]\nspeed = 1", "tier.nvme.speed"),
        ("[tier.nvme]\nname = 'x'", "tier.nvme.name"),
        ("[tier.nvme]\naccess = 'tape'", "tier.nvme.access"),
        ("[tier.nvme]\nqueue_depth = 0", "tier.nvme.queue_depth"),
        ("[tier.new]\ntitle = 'x'", "tier.new.access"),
        ("[tier]\nnvme = 3", "tier.nvme"),
        ("tier = 3", "tier"),
        ("", "tier"),
        ("replace = 1\n[tier.nvme]\nprice = 1", "replace"),
        ("[tiers.nvme]\nprice = 1", "tiers"),
        ("[tier.nvme", "tiers.toml"),
        (b"\xff\xfe", "tiers.toml"),
    ],
)
def test_a_malformed_catalog_names_the_key(tmp_path, text, key):
    with pytest.raises(CatalogError) as caught:
        load_catalog(written(tmp_path, text))
    assert str(caught.value.where).endswith(key)


def test_a_read_takes_the_slowest_of_requests_latency_and_bytes():
    nvme = find_tier(load_catalog(), "nvme")
    assert nvme.read_seconds(1) == pytest.approx(1 / nvme.iops)
    assert nvme.read_seconds(RANDOM_READ) == pytest.approx(RANDOM_READ / nvme.random_bandwidth)
    assert nvme.model_copy(update={"queue_depth": 1}).read_seconds(1) == nvme.read_latency_p50
