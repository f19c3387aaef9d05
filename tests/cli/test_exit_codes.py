"""Exit code 1 says that verify found damage, and nothing else says it."""

from __future__ import annotations

import os
import subprocess

import pytest
from typer.testing import CliRunner

from tests.conftest import PROGRAM
from tiering.cli.app import app


@pytest.fixture
def broken(monkeypatch):
    """A fault in tiering itself, of the given kind."""

    def breaks(error):
        def open_damaged(place, **how):
            raise error

        monkeypatch.setattr("tiering.store.open.open_damaged", open_damaged)

    return breaks


@pytest.mark.parametrize("error", [ValueError("a\nb"), RecursionError("deep"), KeyError("x"), SystemError("odd")])
def test_a_fault_of_our_own_says_so_and_exits_with_70(broken, error):
    broken(error)
    done = CliRunner().invoke(app, ["info", "x"])
    assert done.exit_code == 70
    assert f"tiering failed: {type(error).__name__}" in done.output
    assert "a bug in tiering" in done.output
    assert "--debug" in done.output
    assert "Traceback" not in done.output
    debugged = CliRunner().invoke(app, ["--debug", "info", "x"])
    assert debugged.exit_code == 70
    assert "Traceback" in debugged.output


def test_too_little_memory_is_the_machines(broken):
    broken(MemoryError())
    assert CliRunner().invoke(app, ["info", "x"]).exit_code == 4


def test_debug_shows_the_traceback_and_keeps_the_exit_code(program, tmp_path):
    done = program("--debug", "info", tmp_path / "none")
    assert "Traceback" in done.stderr
    assert done.returncode == program("info", tmp_path / "none").returncode == 3


def test_what_the_parser_refuses_and_help_keep_their_exit_codes(program):
    assert program("info").returncode == 2
    assert program("nonsense").returncode == 2
    assert program("info", "--help").returncode == 0
    assert program("--version").returncode == 0


def test_output_that_nobody_reads_is_no_damage():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run([PROGRAM, "tiers", "list"], stdout=nobody, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 141, done.stderr
    assert b"Traceback" not in done.stderr
