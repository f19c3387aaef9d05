"""Presets of clouds: each figure with its source, as in the price sheets, and bills that agree with an independent calculation."""

from __future__ import annotations

import re
import tomllib
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources
from typing import get_args

import pytest

from tests.conftest import FIXTURES
from tiering.advice.bill import monthly_bill
from tiering.advice.catalog import load_catalog
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.plausible import implausible
from tiering.errors import UsageError
from tiering.literals import Cloud

CLOUDS = get_args(Cloud)
SHEETS = tomllib.loads((FIXTURES / "advice" / "price_sheets.toml").read_text())["tier"]
BILLS = tomllib.loads((FIXTURES / "advice" / "bills.toml").read_text())["bill"]
PRESETS = {tier.name: tier for cloud in CLOUDS for tier in load_catalog(cloud=cloud) if tier.name in SHEETS}
#: Tiers of the sheets that are in no preset, each for want of a price. docs/tiers.md names them.
LEFT_OUT = {
    "gcp-hyperdisk-balanced", "gcp-managed-lustre", "gcp-filestore", "azure-premium-ssd-v2",
    "onprem-hdd", "onprem-nfs-filer", "onprem-minio",
}  # fmt: skip
#: The datasets of the independent calculation: samples, bytes of one, reads of all of it in a month.
DATASETS = {
    "imagenet": (1_281_024, 114_660, 90),
    "thumbnails": (100_000_000, 10_000, 1),
    "tiff": (108_932, 45_900_000, 10),
}
#: Keys of a tier and of its sheet.
SAME = {
    "price": "price", "request_price": "get", "write_request_price": "put", "retrieval_price": "retrieval",
    "transition_price": "transition", "minimum_object": "minimum_object", "minimum_days": "minimum_days",
    "minimum_capacity": "minimum_capacity", "bandwidth_price": "provisioned_throughput", "iops_price": "provisioned_iops",
    "included_iops": "free_iops", "included_bandwidth": "free_throughput", "capacity_step": "disk_capacity",
    "egress_internet_price": "egress_internet", "egress_region_price": "egress_region", "durability": "durability",
    "zones": "zones", "prefix_iops": "get_per_prefix", "connection_bandwidth": "connection_bandwidth", "gb": "billing_gb",
}  # fmt: skip
BILLED = [(name, dataset) for name in BILLS for dataset in DATASETS if name in PRESETS]


def sheet_of(name):
    own = dict(SHEETS[name])
    return {**SHEETS.get(own.get("like"), {}), **own}


def cents(usd):
    return Decimal(repr(usd)).quantize(Decimal("0.01"), ROUND_HALF_UP)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_tiers_of_a_preset_are_plausible(cloud):
    tiers = load_catalog(cloud=cloud)
    assert [(tier.name, doubt) for tier in tiers for doubt in implausible(tier)] == []
    assert {tier.cloud for tier in tiers if tier.name in SHEETS} == {cloud}
    assert any(tier.is_local for tier in tiers)


def test_every_tier_of_the_sheets_is_in_a_preset_or_named_in_the_docs():
    assert set(PRESETS) | LEFT_OUT == set(SHEETS)
    assert not set(PRESETS) & LEFT_OUT
    page = (FIXTURES.parent / "docs" / "tiers.md").read_text()
    assert [name for name in LEFT_OUT if f"`{name}`" not in page] == []


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_figure_of_a_preset_names_its_source(cloud):
    text = resources.files("tiering.advice").joinpath("presets", f"{cloud}.toml").read_text()
    lines = text.splitlines()
    figures = [number for number, line in enumerate(lines) if re.match(r"(?!without|classes)\w+ = [0-9\[]", line)]
    assert len(figures) >= 10
    assert [lines[number] for number in figures if not lines[number - 1].startswith("# ")] == []
    assert not re.search(r"https?://\S+$", text, re.MULTILINE), "an address without its date"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_figures_of_its_sheet(name):
    sheet = sheet_of(name)
    for key, other in SAME.items():
        if isinstance(sheet.get(other), dict) and (name, key) != ("aws-efs", "bandwidth_price"):
            assert getattr(PRESETS[name], key) == sheet[other]["value"], key


@pytest.mark.parametrize(("name", "dataset"), BILLED)
def test_a_bill_agrees_to_the_cent_with_one_made_from_the_sheets_alone(name, dataset):
    samples, size, reads = DATASETS[dataset]
    tier = PRESETS[name]
    bought = {"provisioned_bandwidth": 0.0, "provisioned_iops": 0.0}
    if dataset == "thumbnails":
        bought = {"provisioned_bandwidth": 500e6, "provisioned_iops": 16000.0}
    found = monthly_bill(
        DatasetSizes(samples, samples * size), tier.model_copy(update=bought),
        reads=reads * samples, bytes_read=reads * samples * size,
    )  # fmt: skip
    expected = {key: cents(value) for key, value in BILLS[name][dataset].items()}
    assert {key: cents(getattr(found, key)) for key in expected} == expected


def test_all_three_clouds_were_calculated():
    assert len(BILLED) >= 3 * 13
    assert {PRESETS[name].cloud for name, _ in BILLED} == {"aws", "google", "azure"}


def test_a_cloud_that_is_none_names_those_there_are():
    with pytest.raises(UsageError, match="aws, azure, google, onprem"):
        load_catalog(cloud="oracle")
