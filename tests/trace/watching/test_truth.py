"""What watching finds of training jobs, against their own exact record (benchmarks/watch_truth.py)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks.watch_truth import made_data, watched

PHOTOS = Path(__file__).parents[3] / "fixtures" / "images"


@pytest.fixture(scope="module")
def data():
    # The directories of pytest are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield made_data(Path(name), Path(sys.executable), PHOTOS, 60)


@pytest.fixture
def work():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("user", ["root", "user"])
def test_of_files_all_figures_are_found_as_the_job_recorded_them(data, work, user):
    found = watched("files, sequential, no workers", user, data, work, Path(sys.executable), epochs=4, seconds=0.3)
    assert found.missed(user) == []
    assert found.truth.epochs == 4
    if user == "root":
        assert found.found.bytes_read == found.truth.read
        assert found.found.unique_bytes_read == found.truth.unique
        assert found.found.coverage == 1
    else:
        assert found.found.coverage is None


@pytest.mark.slow
def test_twelve_jobs_are_found_as_they_recorded_themselves():
    program = [sys.executable, "-m", "benchmarks.watch_truth"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=2400)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
