"""SSIM and PSNR agree with their formulas where these can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.images.likeness import MOST_DB, psnr, ssim


def flat(level, side=32):
    return np.full((side, side, 3), level, np.uint8)


@given(st.integers(0, 255), st.integers(0, 255))
def test_two_even_pictures_differ_in_luminance_alone(one, other):
    # Equation 6 of Wang et al.; contrasts and structures of even pictures are equal.
    c1 = (0.01 * 255) ** 2
    expected = (2 * one * other + c1) / (one**2 + other**2 + c1)
    assert ssim(flat(one), flat(other)) == pytest.approx(expected, abs=2e-3)


@given(st.integers(1, 255))
def test_the_noise_of_an_even_error_is_its_square(error):
    assert psnr(flat(0), flat(error)) == pytest.approx(20 * math.log10(255 / error), abs=1e-3)


def test_equal_pictures_are_alike_and_opposite_ones_are_not():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert ssim(noise, noise) == pytest.approx(1)
    assert psnr(noise, noise) == MOST_DB
    # What is bright in one is dark in the other: their structures are opposites.
    assert ssim(noise, 255 - noise) < -0.8


def test_the_window_is_that_of_the_paper():
    # One bright pixel: in the middle, the window weighs it with the peak of the Gaussian.
    one, other = flat(0, 11), flat(0, 11)
    other[5, 5] = 255
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    peak = weights[5] ** 2
    mean, variance = 255 * peak, 255**2 * (peak - peak**2)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    assert ssim(one, other) == pytest.approx(c1 / (mean**2 + c1) * c2 / (variance + c2), rel=1e-3)


def test_pictures_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        ssim(flat(0, 32), flat(0, 31))
    with pytest.raises(ValueError, match="one shape"):
        psnr(flat(0, 32), flat(0, 31))


@pytest.mark.parametrize("side", [1, 5, 10])
def test_pictures_smaller_than_the_window_are_compared_as_well(side):
    assert ssim(flat(7, side), flat(7, side)) == pytest.approx(1)
