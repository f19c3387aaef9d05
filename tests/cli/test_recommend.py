"""`tiering recommend`: from a directory or a profile to advice, and clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tiering.cli.app import app
from tiering.dataset.profile import profile_dataset
from tiering.profile import Profile, write_profile

FIXTURES = Path(__file__).parents[2] / "fixtures" / "images"


def tiering(*words, env=None):
    return CliRunner().invoke(app, ["recommend", *map(str, words)], env=env)


def document(*words, env=None):
    done = tiering(*words, "--json", env=env)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    path = tmp_path_factory.mktemp("profiles") / "profile.json"
    write_profile(Profile(dataset=profile_dataset(FIXTURES)), path)
    return path


def test_a_directory_gets_a_table_reasons_and_the_next_command():
    done = tiering(FIXTURES, "--ram", "4GiB")
    assert done.exit_code == 0, done.stderr
    assert "Workload: re-read-heavy" in done.stdout
    assert "Chosen by: " in done.stdout
    assert "->" in done.stdout
    assert "now" in done.stdout
    assert "…" not in done.stdout
    assert f"Next: tiering convert {FIXTURES} images.lmdb --to lmdb" in done.stderr


def test_json_is_one_document_and_a_profile_says_the_same_as_its_directory(profile):
    found = document(profile, "--ram", "4GiB")
    assert found == document(FIXTURES, "--ram", "4GiB")
    assert set(found) == {
        "choice",
        "alternatives",
        "baseline",
        "workload",
        "confidence",
        "epochs",
        "criterion",
        "doing_nothing",
        "conversion",
        "dropped",
        "asks",
        "notes",
    }
    for key in (
        "tier",
        "format",
        "codec",
        "cache",
        "first_epoch_s",
        "steady_epoch_s",
        "monthly_usd",
        "speedup",
        "reason",
    ):
        assert key in found["choice"]


def test_flags_move_the_advice(profile, tmp_path):
    assert document(profile, "--tier", "hdd")["baseline"]["tier"] == "hdd"
    assert document(profile, "--epochs", "7")["epochs"] == 7
    assert document(profile, "--ram", "0")["choice"]["hit_ratio"] == 0
    assert "3.50 USD" in document(profile, "--hour-price", "3.5")["criterion"]
    catalog = tmp_path / "tiers.toml"
    catalog.write_text("[tier.nvme]\ncapacity = 1000\n")
    for found in (
        document(profile, "--catalog", catalog),
        document(profile, env={"TIERING_CATALOG": str(catalog)}),
    ):
        assert found["choice"]["tier"] != "nvme"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 3, "DatasetError: nowhere: "),
        ([FIXTURES, "--tier", "tape"], 2, "expected one of dram, nvme"),
        ([FIXTURES, "--ram", "lots"], 2, "UsageError: 'lots'"),
        ([FIXTURES, "--epochs", "0"], 2, "UsageError: epochs"),
        ([FIXTURES, "--catalog", "nowhere.toml"], 3, "InputError: nowhere.toml"),
        ([Path(__file__)], 3, "ProfileError: "),
    ],
)
def test_errors_are_one_line_with_the_promised_exit_code(words, code, said):
    done = tiering(*words)
    assert done.exit_code == code
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_malformed_catalog_names_its_key(tmp_path):
    catalog = tmp_path / "tiers.toml"
    catalog.write_text("[tier.nvme]\nprice = -1\n")
    done = tiering(FIXTURES, "--catalog", catalog)
    assert done.exit_code == 3
    assert "CatalogError: " in done.stderr
    assert "tier.nvme.price" in done.stderr


def test_a_profile_of_traces_alone_is_refused(tmp_path):
    path = tmp_path / "profile.json"
    write_profile(Profile(), path)
    done = tiering(path)
    assert done.exit_code == 3
    assert "expected the profile of a dataset" in done.stderr


def test_help_says_what_it_is_for_and_gives_an_example():
    said = " ".join(tiering("--help").stdout.split())
    assert said.index("Recommend the storage tier") < said.index("tiering recommend profile.json")
