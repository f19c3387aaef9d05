"""Copies are told by contents, exactly where all files are at hand, and with an honest interval where not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.trees import put
from tiering.dataset.copies import copies
from tiering.dataset.estimates import FileSample
from tiering.dataset.tree_reads import LocalTree


def sample_of(root: Path, names: list[str], files: int) -> FileSample:
    sizes = np.array([(root / name).stat().st_size for name in names], np.int64)
    return FileSample.simple(files, [name.encode() for name in names], sizes)


@settings(max_examples=examples(30))
@given(
    st.lists(
        st.sampled_from([b"", b"a", b"b", b"aa", b"x" * 9000, b"x" * 8999 + b"y", b"z" + b"x" * 8999]), max_size=12
    )
)
def test_all_files_at_hand_give_the_exact_share(tmp_path_factory, contents: list[bytes]):
    root = tmp_path_factory.mktemp("copies")
    names = [f"{number}.jpg" for number in range(len(contents))]
    for name, data in zip(names, contents, strict=True):
        put(root, name, data)
    found = copies(sample_of(root, names, len(names)), LocalTree(os.fsencode(root)))
    full = [data for data in contents if data]
    assert found.exact
    assert found.value * max(1, len(contents)) == len(full) - len(set(full))


def test_a_sample_gives_an_interval_that_holds_the_truth(tmp_path: Path):
    """400 files, of which 60 are copies of another: a sample of 100 holds about four of the 60 pairs."""
    names = [f"{number}.jpg" for number in range(400)]
    for number, name in enumerate(names):
        put(tmp_path, name, b"%06d" % (number if number < 340 else number - 340))
    held, values = 0, []
    for seed in range(100):
        chosen = np.random.default_rng(seed).choice(names, 100, replace=False).tolist()
        found = copies(sample_of(tmp_path, chosen, 400), LocalTree(os.fsencode(tmp_path)))
        held += found.low <= 0.15 <= found.high
        values.append(found.value)
    assert held >= 93
    assert abs(np.mean(values) - 0.15) < 0.03


def test_a_file_that_went_is_no_copy(tmp_path: Path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        put(tmp_path, name, b"same")
    sample = sample_of(tmp_path, ["a.jpg", "b.jpg", "c.jpg"], 3)
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.jpg").unlink()
    assert copies(sample, LocalTree(os.fsencode(tmp_path))).value == 0
