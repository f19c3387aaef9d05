"""`make demo`: the whole way, with a trace of the very dataset that is profiled."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import FIXTURES
from tiering.workload.profile import read_profile


@pytest.mark.slow
def test_the_demo_profiles_with_a_trace_of_its_own_dataset(photos, tmp_path):
    demo = FIXTURES.parent / "benchmarks" / "demo.py"
    done = subprocess.run(
        [sys.executable, demo, photos], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (trace,) = read_profile(tmp_path / "demo" / "profile.json").traces
    assert trace.coverage == pytest.approx(1.0)
    assert trace.source.endswith("train.parquet")
    # The rates say what they are rates of, and the end says what to do with data of one's own.
    end = done.stdout[done.stdout.index("Measured just now") :]
    assert "300 images of 5.92 kB, images/s" in end
    for row in ("decoded, cropped to 224 x 224", "encoded, first epoch", "encoded, later epochs"):
        assert re.search(rf"^{row}.* [\d,]+ +[\d,]+ \([\d.]+ x\)", end, re.MULTILINE), row
    for command in re.findall(r"^  tiering (\w+)", end, re.MULTILINE):
        assert f"| `tiering {command}` |" in (FIXTURES.parent / "README.md").read_text()
