"""Many reads at a time: all of them are made, whichever way, and what fails is told."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.system.direct_reads import opened_direct, read_at_once, read_many, read_on_threads

WAYS = [read_at_once, read_on_threads, read_many]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("reads") / "file"
    path.write_bytes(os.urandom(1 << 20))
    with opened_direct(path) as descriptor:
        yield descriptor


@pytest.mark.parametrize("way", WAYS)
@given(depth=st.integers(1, 40), offsets=st.lists(st.integers(0, 255), max_size=120))
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_target_is_read_once_at_any_depth(file, way, depth, offsets):
    made = way([(file, each * 4096) for each in offsets], 4096, depth, 60.0)
    assert len(made.latencies) == len(offsets)
    assert (made.latencies > 0).all()
    assert made.latencies.sum() <= made.seconds * depth * 1.01 + 1e-6
    assert made.bandwidth * made.seconds == pytest.approx(len(offsets) * 4096)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("depth", [1, 8])
def test_time_ends_what_targets_do_not(file, way, depth):
    offsets = np.random.default_rng(0).integers(0, 256, 2_000_000) * 4096
    made = way(zip([file] * len(offsets), offsets.tolist(), strict=True), 4096, depth, 0.2)
    assert made.seconds >= 0.2
    assert 0 < len(made.latencies) < len(offsets)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("depth", [1, 8])
def test_a_read_that_falls_short_or_fails_is_an_error(file, way, depth):
    with pytest.raises(OSError, match="4096 bytes gave 0"):
        way([(file, 1 << 20)], 4096, depth, 1.0)
    with pytest.raises(OSError, match="descriptor"):
        way([(file, 0), (1 << 20, 0), (file, 4096)], 4096, depth, 1.0)
