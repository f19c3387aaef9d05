"""Documents of NumPy arrays: any array comes back, and hostile bytes raise ValueError."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tiering.images.npy import parse_npy


def document(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(
    arrays.arrays(
        st.sampled_from(["<i8", ">i2", "|u1", "<f4", ">f8", "|b1", "<c8", "<U3"]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
    ),
    st.booleans(),
)
def test_any_array_comes_back(array, fortran):
    given_array = np.asfortranarray(array) if fortran and array.ndim else array
    found = parse_npy(document(given_array))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array, equal_nan=array.dtype.kind in "fc")


@given(st.binary(max_size=200), st.integers(0, 200))
def test_hostile_bytes_raise_a_value_error(noise, at):
    whole = document(np.arange(5))
    for data in (noise, whole[:at], whole[: at % len(whole)] + noise, whole + noise):
        if data != whole:
            try:
                parse_npy(data)
            except ValueError:
                continue


def test_a_header_that_claims_more_than_there_is_is_refused():
    claims = document(np.zeros(4)).replace(b"(4,)", b"(9" + b"9" * 13 + b",)")
    with pytest.raises(ValueError, match="bytes for an array"):
        parse_npy(claims)
    with pytest.raises(ValueError, match="Python objects"):
        parse_npy(document(np.array([{}], dtype=object)))
