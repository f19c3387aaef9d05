"""`tiering place` and `tiering cache size`: from a trace to a plan, and clear errors."""

from __future__ import annotations

import ctypes
import json
import os

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.cli.failures import error_line
from tests.conftest import FIXTURES
from tiering.cli.app import app
from tiering.cli.output import solver_aside

DLIO = FIXTURES / "traces" / "dlio"
LOOP = FIXTURES / "traces" / "train_loop.strace.gz"
TWO = ("--capacity", "nvme=1GB", "--capacity", "object")


def tiering(*words, env=None):
    return CliRunner().invoke(app, [*map(str, words)], env=env)


def test_a_trace_becomes_a_plan_lists_and_commands(tmp_path):
    done = tiering(
        "place", DLIO, *TWO, "--lists", tmp_path / "lists", "-o", tmp_path / "plan.csv", "--heat", tmp_path / "heat.csv"
    )
    assert done.exit_code == 0, done.stderr
    assert "nvme" in done.stdout
    assert "in all" in done.stdout
    assert "No plan costs less" in done.stdout
    assert "…" not in done.stdout
    assert "Nothing was moved" in done.stderr
    plan = pl.read_csv(tmp_path / "plan.csv")
    for tier in ("nvme", "object"):
        listed = (tmp_path / "lists" / f"{tier}.rclone").read_text().splitlines()
        assert sorted(listed) == sorted(plan.filter(pl.col("tier") == tier)["path"])
        assert f"lists/{tier}." in done.stderr
    assert plan.filter(pl.col("tier") == "nvme")["size"].sum() <= 10**9
    span = ("--duration", "55.36231017112732", "--in-flight", "2")
    again = tiering("place", tmp_path / "heat.csv", *TWO, "-o", tmp_path / "again.csv", *span)
    assert again.exit_code == 0, again.stderr
    assert pl.read_csv(tmp_path / "again.csv").drop("monthly_usd").equals(plan.drop("monthly_usd"))


def test_json_is_one_document_whatever_the_solver_prints(program):
    done = program("place", DLIO, *TWO, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["plan"]["files"] == 41
    assert document["plan"]["gap"] <= 0.01
    assert [share["tier"] for share in document["plan"]["tiers"]] == ["nvme", "object"]


def test_what_c_code_prints_is_kept_off_stdout(capfd):
    libc = ctypes.CDLL(None)
    with solver_aside():
        libc.puts(b"noise of a solver")
        os.write(1, b"more of it\n")
    libc.puts(b"afterwards")
    libc.fflush(None)
    assert capfd.readouterr().out == "afterwards\n"


def test_what_if_compares_two_catalogs(tmp_path):
    other = tmp_path / "cheaper.toml"
    other.write_text("[tier.object]\nrequest_price = 0.0\n")
    done = tiering("place", DLIO, *TWO, "--what-if", other)
    assert done.exit_code == 0, done.stderr
    assert "USD/month, cheaper.toml" in done.stdout
    assert "USD a month less." in done.stdout
    document = json.loads(tiering("place", DLIO, *TWO, "--what-if", other, "--json").stdout)
    assert document["what_if"]["monthly_usd"] < document["plan"]["monthly_usd"]


def test_directories_move_as_one(tmp_path):
    done = tiering(
        "place", LOOP, "--capacity", "nvme=1MB", "--capacity", "hdd", "--by", "directory", "-o", tmp_path / "plan.json"
    )
    assert done.exit_code == 0, done.stderr
    units = json.loads((tmp_path / "plan.json").read_text())["units"]
    assert {unit["kind"] for unit in units} == {"directory"}
    assert sum(unit["files"] for unit in units) == 302
    assert sum(unit["size"] for unit in units if unit["tier"] == "nvme") <= 10**6


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["place", LOOP], 2, "needs at least one tier"),
        (["place", LOOP, "--capacity", "tape=1TB"], 2, "must be one of nvme"),
        (["place", LOOP, "--capacity", "hdd="], 2, "must be TIER or TIER=SIZE"),
        (["place", LOOP, "--capacity", "hdd", "--capacity", "hdd=1TB"], 2, "that tier twice"),
        (["place", LOOP, "--capacity", "hdd=lots"], 2, "a size such as"),
        (["place", LOOP, "--capacity", "hdd=1MB"], 2, "hdd is short of"),
        (["place", "nowhere", "--capacity", "hdd"], 3, "nowhere"),
        (["place", FIXTURES / "traces/websearch.mqsim", "--capacity", "hdd"], 3, "block device"),
        (["place", LOOP, "--capacity", "hdd", "--what-if", "nowhere.toml"], 3, "nowhere.toml"),
        (["cache", "size", LOOP, "--tier", "tape"], 2, "--tier: must be one of"),
        (["cache", "size", LOOP, "--cache-tier", "tape"], 2, "--cache-tier: must be one of"),
        (["cache", "size", FIXTURES / "traces/vpic.darshan"], 2, "no read to cache"),
        (["cache", "size", "nowhere"], 3, "nowhere"),
    ],
)
def test_errors_are_one_line_with_the_promised_exit_code(words, code, said):
    assert said in error_line(tiering(*words), code)


