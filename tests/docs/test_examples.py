"""Every example runs as shown, on the fixtures, and stays short."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import FIXTURES

EXAMPLES = FIXTURES.parent / "docs/examples"
TRACE = FIXTURES / "traces/train_loop.strace.gz"
ARGUMENTS = {
    "profile_and_recommend": (FIXTURES / "images",),
    "convert_and_train": (FIXTURES / "images", "photos.zarr"),
    "cache_a_slow_store": (FIXTURES / "images", "cache"),
    "judge_a_trace": (TRACE,),
    "place_files": (TRACE,),
}
SHOWN = {
    "profile_and_recommend": "Keep it as",
    "convert_and_train": "epoch 1: 300 images",
    "cache_a_slow_store": "epoch 1: hit ratio 100%",
    "judge_a_trace": "re-read-heavy",
    "place_files": "USD a month",
}


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(ARGUMENTS)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_an_example_runs_and_is_short(name, tmp_path):
    script = EXAMPLES / f"{name}.py"
    assert len(script.read_text().splitlines()) < 40
    command = [sys.executable, script, *ARGUMENTS[name]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert SHOWN[name] in done.stdout
