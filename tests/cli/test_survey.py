"""`tiering survey`, and `tiering place` of what it found."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from tests.cli.failures import error_line
from tests.conftest import FIXTURES
from tiering.cli.app import app

TRACE = FIXTURES / "traces" / "train_loop.strace.gz"
TIERS = ("--capacity", "nvme=1TB", "--capacity", "nfs", "--capacity", "object")


def tiering(*words):
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture
def data(tmp_path, photos):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "photos").mkdir()
    for path in photos.rglob("*.jpg"):
        copy = tmp_path / "data" / "photos" / path.relative_to(photos)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for number in range(3):
        (tmp_path / "data" / "web").mkdir(exist_ok=True)
        (tmp_path / "data" / "web" / f"train-{number:05}.tar").write_bytes(bytes(2_000_000))
    (tmp_path / "data" / "notes.txt").write_text("x")
    return tmp_path / "data"


@pytest.fixture
def heat(data, tmp_path):
    rows = [f"{path},{path.stat().st_size},5,{5 * path.stat().st_size},0,600" for path in data.rglob("*.jpg")]
    (tmp_path / "heat.csv").write_text("\n".join(["path,size,reads,bytes_read,first,last", *rows]))
    return tmp_path / "heat.csv"


def test_a_survey_prints_a_table_of_80_columns_and_all_that_is_outside(data, heat):
    for words in ([data], [data, "--trace", heat]):
        done = tiering("survey", *words)
        assert done.exit_code == 0, done.stderr
        lines = done.stdout.splitlines()
        assert all(len(line) <= 80 for line in lines[:3])
        assert "class folders" in done.stdout
        assert "tar files" in done.stdout
        assert "Outside them: 1 B in 1 file." in done.stdout
    assert "reads or writes 1 of the datasets" in done.stdout
    assert "Note: Access times on" in done.stderr


def test_a_survey_is_placed_by_dataset(data, heat, tmp_path):
    survey = tmp_path / "survey.json"
    assert tiering("survey", data, "--trace", heat, "-o", survey).exit_code == 0
    done = tiering("place", survey, *TIERS, "--tier", "nfs", "-o", tmp_path / "plan.csv")
    assert done.exit_code == 0, done.stderr
    for word in ("read/month", "known by", "access times", "trace", "USD/month saved", "While all jobs run"):
        assert word in done.stdout
    with (tmp_path / "plan.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(data / "photos"), str(data / "web")]
    assert {row["from_tier"] for row in rows} == {"nfs"}
    document = json.loads(tiering("place", survey, *TIERS, "--tier", "nfs", "--json").stdout)
    assert document["plan"]["units"] == 2
    assert len(document["moves"]) <= 10
    assert document["datasets"][0]["evidence"] == "trace"
    direct = tiering("place", heat, "--root", data, "--by", "dataset", *TIERS, "--tier", "nfs", "--json")
    assert direct.exit_code == 0, direct.stderr
    assert json.loads(direct.stdout)["moves"] == document["moves"]


def test_directories_may_be_on_different_tiers_now(data, heat, tmp_path):
    words = ("--root", data, "--by", "dataset", *TIERS, "--json")
    done = tiering("place", heat, *words, "--tier", f"{data / 'web'}=hdd", "--tier", f"{data}=nfs")
    assert done.exit_code == 0, done.stderr
    assert [each["from_tier"] for each in json.loads(done.stdout)["datasets"]] == ["nfs", "hdd"]


def test_two_traces_are_two_jobs(data, heat):
    done = tiering("place", heat, heat, "--root", data, "--by", "dataset", *TIERS, "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["jobs"]) == 2


def test_each_job_has_its_own_runs(data, heat, tmp_path):
    (tmp_path / "other.csv").write_text(heat.read_text())
    words = ("place", heat, tmp_path / "other.csv", "--root", data, "--by", "dataset", *TIERS, "--json")
    read = []
    for runs in ([], ["heat.csv=10"], ["heat.csv=10", "other.csv=5"], ["3"], ["3", "other.csv=1"]):
        done = tiering(*words, *(word for each in runs for word in ("--runs-per-month", each)))
        assert done.exit_code == 0, done.stderr
        read.append(json.loads(done.stdout)["datasets"][0]["read_bytes"])
    assert [round(each / read[0] * 2) for each in read] == [2, 11, 15, 6, 4]
    assert "a trace of the survey: heat.csv" in tiering(*words, "--runs-per-month", "none=3").stderr.replace(
        f"{tmp_path}/", ""
    )


def test_what_if_compares_catalogs_for_datasets(data, heat, tmp_path):
    (tmp_path / "other.toml").write_text("[tier.nfs]\nprice = 0.0\n")
    words = ("place", heat, "--root", data, "--by", "dataset", *TIERS, "--what-if", tmp_path / "other.toml")
    done = tiering(*words)
    assert done.exit_code == 0, done.stderr
    assert "USD/month, other.toml" in done.stdout
    assert "what_if" in json.loads(tiering(*words, "--json").stdout)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["survey", "nowhere"], 3, "nowhere: no such directory"),
        (["survey", TRACE], 3, "expected a directory, found a file"),
        (["survey", "s3://bucket/x"], 2, "directories of this machine"),
        (["survey", FIXTURES, "--trace", "nowhere"], 3, "nowhere"),
        (["survey", FIXTURES, "--trace", FIXTURES / "traces/websearch.mqsim"], 3, "block device"),
        (["place", TRACE, TRACE, *TIERS], 2, "--by: several traces, DIR=TIER and TRACE=COUNT need --by dataset"),
        (["place", TRACE, *TIERS, "--runs-per-month", "x=3"], 2, "need --by dataset"),
        (["place", TRACE, *TIERS, "--by", "dataset"], 2, "needs --root DIR, or a survey"),
        (["place", TRACE, *TIERS, "--tier", "/a=nfs"], 2, "need --by dataset"),
        (["place", TRACE, *TIERS, "--tier", "=nfs"], 2, "--tier =nfs: must be TIER or NAME=TIER"),
        (["place", TRACE, *TIERS, "--tier", "nfs", "--tier", "hdd"], 2, "that twice"),
        (
            ["place", TRACE, *TIERS, "--by", "dataset", "--root", FIXTURES, "--lists", "x"],
            2,
            "--lists: only a placement of files",
        ),
    ],
)
def test_errors_are_one_line_with_the_promised_exit_code(words, code, said):
    assert said in error_line(tiering(*words), code)
