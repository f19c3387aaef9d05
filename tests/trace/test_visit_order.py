"""The randomness of an order of visits."""

from __future__ import annotations

import numpy as np
import pytest

from tiering.trace.visit_order import order_randomness

FILES = 500


def randomness(visits) -> float:
    visits = np.asarray(visits, dtype=np.uint64)
    return order_randomness(visits, np.zeros(len(visits), np.int32), {file: file for file in range(FILES)})


def shuffles(epochs: int) -> np.ndarray:
    chance = np.random.default_rng(1)
    return np.concatenate([chance.permutation(FILES) for _ in range(epochs)])


def test_a_sorted_order_is_not_random_however_often_and_whichever_way():
    assert randomness(np.arange(FILES)) == 0
    assert randomness(np.tile(np.arange(FILES), 5)) < 0.02
    assert randomness(np.arange(FILES)[::-1]) == 0


def test_shuffles_are_random():
    assert randomness(shuffles(1)) > 0.9
    assert randomness(shuffles(5)) > 0.9


def test_a_random_order_that_every_epoch_repeats_is_not_random():
    assert randomness(np.tile(shuffles(1), 4)) < 0.02


def test_interleaved_sorted_sequences_are_not_random():
    pairs = np.arange(FILES).reshape(2, -1).T.ravel()
    assert randomness(pairs) < 0.02


@pytest.mark.parametrize("visits", [[], [1], [1, 2], [1, 1, 1]])
def test_few_files_are_not_random(visits):
    assert randomness(visits) == 0
