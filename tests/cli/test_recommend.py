"""`tiering recommend`: from a directory or a profile to advice, and clear errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.cli.failures import error_line
from tests.sources.trees.test_remote import upload
from tiering.cli.app import app
from tiering.dataset.profile import profile_dataset
from tiering.trace.profile import profile_trace
from tiering.workload.profile import Profile, write_profile

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


def test_a_bucket_is_advised_by_its_url(s3):
    upload(FIXTURES, f"{s3}/photos")
    done = tiering(f"{s3}/photos", "--ram", "4GiB", "--explain")
    assert done.exit_code == 0, done.stderr
    assert "taken as object" in done.stderr


def test_json_is_one_document_and_a_profile_says_the_same_as_its_directory(profile):
    found = document(profile, "--ram", "4GiB")
    assert found == document(FIXTURES, "--ram", "4GiB")
    assert set(found) == {
        "format",
        "format_version",
        "choice",
        "alternatives",
        "baseline",
        "answer",
        "workload",
        "confidence",
        "epochs",
        "nodes",
        "criterion",
        "doing_nothing",
        "conversion",
        "plan",
        "forms",
        "dropped",
        "asks",
        "notes",
        "assumptions",
    }
    for key in (
        "tier",
        "format",
        "codec",
        "cache",
        "first_epoch_s",
        "steady_epoch_s",
        "monthly_usd",
        "monthly_usd_per_node",
        "copies",
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
        ([FIXTURES, "--tier", "tape"], 2, "must be one of dram, nvme"),
        ([FIXTURES, "--ram", "lots"], 2, "UsageError: 'lots'"),
        ([FIXTURES, "--ram", "64"], 2, "found 64 without one. For example 64GB, or 64B for bytes."),
        ([FIXTURES, "--capacity", "nvme=2"], 2, "found 2 without one."),
        ([FIXTURES, "--samples-per-second", "fast"], 2, "'fast' is not a number such as 500, 2.5k or 1M"),
        ([FIXTURES, "--epochs", "0"], 2, "UsageError: --epochs"),
        ([FIXTURES, "--capacity", "nvme"], 2, "must be TIER=SIZE"),
        ([FIXTURES, "--capacity", "tape=1TB"], 2, "UsageError: --capacity tape"),
        ([FIXTURES, "--max-epoch-time", "soon"], 2, "is not a duration"),
        ([FIXTURES, "--budget", "0"], 2, "for the cheapest one left"),
        ([FIXTURES, "--gpu-utilisation", "0.9"], 2, "--samples-per-second"),
        ([FIXTURES, "--resize", "big"], 2, "UsageError: "),
        ([FIXTURES, "--catalog", "nowhere.toml"], 3, "InputError: nowhere.toml"),
        ([Path(__file__)], 3, "ProfileError: "),
    ],
)
def test_errors_are_one_line_with_the_promised_exit_code(words, code, said):
    assert said in error_line(tiering(*words), code)


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
    assert "this profile has traces alone, and no dataset" in done.stderr


def test_help_says_what_it_is_for_and_gives_an_example():
    said = " ".join(tiering("--help").stdout.split())
    assert said.index("Recommend the storage tier") < said.index("tiering recommend profile.json")


WORKED = FIXTURES.parent / "profiles" / "worked_example.json"


def test_limits_and_the_job_reach_the_advice(profile):
    found = document(profile, "--resize", "64x64", "--ram", "4GiB")
    assert found["choice"]["format"] == "pixels"
    kept = document(profile, "--resize", "64x64", "--ram", "4GiB", "--must-keep-originals")
    assert kept["choice"]["format"] != "pixels"
    assert any("Keeping the originals drops" in line for line in kept["dropped"])
    small = document(profile, "--capacity", "nvme=1MB", "--capacity", "sata-ssd=1MB")
    assert small["choice"]["tier"] not in {"nvme", "sata-ssd"}
    waiting = document(profile, "--samples-per-second", "1e9")
    assert waiting == document(profile, "--samples-per-second", "1G")
    assert waiting["choice"]["stall_fraction"] > 0.9
    assert waiting["choice"]["bottleneck"] != "training job"
    idle = document(profile, "--samples-per-second", "10", "--gpu-utilisation", "0.99")
    assert idle["choice"]["bottleneck"] == "training job"
    fewer = document(profile, "--threads", "1")["choice"]["steady_epoch_s"]
    assert document(profile, "--threads", "8")["choice"]["steady_epoch_s"] < fewer
    assert document(profile, "--encoded", "--threads", "1")["choice"]["steady_epoch_s"] < fewer
    limited = document(profile, "--max-epoch-time", "1h")
    assert limited["asks"]["bytes_per_s"] == pytest.approx(limited["asks"]["epoch_bytes"] / 3600)


def test_pixels_are_converted_with_their_shape(profile):
    said = tiering(profile, "--resize", "64x48", "--ram", "4GiB").stderr
    assert " --to zarr --resize 64x48 --codec " in said


def test_stores_made_for_training_are_compared_and_chosen_only_where_they_are_allowed(large):
    found = document(large, "--ram", "0", "--tier", "nvme", "--cpus", "2")
    assert [form["name"] for form in found["forms"]] == ["originals", "jpeg-400", "jpeg-256", "pixels-256"]
    assert found["choice"]["format"] in {"folder", "lmdb", "zarr"}
    assert found["forms"][1]["figures"] is None
    allowed = document(large, "--ram", "0", "--tier", "nvme", "--cpus", "2", "--reencode")
    assert allowed["choice"]["format"] in {"jpeg-400", "jpeg-256", "pixels-256"}
    # A directory is measured for it.
    assert allowed["forms"][1]["figures"]["images"] == 6
    said = tiering(large, "--ram", "0", "--tier", "nvme", "--cpus", "2", "--reencode")
    assert "Plan:" in said.stdout
    assert "Keep the originals on" in said.stdout
    assert "SSIM" in said.stdout
    assert f"Next: {allowed['plan'][-1]['command']}" in said.stderr
    assert "--reencode" in tiering(large, "--tier", "nvme", "--ram", "0").stderr
    refused = tiering(large, "--reencode", "--originals", "drop")
    assert "UsageError: --reencode: expected originals that stay" in error_line(refused, 2)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Six photographs of about 720 x 540 pixels."""
    root = tmp_path_factory.mktemp("large") / "large"
    root.mkdir()
    for number, path in enumerate(sorted(FIXTURES.glob("china-*/*.jpg"))[:6]):
        Image.open(path).convert("RGB").resize((720 + number, 540)).save(root / path.name, quality=95)
    return root


