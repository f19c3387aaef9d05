"""`make demo`: the whole way, with a trace of the very dataset that is profiled."""

from __future__ import annotations

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
