"""The shipped catalog is sound, and another one overrides it or says what is wrong with it."""

from __future__ import annotations

import re
from importlib import resources

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.advice.catalog import RANDOM_READ, find_tier, load_catalog, read_catalog
from tiering.advice.tier import Tier
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


def test_a_tier_of_ones_own_is_like_another_with_the_figures_that_differ(tmp_path):
    tiers = load_catalog(
        written(
            tmp_path, "[tier.usb-disk]\nlike = 'hdd'\nread_bandwidth = 150e6\nrandom_bandwidth = 14e6\niops = 110\n"
        )
    )
    mine, model = find_tier(tiers, "usb-disk"), find_tier(tiers, "hdd")
    changed = {"name": "usb-disk", "title": "usb-disk", "read_bandwidth": 150e6, "random_bandwidth": 14e6, "iops": 110}
    assert mine == model.model_copy(update=changed)
    assert len(tiers) == len(load_catalog()) + 1


def test_likeness_goes_through_others_and_leaves_keys_out(tmp_path):
    text = "[tier.c]\nlike = 'b'\nprice = 3\n[tier.b]\nlike = 'a'\ntitle = 'B'\n[tier.a]\nlike = 'nvme'\nwithout = ['endurance']\n"
    tiers = load_catalog(written(tmp_path, text))
    assert [find_tier(tiers, name).title for name in "abc"] == ["a", "B", "c"]
    assert find_tier(tiers, "c").price == 3
    assert find_tier(tiers, "c").endurance is None
    assert find_tier(tiers, "c").iops == find_tier(tiers, "nvme").iops


def test_likeness_sees_the_files_own_figures_and_what_a_file_that_stands_alone_leaves_out(tmp_path):
    tiers = load_catalog(written(tmp_path, "[tier.nvme]\nprice = 9\n[tier.mine]\nlike = 'nvme'\n"))
    assert find_tier(tiers, "mine").price == 9
    alone = load_catalog(written(tmp_path, "replace = true\n[tier.mine]\nlike = 'nvme'\n"))
    assert [(tier.name, tier.price) for tier in alone] == [("mine", find_tier(load_catalog(), "nvme").price)]


def test_a_file_may_be_like_the_tiers_of_a_cloud(tmp_path):
    path = written(tmp_path, "[tier.mine]\nlike = 'aws-ebs-gp3'\nprice = 0.1\n[tier.disk]\nlike = 'nvme'\n")
    tiers = load_catalog(path, cloud="aws")
    assert find_tier(tiers, "mine").included_iops == 3000
    assert {"aws-s3-standard", "mine", "disk", "dram"} <= {tier.name for tier in tiers}
    assert find_tier(tiers, "nvme") is None


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("[tier.a]\nlike = 'b'\n[tier.b]\nlike = 'a'\n", "tier.b.like", "a like b like a"),
        ("[tier.a]\nlike = 'a'\n", "tier.a.like", "'a'"),
        ("[tier.a]\nlike = 'tape'\n", "tier.a.like", "'tape'"),
        ("[tier.a]\nlike = 3\n", "tier.a.like", "3"),
        ("[tier.a]\nlike = 'nvme'\nwithout = 'price'\n", "tier.a.without", "'price'"),
        ("[tier.a]\nlike = 'nvme'\nwithout = ['prices']\n", "tier.a.without", "'prices'"),
        ("[tier.nvme]\nwithout = ['endurance']\n", "tier.nvme.without", "needs `like` beside it"),
        ("[tier.a]\nlike = 'nvme'\nwithout = ['price']\n", "tier.a.price", "field required"),
        ("[tier.nvme]\nprice_steps = [[100, 0.01], [50, 0.02]]\n", "tier.nvme.price_steps", "rising"),
    ],
)
def test_a_likeness_that_cannot_be_names_the_key(tmp_path, text, key, found):
    with pytest.raises(CatalogError) as caught:
        load_catalog(written(tmp_path, text))
    assert str(caught.value.where).endswith(key)
    assert found in str(caught.value)


def test_everything_that_is_wrong_is_named_at_once(tmp_path):
    text = (
        "colour = 1\n[tier.nvme]\nprice = -1\niopz = 3\ntitle = 4\n[tier.new]\ntitle = 'x'\n[tier.a]\nlike = 'tape'\n"
        "[tier.hdd]\nprice = 1\n"
    )
    tiers, wrong = read_catalog(written(tmp_path, text))
    keys = [str(error.where).rpartition(" ")[2] for error in wrong]
    assert keys[0] == "colour"
    assert {
        "tier.nvme.price",
        "tier.nvme.iopz",
        "tier.nvme.title",
        "tier.new.access",
        "tier.new.price",
        "tier.a.like",
    } <= set(keys)
    assert "Did you mean iops?" in str(wrong[keys.index("tier.nvme.iopz")])
    assert find_tier(tiers, "hdd").price == 1
    with pytest.raises(CatalogError, match="colour"):
        load_catalog(tmp_path / "tiers.toml")


names = st.sampled_from(["nvme", "hdd", "a", "b", "c", "d"])
values = st.one_of(
    st.integers(-(10**6), 10**15), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(["", "x\n", "\x00", "ä"]), st.booleans(),
    st.lists(st.integers(0, 9), max_size=3), st.sampled_from(["file", "object", "aws"]),
)  # fmt: skip
own_tables = st.dictionaries(st.sampled_from([*Tier.model_fields, "speed"]), values, max_size=4)
tables = st.tuples(
    own_tables, st.none() | names, st.none() | st.lists(st.sampled_from([*Tier.model_fields, "speed"]), max_size=2)
).map(lambda each: {**each[0], **({"like": each[1]} if each[1] else {}), **({"without": each[2]} if each[2] else {})})


@settings(max_examples=examples(150))
@given(st.dictionaries(names, tables, max_size=4), st.sampled_from([None, "aws", "google", "azure", "onprem"]))
def test_any_tables_give_sound_tiers_and_named_errors(tmp_path_factory, given_tables, cloud):
    path = tmp_path_factory.mktemp("catalogs") / "tiers.toml"
    path.write_text(tomlkit.dumps({"tier": given_tables}))
    tiers, wrong = read_catalog(path, cloud=cloud)
    for error in wrong:
        assert error.where.startswith(str(path))
        assert len(str(error).splitlines()) == 1
    broken = {error.where.split(": tier.")[-1].partition(".")[0] for error in wrong}
    assert len({str(error) for error in wrong}) == len(wrong)
    # A tier is there, or what is wrong with it, or with the one that it is like, is named.
    missing = set(given_tables) - {tier.name for tier in tiers} - broken
    assert not missing or (broken and all("like" in given_tables[name] for name in missing))
    if wrong:
        with pytest.raises(CatalogError):
            load_catalog(path, cloud=cloud)
    else:
        assert load_catalog(path, cloud=cloud) == tiers