@pytest.mark.slow
def test_calibrated_advice_is_measured_here(tmp_path):
    found = document(FIXTURES, "--resize", "32x32", "--calibrate", "--ram", "4GiB")
    assert any("processor times are measured here" in line for line in assumed(found))
    assert found["choice"]["steady_epoch_s"] > 0


def test_the_worked_example_is_sane_and_explains_itself():
    words = [WORKED, "--tier", "object", "--epochs", "5000", "--ram", "256GiB", "--threads", "64", "--encoded"]
    words += ["--checkpoint-size", "40MB", "--checkpoint-every", "100", "--max-epoch-time", "6h", "--nodes", "64"]
    found = document(*words)
    asks = found["asks"]
    assert asks["epoch_bytes"] == 4_590_000_000_000_000
    assert asks["run_bytes"] == 22_950_000_000_000_000_000
    assert asks["run_reads"] == 500 * 10**9
    assert asks["read_write_ratio"] == 11_475_000_000
    assert asks["bytes_per_s"] == 4.59e15 / 21600
    fits = {tier["tier"]: tier["fits"] for tier in asks["tiers"]}
    assert not any(fits[name] for name in ("nvme", "sata-ssd", "nfs"))
    assert all(fits[name] for name in ("hdd", "parallel-fs", "object", "object-infrequent", "object-archive"))
    usd = {tier["tier"]: tier["usd"] for tier in asks["tiers"]}
    assert usd["object"] == pytest.approx(4.59e6 * 0.023)
    assert usd["nvme"] == pytest.approx(4.59e6 * 0.08, rel=1e-3)
    nodes = asks["nodes"]
    assert nodes[0]["hit_ratio"] == pytest.approx((15e12 + (256 << 30)) / 4.59e15)
    assert nodes[-1]["hit_ratio"] == 1
    assert nodes[-1]["nodes"] == 301
    assert found["choice"]["tier"] in {"object", "parallel-fs"}
    assert found["choice"]["steady_epoch_s"] <= 21600
    assert found["choice"]["hit_ratio"] < 0.5
    said = tiering(*words, "--explain")
    everything = said.stdout + said.stderr
    for words_of_it in (
        "nvme holds 15 TB on each node: 4.59 PB of files do not fit.",
        "11.5 billion bytes are read for each byte written",
        "22.95 EB in 500 billion reads",
        "An epoch in 6 h takes 212 GB/s of reading.",
        "64 nodes reach it",
        "Doing nothing costs",
        "pays back after",
    ):
        assert words_of_it in everything
    alone = tiering(*words[:-4], "--nodes", "1")
    assert "years this way: several nodes can share it" in alone.stderr


