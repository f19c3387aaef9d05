"""`tiering tiers`: what the catalog knows, and what is wrong with one."""

from __future__ import annotations

import io
import json

import pytest
from typer.testing import CliRunner

from tiering.advice.catalog import load_catalog
from tiering.advice.plausible import implausible
from tiering.cli.app import app
from tiering.cli.console import PlainConsole
from tiering.cli.output import table


def tiering(*words, env=None):
    return CliRunner().invoke(app, ["tiers", *map(str, words)], env=env)


def test_the_list_has_every_tier():
    done = tiering("list")
    assert done.exit_code == 0, done.stderr
    for tier in load_catalog():
        assert f"\n{tier.name} " in done.stdout
    assert "…" not in done.stdout
    assert [tier["name"] for tier in json.loads(tiering("list", "--json").stdout)["tiers"]] == [
        tier.name for tier in load_catalog()
    ]


def test_a_narrow_terminal_cuts_no_figure():
    console = PlainConsole(file=io.StringIO(), width=30)
    shown = table("tier", *map(str, range(20)))
    shown.add_row("nvme", *("12,345,678" for _ in range(20)))
    console.show(shown)
    lines = console.file.getvalue().splitlines()
    assert lines == ["nvme", *(f"  {number}: 12,345,678" for number in range(20))]


def test_a_narrow_terminal_names_the_columns_that_it_lacks():
    console = PlainConsole(file=io.StringIO(), width=50)
    shown = table("tier", "reads/s", "writes/s", "a very long name of a column")
    shown.add_row("nvme", "800,000", "400,000", "12,345,678")
    console.show(shown, drop=("a very long name of a column", "writes/s"))
    lines = console.file.getvalue().splitlines()
    assert lines[1].split() == ["nvme", "800,000", "400,000"]
    assert lines[2] == "Left out to fit: a very long name of a column. A wider terminal or --json shows all."


def test_one_tier_is_shown_with_units_and_meanings(tmp_path):
    done = tiering("show", "object-archive")
    assert done.exit_code == 0, done.stderr
    shown = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "60 ms" in shown["read_latency_p50"]
    assert "3 GB/s" in shown["read_bandwidth"]
    assert " 90 " in shown["minimum_days"]
    assert "USD" in shown["retrieval_price"]
    assert json.loads(tiering("show", "hdd", "--json").stdout)["name"] == "hdd"


def test_a_tier_that_is_none_names_those_there_are():
    done = tiering("show", "tape")
    assert done.exit_code == 2
    assert "nvme" in done.stderr


