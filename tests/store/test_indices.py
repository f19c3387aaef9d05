"""Indices: every kind of store takes the same ones, and refuses all others in the same words."""

from __future__ import annotations

import numpy as np
import pytest

import tiering

NO_INTEGERS = [
    1.0,
    1.5,
    float("nan"),
    True,
    np.True_,
    np.float64(1),
    "1",
    b"1",
    None,
    1j,
    slice(0, 2),
    [1],
    np.array([1]),
    (),
]
NO_INTEGER_ARRAYS = [
    np.array([1.0]),
    np.array([True, False]),
    np.array(["1"]),
    np.array([1, None]),
    np.array([1j]),
    np.array(["2020-01-01"], dtype="datetime64[D]"),
    [1.0],
    [True],
    ["1"],
    [2**70],
    [1, "2"],
]  # fmt: skip
OUTSIDE = [[300], [-1], [0, 10**6], [2**62], np.array([2**63], dtype=np.uint64)]


@pytest.fixture(params=["folder", "packed", "cached folder", "cached store"])
def store(request, packed, photos, tmp_path):
    """Every kind of store."""
    if request.param == "folder":
        yield tiering.open_store(photos)
    elif request.param == "packed":
        yield tiering.open_store(packed)
    else:
        origin = photos if request.param == "cached folder" else packed
        opened = tiering.cached(origin, 8 << 20, tmp_path / "cache")
        yield opened
        opened.close()


@pytest.mark.parametrize("index", NO_INTEGERS, ids=repr)
def test_an_index_that_is_no_integer_is_a_type_error(photos, index):
    with pytest.raises(TypeError, match="a store's index must be an integer, got"):
        tiering.open_store(photos)[index]


@pytest.mark.parametrize("index", [300, -301, 2**70, -(2**70), np.int64(2**62), np.uint64(2**63)], ids=repr)
def test_an_index_outside_is_an_index_error(photos, index):
    with pytest.raises(IndexError, match="of a store of 300"):
        tiering.open_store(photos)[index]


def test_every_store_refuses_the_same_indices(store):
    for index in (1.5, True, "1"):
        with pytest.raises(TypeError, match="must be an integer, got"):
            store[index]
    for indices in NO_INTEGER_ARRAYS:
        with pytest.raises(TypeError, match="indices must be integers, got"):
            store.read(indices)
    for indices in OUTSIDE:
        with pytest.raises(IndexError, match="of a store of 300"):
            store.read(indices)
    for indices in (3, np.array(3), np.array([[1, 2]])):
        with pytest.raises(TypeError, match="a list of indices, got"):
            store.read(indices)


def test_every_store_takes_any_integers(store):
    wanted = [bytes(image) for image in store.read(np.array([1, 299, 1]))]
    for indices in ([1, 299, 1], (1, 299, 1), np.array([1, 299, 1], np.uint16), range(1, 2)):
        found = [bytes(image) for image in store.read(indices)]
        assert found == wanted[: len(found)]
    assert bytes(store[np.int8(1)].image) == bytes(store[-299].image) == wanted[0]
    assert len(store.read([])) == len(store.read(np.array([]))) == 0


def test_announcing_refuses_nothing_it_could_pass_over(store):
    for indices in ([300], [-1], [1]):
        store.announce(np.array(indices))