def test_cache_size_of_a_dataset_and_of_a_trace(tmp_path, photos):
    assert tiering("profile", photos, "-o", tmp_path / "profile.json").exit_code == 0
    done = tiering("cache", "size", tmp_path / "profile.json", "--tier", "nfs", "--samples-per-second", "5000")
    assert done.exit_code == 0, done.stderr
    assert "the training job sets the pace" in done.stdout
    assert "straight line" in done.stderr
    document = json.loads(tiering("cache", "size", tmp_path / "profile.json", "--tier", "nfs", "--json").stdout)
    assert document["steps"][document["knee"]]["share"] == 1.0
    traced = tiering("cache", "size", LOOP)
    assert traced.exit_code == 0, traced.stderr
    assert "no knee" in traced.stdout
    assert "epoch" not in traced.stdout


def test_a_dataset_whose_trace_only_writes_has_the_curve_of_the_trace(tmp_path, photos):
    log = FIXTURES / "traces" / "sqlite_log.strace"
    assert tiering("profile", photos, "--trace", log, "-o", tmp_path / "profile.json").exit_code == 0
    document = json.loads(tiering("cache", "size", tmp_path / "profile.json", "--json").stdout)
    assert all(step["epoch_s"] is None for step in document["steps"])


def test_names_that_rclone_cannot_carry_are_counted_and_listed(tmp_path):
    rows = {"path": ["plain", "new\nline", "tab\there", "ü"], "size": 10, "reads": 1, "bytes_read": 10}
    (tmp_path / "heat.csv").write_text(pl.DataFrame(rows).write_csv())
    done = tiering(
        "place", tmp_path / "heat.csv", "--capacity", "object", "--duration", "1", "--lists", tmp_path / "lists"
    )
    assert done.exit_code == 0, done.stderr
    left = tmp_path / "lists" / "object.not-rclone0"
    assert (
        f"rclone cannot copy 2 of 4 files on object because of their names, such as 'new\\nline'. {left}" in done.stderr
    )
    assert left.read_bytes() == b"new\nline\0tab\there\0"


def test_a_plan_in_a_cloud_says_what_moving_costs():
    words = ("place", DLIO, "--cloud", "aws", "--capacity", "aws-s3-standard", "--capacity", "aws-s3-standard-ia")
    done = tiering(*words, "--tier", "aws-s3-standard", "--json")
    assert done.exit_code == 0, done.stderr
    plan = json.loads(done.stdout)["plan"]
    assert plan["current"] == "aws-s3-standard"
    assert plan["tiers"][0]["moving_usd"] == 0
    unknown = json.loads(tiering(*words, "--json").stdout)["plan"]
    assert unknown["tiers"][0]["moving_usd"] == pytest.approx(unknown["tiers"][0]["files"] / 1000 * 0.005)
    assert "--tier: must be one of" in tiering(*words, "--tier", "tape").stderr


@pytest.mark.parametrize("cloud", ["aws", "google", "azure"])
def test_a_cache_in_a_cloud_is_the_quickest_local_tier_before_its_bucket(cloud):
    done = tiering("cache", "size", LOOP, "--cloud", cloud)
    assert done.exit_code == 0, done.stderr
    assert "USD/month" in done.stdout
