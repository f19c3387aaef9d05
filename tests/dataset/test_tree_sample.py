"""A sample of a tree lists few directories, and its intervals hold the truth about as often as they say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trees import put
from tiering.dataset.counting import count_tree
from tiering.dataset.estimates import mean, quantile, share, total, total_files
from tiering.dataset.tree_reads import LocalTree
from tiering.dataset.tree_sample import draw, sample_tree
from tiering.sources.trees.glance import DirectoryContents, NameSample


class Imagined:
    """A tree of so many directories that nobody makes it: sizes of files by directory; counts what it is asked."""

    def __init__(self, folders: dict[bytes, np.ndarray], *, known: bool = True) -> None:
        self.folders, self.known, self.listed, self.asked = folders, known, 0, 0
        self.below: dict[bytes, set[bytes]] = {b"": set()}
        for folder in folders:
            parts = folder.split(b"/")[:-1]
            for depth, part in enumerate(parts):
                parent = b"".join(name + b"/" for name in parts[:depth])
                self.below.setdefault(parent, set()).add(part)

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> DirectoryContents:
        self.listed += 1
        kept = NameSample(keep, random)
        kept.add([b"%d.jpg" % number for number in range(len(self.folders.get(prefix, ())))])
        found = DirectoryContents(count=kept.count, images=kept.names())
        for name in sorted(self.below.get(prefix, ())):
            path = prefix + name + b"/"
            size = 4096 * (1 + len(self.folders.get(path, ())) // 100) if self.known else 1
            found.folders.append((name, float(size), self.known and path not in self.below))
        return found

    def sizes(self, keys: Sequence[bytes]) -> np.ndarray:
        self.asked += len(keys)
        where = [key.rpartition(b"/") for key in keys]
        return np.array([self.folders[folder + slash][int(name[:-4])] for folder, slash, name in where], np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[str]:
        return ["imagined"] * len(keys)

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        return [b""] * len(keys)


def skewed(folders: int, each: float, pattern: str = "c%04d/") -> dict[bytes, np.ndarray]:
    random = np.random.default_rng(5)
    counts = random.lognormal(np.log(each), 0.7, folders).astype(int) + 1
    middle = random.normal(9, 0.4, folders)
    paths = [(pattern % number).encode() for number in range(folders)]
    return {
        path: random.lognormal(at, 1.0, count).astype(np.int64)
        for path, at, count in zip(paths, middle, counts, strict=True)
    }


TREES = {
    "class folders": Imagined(skewed(600, 200)),
    "sizes of directories unknown": Imagined(skewed(500, 100), known=False),
    "few folders": Imagined(skewed(12, 3000)),
    "flat": Imagined({b"": skewed(1, 60_000)[b"c0000/"]}),
    "splits": Imagined(skewed(300, 150, "train/c%03d/") | skewed(250, 20, "val/c%03d/")),
    "some in the root": Imagined(skewed(300, 60) | {b"": skewed(1, 5000)[b"c0000/"]}),
}


@pytest.mark.parametrize(("samples", "least"), [(30, 26), pytest.param(100, 90, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TREES)
def test_intervals_hold_the_truth_in_at_least_ninety_of_a_hundred_samples(name: str, samples: int, least: int):
    """95 are promised; of 100 independent samples, fewer than 90 would be chance once in 35 such promises kept."""
    tree = TREES[name]
    sizes = np.concatenate(list(tree.folders.values()))
    true = {
        "files": len(sizes),
        "bytes": sizes.sum(),
        "mean": sizes.mean(),
        "median": np.median(sizes),
        "large": (sizes > 20_000).mean(),
    }
    held = dict.fromkeys(true, 0)
    for seed in range(samples):
        sample = sample_tree(tree, 1000, seed).sample
        found = {
            "files": total_files(sample),
            "bytes": total(sample, sample.size.astype(float)),
            "mean": mean(sample, sample.size.astype(float)),
            "median": quantile(sample, 0.5),
            "large": share(sample, sample.size > 20_000),
        }
        assert 500 <= len(sample.key) <= 2000
        for figure, value in true.items():
            held[figure] += found[figure].low <= value <= found[figure].high
            assert found[figure].low <= found[figure].value <= found[figure].high
    assert min(held.values()) >= least, held


def test_most_directories_are_not_listed():
    tree = Imagined(skewed(5000, 50))
    sample_tree(tree, 1000)
    assert tree.listed <= 1 + 40
    assert tree.asked <= 1500


def test_a_deep_tree_is_not_listed_either():
    """Where each directory holds others, nothing tells how many files there are but going down at random."""
    tree = Imagined(skewed(4000, 5, "%d/x/y/z/"), known=False)
    true = sum(map(len, tree.folders.values()))
    found = [total_files(sample_tree(tree, 500, seed).sample) for seed in range(60)]
    assert tree.listed < 60 * 1000
    assert np.mean([estimate.value for estimate in found]) == pytest.approx(true, rel=0.05)
    assert sum(estimate.low <= true <= estimate.high for estimate in found) >= 51


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=60), st.integers(2, 20), st.integers(0, 2**32))
def test_what_is_drawn_stands_for_what_is_not(weights: list[float], draws: int, seed: int):
    """Drawn in proportion to its weight, each drawn unit stands for the same weight: together they make up the sum."""
    weight = np.array(weights)
    factor = draw(weight, draws, np.random.default_rng(seed))
    assert ((factor == 0) | (factor >= 1)).all()
    assert float((factor * weight).sum()) == pytest.approx(weight.sum(), rel=1e-6)


def test_on_average_the_estimate_is_the_truth():
    tree = TREES["class folders"]
    true = sum(int(sizes.sum()) for sizes in tree.folders.values())
    found = [
        total(sample, sample.size.astype(float)).value
        for sample in (sample_tree(tree, 300, s).sample for s in range(200))
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - true) < 4 * error


def test_a_small_tree_is_sampled_whole(tmp_path: Path):
    for number in range(50):
        put(tmp_path, f"c{number % 7}/{number}.jpg", b"x" * number)
    put(tmp_path, "top.jpg", b"y" * 1000)
    put(tmp_path, "c1/words.txt", b"words")
    sample = sample_tree(LocalTree(os.fsencode(tmp_path)), 1000).sample
    assert sample.complete
    for estimate, true in (
        (total_files(sample), 51),
        (total(sample, sample.size.astype(float)), 1000 + sum(range(50))),
        (quantile(sample, 0.5), 25),
    ):
        assert estimate.exact
        assert estimate.value == true


def test_links_loops_and_what_cannot_be_read_end_no_sample(tmp_path: Path):
    put(tmp_path, "a/1.jpg", b"12345")
    (tmp_path / "a" / "loop").symlink_to("..")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "empty").mkdir()
    put(tmp_path, b"\xff/\xfe.jpg", b"123")
    found = sample_tree(LocalTree(os.fsencode(tmp_path)), 100)
    assert found.sample.key == [b"a/1.jpg", b"\xff/\xfe.jpg"]
    seen, counted = (
        {kind: tally.count for kind, tally in left_out.kinds.items()}
        for left_out in (found.left_out, count_tree(tmp_path).left_out)
    )
    assert seen == counted == {"broken link": 1, "special file": 1, "link in a circle": 1}


@given(st.lists(st.integers(0, 300), max_size=8), st.integers(1, 50), st.integers(0, 2**32))
def test_of_many_names_a_simple_random_sample_is_kept(parts: list[int], keep: int, seed: int):
    kept = NameSample(keep, np.random.default_rng(seed))
    number = 0
    for part in parts:
        names = [b"%05d" % at for at in range(number, number + part)]
        kept.add(names, [int(name) for name in names])
        number += part
    assert kept.count == number
    assert len(kept.names()) == min(keep, number)
    assert kept.names() == sorted(set(kept.names()))
    assert [int(name) for name in kept.names()] == kept.sizes()


def test_names_that_came_late_are_kept_as_often_as_others():
    """100,000 names in parts, 1,000 kept: thinned on the way, and still each fifth has about 200 (deviation 13)."""
    kept = NameSample(1000, np.random.default_rng(3))
    for begin in range(0, 100_000, 20_000):
        kept.add([b"%06d" % number for number in range(begin, begin + 20_000)])
    fifths = np.bincount([int(name) // 20_000 for name in kept.names()])
    assert (np.abs(fifths - 200) < 5 * 13).all()