def strace_of(tmp_path, end):
    """A pass over 150 images in order, by a program that ended so; and a profile with it."""
    lines = ['7 1.0 execve("/usr/bin/a", ["a"], 0x1 /* 1 var */) = 0']
    for number in range(150):
        name, at = f"/data/{number:04}.jpg", f"7 {number + 2}"
        lines += [f'{at}.0 openat(AT_FDCWD, "{name}", O_RDONLY) = 3', f'{at}.1 read(3, "x"..., 200000) = 100000']
        lines += [f'{at}.2 read(3, "", 200000) = 0', f"{at}.3 close(3) = 0"]
    (tmp_path / "job.strace").write_text("\n".join([*lines, *end]) + "\n")
    path = tmp_path / "profile.json"
    trace = profile_trace(tmp_path / "job.strace")
    write_profile(Profile(dataset=profile_dataset(FIXTURES), traces=[trace]), path)
    return path


@pytest.mark.parametrize("end", [[], ["7 200.0 +++ killed by SIGINT +++"], ["7 200.0 +++ exited with 1 +++"]])
def test_a_pass_that_did_not_come_to_its_end_is_no_reason_to_stream(tmp_path, end):
    done = tiering(strace_of(tmp_path, end))
    assert done.exit_code == 0, done.stderr
    assert "stream" not in done.stdout
    assert "The whole run is not in this trace" in done.stderr


def test_a_whole_run_of_one_pass_is_streamed_and_the_doubt_is_passed_on(tmp_path):
    done = tiering(strace_of(tmp_path, ["7 200.0 +++ exited with 0 +++"]))
    assert "Workload: read-once, probability 100 %" in done.stdout
    assert "stream" in done.stdout
    assert "it may be one epoch of several" in done.stderr


def assumed(found):
    return [each["text"] for each in found["assumptions"]]


def notes_on(dataset, tmp_path, *words):
    path = tmp_path / "profile.json"
    write_profile(Profile(dataset=dataset), path)
    found = document(path, *words)
    return found["baseline"]["tier"], " ".join(assumed(found))


