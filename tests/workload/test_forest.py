"""A forest gives scikit-learn's probabilities to the last bit, and refuses trees that are none."""

from __future__ import annotations

import importlib.resources

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import ExtraTreesClassifier

from tests.conftest import FIXTURES
from tiering.workload.classifier import load_model, shipped
from tiering.workload.features import FEATURE_NAMES
from tiering.workload.forest import Tree, joined, trained, untrained
from tiering.workload.skops_archive import TRUSTED_TYPES

SHIPPED = importlib.resources.files("tiering.workload") / "workload.skops"
WIDE = len(FEATURE_NAMES)


def rows(thresholds, count=3000):
    """Feature rows of all sizes, many of them just at a threshold or next to it, and a sixth of the values missing."""
    chance = np.random.default_rng(5)
    found = chance.normal(size=(count, WIDE)) * 10.0 ** chance.integers(-3, 5, (count, WIDE))
    near = chance.choice(thresholds, (count, WIDE))
    for part, value in enumerate((near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf), 0.0, -0.0)):
        found = np.where(chance.random((count, WIDE)) < 0.15 + 0.01 * part, value, found)
    found[chance.random((count, WIDE)) < 1 / 6] = np.nan
    found[0], found[1] = np.nan, 0.0
    return found


@pytest.mark.parametrize("path", [SHIPPED, *sorted(FIXTURES.glob("v*/model.skops"))], ids=lambda path: path.parent.name)
def test_a_model_file_gives_the_probabilities_of_scikit_learn_to_the_last_bit(path):
    forest = load_model(path).estimator
    theirs = skops.io.load(path, trusted=list(TRUSTED_TYPES))["estimator"]
    vectors = rows(forest.threshold)
    known = vectors[:, : theirs.n_features_in_]  # models of before know fewer
    assert forest.predict_proba(vectors).tobytes() == theirs.predict_proba(known).tobytes()


def test_a_trained_forest_gives_the_probabilities_of_scikit_learn_to_the_last_bit():
    chance = np.random.default_rng(1)
    vectors = chance.normal(size=(400, WIDE))
    vectors[chance.random(vectors.shape) < 0.3] = np.nan
    theirs = ExtraTreesClassifier(7, random_state=3).fit(vectors, chance.integers(0, 4, 400))
    forest = trained(theirs)
    asked = rows(forest.threshold)
    wanted = theirs.predict_proba(asked).tobytes()
    assert forest.missing_left.any()
    assert not forest.missing_left.all()
    assert forest.predict_proba(asked).tobytes() == wanted
    assert untrained(forest).predict_proba(asked).tobytes() == wanted


def test_many_rows_and_none_are_judged_like_one(monkeypatch):
    forest = shipped().estimator
    vectors = rows(forest.threshold, 50)
    whole = forest.predict_proba(vectors)
    monkeypatch.setattr("tiering.workload.forest._AT_A_TIME", 700)
    np.testing.assert_array_equal(forest.predict_proba(vectors), whole)
    np.testing.assert_array_equal(forest.predict_proba(vectors[7:8]), whole[7:8])
    assert forest.predict_proba(vectors[:0]).shape == (0, 4)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39, -1e300])
def test_a_value_beyond_single_precision_is_refused_as_scikit_learn_does(value):
    forest = shipped().estimator
    for judge in (forest, untrained(forest)):
        with pytest.raises(ValueError, match="infini"), np.errstate(over="ignore"):
            judge.predict_proba(np.full((1, WIDE), value))


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match=rf"shape \(1, 3\), where \(n, {WIDE}\)"):
        shipped().estimator.predict_proba(np.zeros((1, 3)))


def tree(left, right):
    """A tree of these children that tests the first feature everywhere."""
    count = len(left)
    zeros = np.zeros(count, np.int64)
    return Tree(np.array(left), np.array(right), zeros, np.zeros(count), zeros > 0, np.full((count, 4), 0.25))


def chain(levels):
    """A tree whose every split leads to a leaf and to the next split."""
    count = 2 * levels + 1
    inner = np.arange(count) % 2 == 0
    inner[-1] = False
    own = np.arange(count)
    return tree(np.where(inner, own + 1, -1), np.where(inner, own + 2, -1))


@pytest.mark.parametrize(
    ("trees", "says"),
    [
        ([], "0 trees"),
        ([chain(1)] * 401, "401 trees"),
        ([tree([], [])], "a tree without nodes"),
        ([chain(5)] * 2 + [chain(500_000)], "more than 1,000,000 nodes"),
        ([tree([1, -1, -1], [1, -1, -1])], "node 1 that no path leads to, or several do"),
        ([tree([1, -1, -1, -1], [2, -1, -1, -1])], "node 3 that no path leads to"),
        ([tree([1, -1, -1], [3, -1, -1]), chain(1)], "a tree of 3 nodes whose node 0 leads nowhere"),
        ([chain(1), tree([0, -1, -1], [2, -1, -1])], "a tree of 3 nodes whose node 0 leads nowhere"),
        ([chain(1001)], "more than 1,000 levels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_forest_is_refused(trees, says):
    with pytest.raises(ValueError, match=says):
        joined(trees, WIDE)


def test_the_longest_path_allowed_is_followed_to_its_end():
    forest = joined([chain(1000)], WIDE)
    assert forest.levels == 1000
    assert forest.predict_proba(np.ones((1, WIDE))).tolist() == [[0.25] * 4]
    assert [each.left.tolist() for each in forest.trees()] == [chain(1000).left.tolist()]
