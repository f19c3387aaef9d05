"""Accelerators: the table agrees with the sheet of sources, and gives a job its rate and its price of waiting."""

from __future__ import annotations

import json
import tomllib

import pytest
from typer.testing import CliRunner

from tests.advice.profiles import IMAGENET
from tests.conftest import FIXTURES
from tiering.advice.accelerators import cheapest_node, find_accelerator, load_accelerators, with_accelerators
from tiering.advice.job import Job
from tiering.advice.recommend import recommend
from tiering.cli.app import app
from tiering.errors import UsageError
from tiering.workload.profile import Profile, write_profile

SHEET = tomllib.loads((FIXTURES / "advice" / "price_sheets.toml").read_text())


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    path = tmp_path_factory.mktemp("profiles") / "profile.json"
    write_profile(Profile(dataset=IMAGENET), path)
    return path


def advice(*words):
    return CliRunner().invoke(app, ["recommend", *map(str, words)])


def test_every_accelerator_has_the_figures_and_the_source_of_the_sheet():
    assert {one.name for one in load_accelerators()} == set(SHEET["emulation"])
    for one in load_accelerators():
        row = SHEET["emulation"][one.name]
        assert (one.batch_size, one.step_seconds) == (row["samples_per_step"], row["step_seconds"])
        assert (one.sample_bytes, one.utilisation) == (row["sample_bytes"], row["utilisation_required"])
        assert one.samples_per_s == pytest.approx(row["samples_per_s"], abs=0.01)
        assert (one.source, str(one.published)) == (row["source"], row["published"])


@pytest.mark.parametrize("device", ["A100", "H100"])
def test_the_price_is_the_lowest_of_the_sheet(device):
    prices = {
        name: row["price"] / row["accelerators"]
        for name, row in SHEET["node"].items()
        if row["accelerator"] == device.lower() and "accelerators" in row
    }
    node = cheapest_node(device)
    assert node.name == min(prices, key=prices.get)
    assert node.accelerator_usd == pytest.approx(min(prices.values()))
    assert cheapest_node("abacus") is None


def test_a_cloud_has_its_own_price_where_one_is_known():
    google = with_accelerators(Job(), "h100", cloud="google")
    assert google.hour_usd == pytest.approx(44.2449999512877 / 4)
    assert any("the lowest known of google" in line for line in google.notes)
    azure = with_accelerators(Job(), "h100", cloud="azure")
    assert azure.hour_usd == pytest.approx(6.88)
    assert any("the lowest known, because none of azure is" in line for line in azure.notes)


def test_a_device_stands_for_resnet50_on_it():
    assert find_accelerator("H100") == find_accelerator("resnet50-h100")
    with pytest.raises(UsageError, match=r"accelerator: must be one of resnet50-h100, .*, not 'tpu'"):
        find_accelerator("tpu")


def test_rate_and_price_grow_with_accelerators_and_nodes():
    job = with_accelerators(Job(nodes=4), "unet3d-a100", per_node=8)
    assert job.samples_per_s == pytest.approx(4 * 8 * 7 / 0.636)
    assert job.hour_usd == pytest.approx(21.957642)
    assert job.nodes == 4


def test_what_the_job_says_itself_stays():
    rated = with_accelerators(Job(samples_per_s=10.0), "h100", per_node=2)
    assert (rated.samples_per_s, rated.hour_usd) == (10.0, pytest.approx(2 * 6.88))
    priced = with_accelerators(Job(hour_usd=0.0), "h100", per_node=2)
    assert (priced.samples_per_s, priced.hour_usd) == (pytest.approx(2 * 400 / 0.224), 0.0)
    with pytest.raises(UsageError, match="only one of"):
        with_accelerators(Job(samples_per_s=10.0, hour_usd=1.0), "h100")
    with pytest.raises(UsageError, match="accelerators_per_node: must be at least 1"):
        with_accelerators(Job(), "h100", per_node=0)


def test_a_recommendation_says_where_rate_and_price_come_from():
    found = recommend(IMAGENET, job=with_accelerators(Job(nodes=2), "h100", per_node=8))
    assert any("h100 stands for resnet50-h100" in line for line in found.notes)
    assert any("28,571 samples/s: 16 H100" in line for line in found.notes)
    assert any("55.04 USD: 8 x 6.88 USD" in line and "2026-07-20" in line for line in found.notes)
    assert "55.04 USD an hour of each node" in found.criterion


def test_the_command_line_multiplies_by_nodes_and_names_its_flags(profile):
    done = advice(profile, "--accelerator", "h100", "--accelerators-per-node", 8, "--nodes", 2, "--encoded")
    assert done.exit_code == 0, done.stderr
    assert "28,571 samples/s: 16 H100 in all" in done.stderr
    assert "--hour-price changes that" in done.stderr
    rate = json.loads(advice(profile, "--samples-per-second", "28571.43", "--json").stdout)["baseline"]
    same = json.loads(advice(profile, "--accelerator", "h100", "--accelerators-per-node", 16, "--json").stdout)
    assert same["baseline"]["stall_fraction"] == pytest.approx(rate["stall_fraction"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--accelerator", "tpu"), "--accelerator: must be one of resnet50-h100"),
        (("--accelerators-per-node", 8), "--accelerators-per-node: needs --accelerator beside it"),
        (
            ("--accelerator", "h100", "--samples-per-second", "1k", "--hour-price", "2"),
            "--accelerator: takes only one of --samples-per-second and --hour-price beside it",
        ),
    ],
)
def test_conflicts_are_one_clear_error(profile, words, message):
    done = advice(profile, *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
