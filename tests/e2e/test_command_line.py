"""The command line as a whole: help, JSON, pipes, completion, and the way from a directory to epochs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import tiering
from tests.conftest import FIXTURES, PROGRAM
from tiering.cli.app import app
from tiering.cli.verbs import LAST_LINES

VERBS = ["profile", "classify", "recommend", "convert", "verify", "info", "export", "bench", "estimate"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_helps_with_an_example(program, verb):
    done = program(verb, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"tiering {verb}" in done.stdout


def test_help_lists_the_verbs_and_the_exit_codes(program):
    done = program("--help")
    assert all(verb in done.stdout for verb in VERBS)
    assert "130 interrupted" in " ".join(done.stdout.split())


def test_help_marks_what_is_required_in_words_alone_and_flags_have_no_type(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for verb in LAST_LINES:
        said = CliRunner().invoke(app, [*verb.split(), "--help"]).output
        assert "*" not in said, verb
        assert "<bool>" not in said, verb
    said = CliRunner().invoke(app, ["cache", "warm", "--help"]).output
    assert said.count("[required]") == 1
    assert "[OPTIONS] DATASET" in said, "an argument that may be left out stands in brackets"
    assert "[OPTIONS] [DATASET]" in CliRunner().invoke(app, ["profile", "--help"]).output


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "tiering", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"tiering {tiering.__version__}\n"
    wrong = subprocess.run([sys.executable, "-m", "tiering", "convert"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "Usage: python -m tiering convert" in wrong.stderr


def test_version(program):
    assert program("--version").stdout == f"tiering {tiering.__version__}\n"


@pytest.mark.parametrize("words", [["nonsense"], ["convert"], ["convert", "a", "b", "--to", "tape"], ["bench"]])
def test_wrong_usage_exits_with_two(program, words):
    done = program(*words)
    assert done.returncode == 2
    assert "Usage" in done.stderr


def test_debug_shows_the_traceback(program, tmp_path):
    assert "Traceback" in program("--debug", "info", tmp_path / "none").stderr


def test_shell_completion_is_there(program):
    """The shell is the one among the parents: a bash that stays."""
    done = program("--show-completion", "bash", prefix=("bash", "-c", '"$@"; exit $?', "bash"))
    assert "tiering" in done.stdout + done.stderr


def test_the_whole_way_speaks_json(program, photos, tmp_path):
    trace = next((FIXTURES / "traces").glob("train_loop.strace*"))
    profile = tmp_path / "profile.json"

    def said(*words):
        done = program(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert said("profile", photos, "--trace", trace, "-o", profile)["dataset"]["files"] == 300
    assert said("classify", profile)["verdicts"][0]["workload"] == "re-read-heavy"
    assert said("recommend", profile)
    for kind in ("lmdb", "zarr"):
        assert said("convert", photos, tmp_path / kind, "--to", kind)["samples"] == 300
        assert said("verify", tmp_path / kind, "--source", photos)["ok"] is True
        assert said("info", tmp_path / kind)["kind"] == kind
        assert said("export", tmp_path / kind, tmp_path / f"{kind}-again")["samples"] == 300
    measured = said("bench", photos, tmp_path / "lmdb", tmp_path / "zarr", "--epochs", "2")["measurements"]
    assert [each["kind"] for each in measured] == ["folder", "lmdb", "zarr"]
    assert said("estimate")


def test_a_reader_that_stops_early_is_no_error(photos):
    command = f"'{PROGRAM}' info '{photos}' | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_plain_pipes_get_no_escape_codes(program, photos):
    assert "\x1b" not in program("info", photos).stdout


def test_help_does_not_pay_for_the_heavy_libraries():
    code = "import sys, tiering.cli.app; print([m for m in ('sklearn', 'zarr', 'polars', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
