"""Distributions of fields: they hold every value once, whatever the numbers are, and a sample of them is fair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiering
from tests.sources.trees.test_remote import upload
from tests.trees import picture, put
from tiering.cli.dataset_rows import dataset_rows
from tiering.dataset.distributions import KEPT, SHARES, ValueSample, sampled_distribution

NUMBERS = st.one_of(
    st.floats(), st.integers(-(2**63), 2**63 - 1).map(float), st.integers(0, 5).map(float), st.integers(1, 10**6).map(float)
)  # fmt: skip


@given(st.lists(st.lists(NUMBERS, max_size=30), max_size=4), st.booleans())
def test_every_finite_value_is_in_one_bin(parts, whole):
    sample = ValueSample(0)
    for part in parts:
        numbers = np.array(part, np.float64)
        sample.add(np.round(numbers) if whole else numbers)
    values = [round(each) if whole else each for part in parts for each in part if abs(each) <= 1e300]
    found = sample.distribution(whole=whole)
    if found is None:
        assert values == []
        return
    assert found.values == sum(found.counts) == len(values)
    assert found.edges == sorted(found.edges)
    assert len(found.edges) == len(found.counts) + 1 <= 22
    assert found.edges[0] <= min(values) <= max(values) <= found.edges[-1]
    assert (found.quantiles["0"], found.quantiles["1"]) == (min(values), max(values))
    assert list(found.quantiles.values()) == sorted(found.quantiles.values())
    assert tuple(found.quantiles) == SHARES
    assert {round(each) if whole else each for each in found.quantiles.values()} <= set(values)


def test_few_integers_have_a_bin_each():
    sample = ValueSample(0)
    sample.add(np.array([1.0, 5, 5, 3]))
    found = sample.distribution(whole=True)
    assert found.edges == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert found.counts == [1, 0, 1, 0, 2]


def test_skewed_values_have_bins_at_equal_ratios():
    sample = ValueSample(0)
    sample.add(np.exp(np.random.default_rng(0).normal(5, 2, 5000)))
    found = sample.distribution(whole=False)
    assert np.ptp(np.diff(np.log(found.edges))) < 1e-9
    assert max(found.counts) < 1200


def test_many_values_are_sampled_fairly_and_their_ends_are_exact():
    sample = ValueSample(3)
    for at in range(0, 100_000, 1000):
        sample.add(np.arange(at, at + 1000, dtype=np.float64))
    found = sample.distribution(whole=True)
    assert found.values == KEPT
    assert (found.quantiles["0"], found.quantiles["1"]) == (0, 99_999)
    # Four standard errors of a share in a sample of KEPT.
    for share in SHARES:
        assert abs(found.quantiles[share] / 100_000 - float(share)) < 4 * 0.5 / KEPT**0.5
    assert min(found.counts) > 350


def test_a_profile_has_the_distributions_of_numbers_and_sizes(some_photos, tmp_path):
    keys = sorted(path.relative_to(some_photos).as_posix() for path in some_photos.rglob("*") if path.is_file())
    rows = [f"{key},{n % 5},{n / 8},{'' if n % 3 else 'a' * n},{n % 2}x" for n, key in enumerate(keys)]
    (some_photos / "list.csv").write_text("path,stars,score,caption,code\n" + "\n".join(rows) + "\n")
    fields = {each.name: each for each in tiering.profile_dataset(some_photos / "list.csv").fields}
    kinds = {name: field.kind for name, field in fields.items()}
    assert kinds == {"stars": "integer", "score": "float", "caption": "string", "code": "string"}
    assert fields["stars"].distribution.edges == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]
    assert sum(fields["stars"].distribution.counts) == len(keys)
    assert fields["score"].distribution.quantiles["1"] == (len(keys) - 1) / 8
    lengths = fields["caption"].distribution
    assert lengths.quantiles["1"] == max(n for n in range(len(keys)) if n % 3 == 0)
    assert fields["code"].distribution.edges == [1.5, 2.5]


@pytest.mark.parametrize("sample", ["auto", "all"])
def test_the_sizes_of_files_beside_images_are_their_lengths(some_photos, sample):
    images = sorted(path for path in some_photos.rglob("*") if path.is_file())
    for number, image in enumerate(images):
        image.with_suffix(".txt").write_text("a" * (1 + number % 3))
    (field,) = tiering.profile_dataset(some_photos, sample=sample).fields
    assert (field.name, field.kind, field.count) == ("txt", "string", len(images))
    assert field.distribution.edges == [0.5, 1.5, 2.5, 3.5]
    assert sum(field.distribution.counts) == len(images)


@given(st.lists(st.tuples(st.integers(0, 10**12), st.floats(0.1, 1e6)), min_size=1, max_size=60))
def test_a_weighted_sample_is_counted_whole_and_its_quantiles_are_values_of_it(pairs):
    values, weights = (np.array(each, np.float64) for each in zip(*pairs, strict=True))
    found = sampled_distribution(values, weights)
    assert found.sampled
    assert found.values == sum(found.counts) == len(values)
    assert min(found.counts) >= 0
    assert set(found.quantiles.values()) <= set(values.tolist())
    assert (found.quantiles["0"], found.quantiles["1"]) == (values.min(), values.max())
    at_most = weights[values <= found.quantiles["0.5"]].sum() / weights.sum()
    below = weights[values < found.quantiles["0.5"]].sum() / weights.sum()
    assert below <= 0.5 + 1e-9
    assert at_most >= 0.5 - 1e-9


def test_a_weight_counts_as_so_many_values():
    found = sampled_distribution(np.array([1.0, 2, 3, 3]), np.array([1.0, 5, 1, 1]))
    assert (found.counts, found.quantiles["0.5"]) == ([0, 3, 1], 2)
    assert sampled_distribution(np.empty(0), np.empty(0)) is None


def beside_many(root, count=120):
    """Images, of which every second has a caption: in directories of different sizes, with captions of one size each."""
    for number in range(count):
        folder = min(number // 10, 3)
        put(root, f"c{folder}/{number}.jpg", picture(16, 12))
        if number % 2:
            put(root, f"c{folder}/{number}.txt", b"a" * (10 + folder))
        put(root, f"c{folder}/{number}.cls", b"7")


@pytest.mark.parametrize("place", ["here", "bucket"])
def test_where_files_are_only_counted_some_of_them_are_looked_up(tmp_path, s3, monkeypatch, place):
    beside_many(tmp_path / "photos")
    source = tmp_path / "photos"
    if place == "bucket":
        upload(source, s3)
        source = s3
    monkeypatch.setattr("tiering.dataset.gathering.ALL_HEADERS", 50)
    monkeypatch.setattr("tiering.dataset.gathering.SAMPLED", 60)
    # Each question to a bucket takes its time.
    for how, expected in (({}, 30), ({"probes": 40}, 20), ({"sample": 30}, 15))[2 * (place == "bucket") :]:
        profile = tiering.profile_dataset(source, **how)
        label, caption = sorted(profile.fields, key=lambda field: field.name)
        assert (label.name, label.distribution, caption.name) == ("cls", None, "txt")
        found = caption.distribution
        assert found.sampled
        assert expected / 3 <= found.values <= 2 * expected
        assert sum(found.counts) == found.values
        # Three quarters of the images are in the last directory.
        assert (found.quantiles["0.5"], found.quantiles["1"]) == (13, 13)
        assert found.quantiles["0"] >= 10
        line = next(line for _, line in dataset_rows(profile) if line.startswith("txt"))
        assert f"about {found.quantiles['0']:.0f} B to 13 B, median 13 B (of {found.values} drawn at random)" in line
    if place == "here":
        whole = next(each for each in tiering.profile_dataset(source, sample="all").fields if each.name == "txt")
        assert (whole.distribution.values, whole.distribution.sampled) == (60, False)


def test_names_in_upper_case_are_found_and_several_endings_are_one_field(tmp_path):
    for number in range(30):
        put(tmp_path, f"{number}.JPG", picture(16, 12))
        put(tmp_path, f"{number}.TXT", b"abc")
        put(tmp_path, f"{number}.mask.{'png' if number % 2 else 'tif'}", b"12345")
    caption, mask = sorted(tiering.profile_dataset(tmp_path, probes=30).fields, key=lambda field: field.name == "mask")
    assert (caption.distribution.values, caption.distribution.quantiles["1"]) == (30, 3)
    assert (mask.name, mask.count, mask.distribution.values) == ("mask", 30, 30)