def test_the_tier_that_holds_the_dataset_is_seen_and_said(tmp_path):
    dataset = profile_dataset(FIXTURES)
    tier, notes = notes_on(dataset.model_copy(update={"root": "s3://bucket/photos"}), tmp_path)
    assert tier == "object"
    assert "s3://bucket/photos is in an object store: taken as object; `current` changes that." in notes
    assert "is assumed to be" not in notes
    tier, notes = notes_on(dataset.model_copy(update={"root": "/nowhere/photos"}), tmp_path)
    assert tier == "nvme"
    assert "The dataset is assumed to be on local NVMe SSD now; `current` changes that." in notes
    tier, notes = notes_on(dataset, tmp_path)
    assert str(FIXTURES) in notes
    tier, notes = notes_on(dataset, tmp_path, "--tier", "hdd")
    assert tier == "hdd"
    assert str(FIXTURES) not in notes


def test_a_probe_of_the_same_mount_counts(program, tmp_path):
    entry = tmp_path / "mine.toml"
    probed = program("probe", tmp_path, "--seconds", "1", "--size", "32MiB", "--name", "mine", "-o", entry)
    assert probed.returncode == 0, probed.stderr
    images = tmp_path / "images"
    shutil.copytree(FIXTURES, images)
    found = document(images, "--catalog", entry)
    assert found["baseline"]["tier"] == "mine"
    assert any("the figures are those that tiering probe measured there, as mine" in line for line in assumed(found))


def test_the_hosts_that_train_are_named_and_not_this_machine(profile):
    here, there = (
        document(profile, "--tier", "nvme", "--ram", "0", "--cpus", cpus, "--processes", "2") for cpus in ("2", "96")
    )
    assert there["baseline"]["samples_per_s"] > 5 * here["baseline"]["samples_per_s"]


def test_the_network_of_a_node_is_given_in_bits(profile):
    slow = document(profile, "--tier", "object", "--ram", "0", "--encoded", "--network", "8Mb/s")
    assert slow["baseline"]["bottleneck"] == "network"
    size = json.loads(profile.read_text())["dataset"]["bytes"]
    assert slow["baseline"]["steady_epoch_s"] == pytest.approx(size / 1e6, rel=0.05)


@pytest.mark.parametrize("wrong", [("--network", "100"), ("--cpus", "0"), ("--prefixes", "0")])
def test_an_impossible_host_is_a_usage_error(profile, wrong):
    done = tiering(profile, *wrong)
    assert done.exit_code == 2
    assert wrong[0] in done.stderr or "100Gb/s" in done.stderr


@pytest.mark.parametrize(
    ("cloud", "tier"), [("aws", "aws-s3-standard"), ("google", "gcp-gcs-standard"), ("azure", "azure-blob-hot")]
)
def test_a_cloud_has_its_own_tiers_and_prices(profile, cloud, tier):
    found = document(profile, "--cloud", cloud, "--tier", tier, "--ram", "0B")
    names = {each["tier"] for each in (found["choice"], found["baseline"], *found["alternatives"])}
    assert tier in names
    assert not names & {"object", "hdd", "nfs"}


def test_the_bill_counts_the_runs_of_a_month_and_where_the_nodes_are(profile):
    words = (profile, "--cloud", "aws", "--tier", "aws-s3-standard", "--ram", "0B", "--encoded", "--epochs", "3")
    once = document(*words)["baseline"]["monthly_usd"]
    twice = document(*words, "--runs-per-month", "2")["baseline"]["monthly_usd"]
    none = document(*words, "--runs-per-month", "0")["baseline"]["monthly_usd"]
    assert twice - none == pytest.approx(2 * (once - none))
    far = document(*words, "--reads-from", "internet")["baseline"]["monthly_usd"]
    assert far > once
    short = document(*words, "--runs-per-month", "0", "--kept-days", "3")["baseline"]["monthly_usd"]
    assert short == pytest.approx(none * 3 / 30.4375)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runs-per-month", "many"], "is not a number"),
        (["--kept-days", "-1"], "--kept-days"),
        (["--reads-from", "moon"], "--reads-from"),
        (["--cloud", "oracle"], "--cloud"),
    ],
)
def test_terms_of_a_bill_that_cannot_be_are_refused(profile, words, message):
    done = tiering(profile, *words)
    assert done.exit_code == 2
    assert message in done.stderr