def test_the_environment_names_a_catalog(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("[tier.nvme]\nprice = 0.5\n")
    environment = {"TIERING_CATALOG": str(mine)}
    assert json.loads(tiering("show", "nvme", "--json", env=environment).stdout)["price"] == 0.5
    assert (
        next(t for t in json.loads(tiering("list", "--json", env=environment).stdout)["tiers"] if t["name"] == "nvme")[
            "price"
        ]
        == 0.5
    )
    assert str(mine) in tiering("check", env=environment).stdout


def test_a_sound_catalog_has_no_warnings():
    done = tiering("check")
    assert done.exit_code == 0
    assert done.stderr == ""
    assert "9 tiers, 0 warnings" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tier.nvme]\nprice = -1", "tier.nvme.price"),
        ("[tier.new]\ntitle = 'x'", "tier.new.access"),
        ("[tier.nvme]\nread_points = [{ block = 1 }]", "tier.nvme.read_points.0"),
        ("[tier.nvme", "TOML"),
    ],
)
def test_what_cannot_be_used_is_a_clear_error_for_each_key(tmp_path, text, said):
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    done = tiering("check", mine)
    assert done.exit_code == 3
    assert said in done.stderr
    assert all(line.startswith(f"CatalogError: {mine}") for line in done.stderr.splitlines())
    assert done.stdout == ""
    assert tiering("check", tmp_path / "none.toml").exit_code == 3


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("random_bandwidth", 7e9, "random_bandwidth"),
        ("read_latency_p99", 1e-6, "read_latency_p99"),
        ("iops", 1e7, "above read_bandwidth"),
        ("iops", 100, "fewer"),
        ("queue_depth", 1, "Little"),
        ("network", True, "mmap_ok"),
        ("price", 80, None),
        ("price", 800, "per TB"),
        ("capacity", 15, "bytes"),
        ("max_bandwidth", 1e6, None),
        ("included_bandwidth", 1e9, None),
        ("gb", 10**6, "2^30"),
        ("minimum_object", 10**10, "minimum_object"),
        ("request_price", 5, "million"),
        ("retrieval_price", 23, "TB"),
        ("bandwidth_price", 400, "GB/s"),
        ("bandwidth_per_tib", 125, "B/s"),
        ("egress_internet_price", 0.09, "egress"),
    ],
)
def test_what_is_implausible_is_a_warning(tmp_path, key, value, word):
    mine = tmp_path / "mine.toml"
    mine.write_text(f"[tier.nvme]\n{key} = {json.dumps(value)}\n")
    done = tiering("check", mine, "--json")
    assert done.exit_code == 0, done.stderr
    warnings = json.loads(done.stdout)["warnings"]
    assert any(word in each["warning"] for each in warnings) if word else warnings == []
    if word:
        assert "Warning: tier.nvme: " in tiering("check", mine).stderr


def test_measured_points_are_shown_and_doubted(tmp_path):
    mine = tmp_path / "mine.toml"
    point = "{ pattern = 'random', block = 4096, depth = 3, bandwidth = 1e6, p50 = 2e-3, p99 = 1e-3 }"
    mine.write_text(f"[tier.nvme]\nread_points = [{point}]\n")
    assert "2 ms" in tiering("show", "nvme", "--catalog", mine).stdout
    (nvme,) = [tier for tier in load_catalog(mine) if tier.name == "nvme"]
    assert [said for said in implausible(nvme) if "depth 3" in said]


def test_everything_that_is_wrong_is_named_at_once(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("[tier.nvme]\nprice = -1\nspeed = 3\n[tier.new]\ntitle = 'x'\n[tier.hdd]\nprice = 800\n")
    done = tiering("check", mine)
    assert done.exit_code == 3
    lines = done.stderr.splitlines()
    for key in ("tier.nvme.price", "tier.nvme.speed", "tier.new.access", "tier.new.open_cost"):
        assert [line for line in lines if key in line and line.startswith("CatalogError: ")], key
    assert "per TB" in done.stderr
    document = tiering("check", mine, "--json")
    assert document.exit_code == 3
    assert len(json.loads(document.stdout)["errors"]) == len(
        [line for line in lines if line.startswith("CatalogError")]
    )


def test_a_cloud_takes_the_place_of_the_shipped_tiers():
    shown = tiering("list", "--cloud", "aws").stdout
    assert "aws-s3-standard" in shown
    assert "object-archive" not in shown
    assert (
        "16 TiB" in tiering("show", "aws-ebs-gp3", "--cloud", "aws").stdout
        or "17.6 TB" in tiering("show", "aws-ebs-gp3", "--cloud", "aws").stdout
    )
    assert "The preset azure: 5 tiers, 0 warnings" in tiering("check", "--cloud", "azure").stdout
    assert tiering("list", "--cloud", "oracle").exit_code == 2


def test_more_than_can_be_bought_is_doubted(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(
        "[tier.nvme]\nmax_bandwidth = 1e8\nprovisioned_bandwidth = 2e8\nmax_iops = 100\nincluded_iops = 3000\n"
    )
    warnings = tiering("check", mine).stderr
    assert "max_bandwidth 100 MB/s is below" in warnings
    assert "max_iops 100 is below" in warnings
