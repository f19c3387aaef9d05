"""LMDB shards are written without the LMDB library, which reads and changes them like its own."""

from __future__ import annotations

import random

import lmdb
import numpy as np
import pytest

from tiering.storage.direct_file import DirectFile
from tiering.store import _leaves
from tiering.store.image_run import ImageRun, one_by_one
from tiering.store.lmdb import NATIVE, key_of, write_shard

#: The largest value that stays in its leaf.
INLINE = 2022

#: Numbers of values, and their sizes: leaves and values, single pages of the tree, and trees of three levels.
SHAPES = {
    "none": (0, range(1)),
    "one small": (1, range(7, 8)),
    "one large": (1, range(9000, 9001)),
    "edge": (40, range(INLINE - 2, INLINE + 3)),
    "pages": (20, range(4078, 4083)),
    "mixed": (700, range(1, 6000)),
    "small": (4000, range(1, 300)),
    "two a leaf": (1000, range(INLINE - 1, INLINE + 1)),
    "of no bytes": (2000, range(1)),
}


def written(path, values):
    """Write a shard, and return where its values begin."""
    with path.open("wb") as file, DirectFile(file, local=True) as into:
        return write_shard(into, values).tolist()


def values_of(shape):
    count, sizes = SHAPES[shape]
    drawn = random.Random(shape)
    return [drawn.randbytes(drawn.choice(sizes)) for _ in range(count)]


def opened(path, **options):
    return lmdb.open(str(path), subdir=False, lock=False, **options)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_library_reads_every_value_and_offsets_lead_to_it(tmp_path, shape):
    path, values = tmp_path / "shard", values_of(shape)
    offsets = written(path, values)
    data = path.read_bytes()
    assert [data[at : at + len(value)] for at, value in zip(offsets, values, strict=True)] == values
    with opened(path, readonly=True) as env, env.begin() as txn:
        assert list(txn.cursor()) == [(key_of(number), value) for number, value in enumerate(values)]
        assert all(txn.get(key_of(number)) == values[number] for number in range(0, len(values), 7))
        about = txn.stat()
    pages = about["branch_pages"] + about["leaf_pages"] + about["overflow_pages"]
    assert about["entries"] == len(values)
    assert len(data) == (2 + pages) * about["psize"], "every page belongs to the tree"


@pytest.mark.parametrize("shape", ["none", "mixed", "two a leaf"])
def test_the_library_changes_and_copies_it(tmp_path, shape):
    path, values = tmp_path / "shard", values_of(shape)
    written(path, values)
    expected = {key_of(number): value for number, value in enumerate(values)}
    drawn = random.Random(1)
    with opened(path, map_size=1 << 30) as env:
        for _ in range(5):
            with env.begin(write=True) as txn:
                for key in drawn.sample(sorted(expected), min(len(expected), 100)):
                    assert txn.pop(key) == expected.pop(key)
                for _ in range(100):
                    key, value = key_of(drawn.randrange(1 << 20)), drawn.randbytes(drawn.randrange(5000))
                    txn.put(key, value)
                    expected[key] = value
        env.copy(str(tmp_path / "copy"), compact=True)
    with opened(tmp_path / "copy", readonly=True) as env, env.begin() as txn:
        assert dict(txn.cursor()) == expected


def test_equal_values_give_an_equal_file(tmp_path):
    values = values_of("mixed")
    for name in "ab":
        written(tmp_path / name, iter(values))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def in_runs(values, seed):
    """Yield some values for themselves, and others in runs."""
    drawn, at = random.Random(seed), 0
    while at < len(values):
        if drawn.random() < 0.3:
            yield values[at]
            at += 1
            continue
        taken = values[at : at + drawn.choice([1, 2, 30, 500])]
        yield ImageRun(memoryview(b"".join(taken)), np.array([len(value) for value in taken], dtype=np.int64))
        at += len(taken)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_runs_of_values_give_the_same_file(tmp_path, monkeypatch, shape, native):
    assert NATIVE
    values = values_of(shape)
    assert list(one_by_one(in_runs(values, 3))) == values
    expected = written(tmp_path / "one by one", values)
    monkeypatch.setattr("tiering.store.lmdb.NATIVE", native)
    # So little memory that a run needs several calls.
    monkeypatch.setattr("tiering.store.lmdb._PAGES_BYTES", 3 * 4096)
    monkeypatch.setattr("tiering.store.lmdb._LARGEST_IN_RUN", 6000)
    for seed in range(3):
        assert written(tmp_path / str(seed), in_runs(values, seed)) == expected
        assert (tmp_path / str(seed)).read_bytes() == (tmp_path / "one by one").read_bytes()


@pytest.mark.parametrize("spoil", ["size", "sizes", "leaf", "place", "sample", "offsets"])
def test_a_run_that_does_not_fit_is_refused(spoil):
    leaf, sizes, offsets, sample = bytearray(4096), np.array([3, 3]), np.zeros(2, dtype=np.int64), 0
    leaf[10:16] = bytes([2, 0, 16, 0, 0, 16])
    data, out, leaves = memoryview(b"abcdef"), bytearray(8192), np.zeros((2, 2), dtype=np.int64)
    match spoil:
        case "size":
            sizes[1] = -1
        case "sizes":
            sizes[1] = 4
        case "leaf":
            leaf = leaf[:-1]
        case "place":
            leaf[12:20] = bytes([18, 0, 0, 15, 255, 15, 0, 0])
            sample, offsets = 1, np.zeros(3, dtype=np.int64)
        case "sample":
            sample = 1
        case "offsets":
            offsets = offsets[:1]
    with pytest.raises(ValueError, match="expected a leaf"):
        _leaves.add_values(leaf, 0, sample, 2, data, sizes, out, memoryview(offsets), leaves)
