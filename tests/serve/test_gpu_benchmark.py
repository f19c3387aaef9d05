"""benchmarks.gpu runs on a machine without a GPU, as far as it goes there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import FIXTURES

NO_GPU = os.environ | {"CUDA_VISIBLE_DEVICES": ""}


def run(store, *words):
    command = [sys.executable, "-m", "benchmarks.gpu", store.location.url.removeprefix("file://"), *map(str, words)]
    return subprocess.run(
        command, cwd=FIXTURES.parent, capture_output=True, text=True, timeout=250, check=False, env=NO_GPU
    )


def test_without_a_gpu_it_says_so_in_a_line(store):
    done = run(store)
    assert done.returncode == 1
    assert "finds no GPU" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


@pytest.mark.slow
def test_it_checks_itself_on_the_cpu(store):
    done = run(store, "--device", "cpu", "--rounds", 1, "--batch", 4, "--batches", 2, "--size", 32)
    assert done.returncode == 0, done.stderr
    assert "8 batches on cpu equal those on the host" in done.stdout
    assert "ready, share of the step" in done.stdout
