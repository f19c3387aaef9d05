"""Random numbers that depend on seed, epoch and sample alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tiering.philox import SampleNumbers, generator, philox

#: Known answers of Random123 (kat_vectors, philox4x32 10): counter, key, block.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN)
def test_the_blocks_are_those_of_the_paper(counter, key, block):
    low, high = words(key)
    found = philox([np.array([word], dtype=np.uint64) for word in words(counter)], (low, high))
    assert [int(each[0]) for each in found] == words(block)


samples = st.integers(0, 2**62)


@given(st.integers(), st.integers(), st.lists(samples, min_size=1, max_size=9), st.integers(1, 41), st.integers(1, 41))
def test_numbers_do_not_depend_on_the_others_that_are_asked_for(seed, epoch, some, few, many):
    numbers = SampleNumbers(seed, epoch)
    asked, draws = np.array(some, dtype=np.int64), np.zeros(len(some), dtype=np.int64)
    together = numbers.at(asked, draws, max(few, many))
    assert together.shape == (len(some), max(few, many))
    assert ((together > 0) & (together < 1)).all()
    for row, sample in enumerate(some):
        alone = SampleNumbers(seed, epoch).at(np.array([sample]), np.zeros(1, dtype=np.int64), few)
        assert (alone[0] == together[row, :few]).all()


@given(st.integers(), st.integers(), samples, st.integers(0, 2**31))
def test_a_generator_depends_on_seed_epoch_sample_and_draw(seed, epoch, sample, draw):
    drawn = generator(seed, epoch, sample, draw).random(4)
    assert (drawn == generator(seed, epoch, sample, draw).random(4)).all()
    others = [(seed + 1, epoch, sample, draw), (seed, epoch + 1, sample, draw)]
    others += [(seed, epoch, sample + 1, draw), (seed, epoch, sample, draw + 1)]
    for other in others:
        assert (drawn != generator(*other).random(4)).all()


def test_the_numbers_are_uniform_and_independent():
    asked = np.arange(20_000)
    found = SampleNumbers(0, 0).at(asked, np.zeros_like(asked), 8)
    assert all(stats.kstest(column, "uniform").pvalue > 1e-4 for column in found.T)
    others = [
        SampleNumbers(0, 1).at(asked, np.zeros_like(asked), 1)[:, 0],
        SampleNumbers(1, 0).at(asked, np.zeros_like(asked), 1)[:, 0],
        SampleNumbers(0, 0).at(asked, np.ones_like(asked), 1)[:, 0],
    ]
    together = np.corrcoef(np.vstack([found.T, *others]))
    assert np.abs(together - np.eye(len(together))).max() < 5 / np.sqrt(len(asked))
