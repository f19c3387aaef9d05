"""The trees of a model as plain arrays: read from its file, checked, and followed by NumPy.

scikit-learn trains the trees. A verdict only follows them, and importing scikit-learn for that takes longer than all
the rest of `tiering classify` together. So NumPy follows them, with the same comparisons, and the same sums in the same
order: the probabilities are scikit-learn's to the last bit.

An index outside the trees, or one that leads back, would crash or never end. So each split must lead forward to nodes
of its own tree, and one path must lead to each node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.arrays import AnyArray
from tiering.workload.skops_archive import TRUSTED_TYPES, Archive, attributes, items, plain

_FOREST, _TREE_CLASSIFIER, _TREE = TRUSTED_TYPES

#: Bounds on the work of a verdict: four times as many trees as the model that ships, thirty times as many nodes, and
#: forty times as many levels.
_MOST_TREES: Final = 400
_MOST_NODES: Final = 1_000_000
_MOST_LEVELS: Final = 1_000

#: A node in the files of scikit-learn from 1.3 on.
_NODE: Final = np.dtype(
    [
        ("left_child", np.int64),
        ("right_child", np.int64),
        ("feature", np.int64),
        ("threshold", np.float64),
        ("impurity", np.float64),
        ("n_node_samples", np.int64),
        ("weighted_n_node_samples", np.float64),
        ("missing_go_to_left", np.uint8),
    ],
    align=True,
)
_LEAF: Final = -1
_TOLERANCE: Final = 1e-6

#: How many nodes are looked at together, over all trees and rows: 8 MB for each column of them.
_AT_A_TIME: Final = 1 << 20


class Tree(NamedTuple):
    """A tree as scikit-learn keeps it, in columns of one value for each node.

    left, right: positions of the children, int64; -1 in a leaf. feature: the column that is tested, int64. threshold:
    values up to this go to the left, float64. missing_left: whether a missing value does, bool. values: the probability
    of each class, float64 (nodes, classes); only those of leaves are used.
    """

    left: AnyArray
    right: AnyArray
    feature: AnyArray
    threshold: AnyArray
    missing_left: AnyArray
    values: AnyArray


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """A classifier of trees, which lie one behind the other in columns. `joined` makes one.

    Attributes:
        starts: Position of the root of each tree, int64 (trees,).
        left: How far behind a node its left child is, int64 (nodes,); 0 in a leaf.
        right: The same for its right child.
        feature: As in Tree, but 0 in a leaf.
        threshold: As in Tree.
        missing_left: As in Tree.
        values: As in Tree.
        levels: The number of splits on the longest path.
        features: The number of columns of the input.
    """

    starts: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float64]
    missing_left: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float64]
    levels: int
    features: int

    def predict_proba(self, vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the mean probability of each class over the trees, as scikit-learn's method of this name does.

        vectors: float64 (n, features); NaN is a missing value. Returns float64 (n, classes). Raises ValueError for
        another shape, and for infinity or a value beyond single precision, in which trees compare.
        """
        with np.errstate(over="ignore"):
            compared = np.asarray(vectors, np.float32)
        if compared.ndim != 2 or compared.shape[1] != self.features:
            raise ValueError(f"vectors of shape {compared.shape}, where (n, {self.features}) is expected")
        if np.isinf(compared).any():
            raise ValueError("a value that is infinite, or beyond single precision")
        rows = max(1, _AT_A_TIME // len(self.starts))
        found = np.empty((len(compared), self.values.shape[1]))
        for first in range(0, len(compared), rows):
            found[first : first + rows] = self._mean(compared[first : first + rows])
        return found

    def _mean(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        rows = np.arange(len(vectors))
        at = np.repeat(self.starts[:, None], len(vectors), axis=1)
        for _ in range(self.levels):
            value = vectors[rows, self.feature[at]]
            goes_left = np.where(np.isnan(value), self.missing_left[at], value <= self.threshold[at])
            at += np.where(goes_left, self.left[at], self.right[at])
        total = np.zeros((len(vectors), self.values.shape[1]))
        for leaves in at:  # tree after tree, as scikit-learn does: in another order sums round differently
            total += self.values[leaves]
        return np.asarray(total / len(self.starts))

    def trees(self) -> list[Tree]:
        """Return each tree in columns of its own."""
        own = np.arange(len(self.left)) - np.repeat(self.starts, np.diff(self.starts, append=len(self.left)))
        left, right = (np.where(step == 0, _LEAF, own + step) for step in (self.left, self.right))
        columns = (left, right, self.feature, self.threshold, self.missing_left, self.values)
        return [Tree(*each) for each in zip(*(np.split(column, self.starts[1:]) for column in columns), strict=True)]


def joined(trees: Sequence[Tree], features: int) -> Forest:
    """Check trees and join them. Raises ValueError for an unsound one. features: the number of columns of the input."""
    if not 1 <= len(trees) <= _MOST_TREES:
        raise ValueError(f"{len(trees):,} trees, where 1 to {_MOST_TREES} are expected")
    sizes = np.array([len(tree.left) for tree in trees])
    if sizes.min() == 0 or sizes.sum() > _MOST_NODES:
        raise ValueError(f"a tree without nodes, or more than {_MOST_NODES:,} nodes")
    left, right, feature, threshold, missing_left, values = (np.concatenate(each) for each in zip(*trees, strict=True))
    starts = np.cumsum(sizes) - sizes
    own, size = np.arange(len(left)) - np.repeat(starts, sizes), np.repeat(sizes, sizes)
    leaf = (left == _LEAF) & (right == _LEAF)
    forward = (left > own) & (right > own) & (left < size) & (right < size)
    tests_a_feature = (feature >= 0) & (feature < features) & np.isfinite(threshold)
    wrong = ~(leaf | (forward & tests_a_feature))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"a tree of {size[at]:,} nodes whose node {own[at]:,} leads nowhere or tests no feature")
    left, right = (np.where(leaf, 0, child - own) for child in (left, right))
    levels = _levels(starts, left, right)
    return Forest(starts, left, right, np.where(leaf, 0, feature), threshold, missing_left, values, levels, features)


def _levels(starts: npt.NDArray[np.int64], left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> int:
    """Return the number of splits on the longest path, after checking that one path leads to each node."""
    inner = np.flatnonzero(left)
    paths = np.bincount(np.concatenate([starts, inner + left[inner], inner + right[inner]]), minlength=len(left))
    if (paths != 1).any():
        raise ValueError(f"a node {int(np.argmax(paths != 1)):,} that no path leads to, or several do")
    level = starts
    for levels in range(_MOST_LEVELS + 1):
        level = level[left[level] > 0]
        if not len(level):
            return levels
        level = np.concatenate([level + left[level], level + right[level]])
    raise ValueError(f"a tree of more than {_MOST_LEVELS:,} levels")


def read_forest(archive: Archive, node: object, features: int, classes: int) -> Forest:
    """Return the forest in an archive. Raises ValueError if it is not sound.

    features: the number of columns of its input. classes: the number of classes.
    """
    state = attributes(node, _FOREST)
    if archive.array(state.get("classes_")).tolist() != list(range(classes)):
        raise ValueError("other classes")
    states = items(state.get("estimators_"))[: _MOST_TREES + 1]
    trees = [_read_tree(archive, attributes(each, _TREE_CLASSIFIER).get("tree_"), classes) for each in states]
    forest = joined(trees, features)
    values = forest.values
    if not (values >= 0).all() or not np.abs(values.sum(axis=-1) - 1).max() <= _TOLERANCE:  # NaN is neither
        raise ValueError("values that are no probabilities")
    return forest


def _read_tree(archive: Archive, node: object, classes: int) -> Tree:
    state = attributes(node, _TREE)
    nodes, values = archive.array(state.get("nodes")), archive.array(state.get("values"))
    if nodes.dtype.names != _NODE.names or nodes.ndim != 1:
        raise ValueError(f"nodes of {nodes.dtype}, where {_NODE} is expected")
    if plain(state.get("node_count")) != len(nodes):
        raise ValueError(f"{len(nodes):,} nodes, not as many as the tree says")
    shape = (len(nodes), 1, classes)
    if values.shape != shape or values.dtype != np.float64:
        raise ValueError(f"values of {values.dtype} and shape {values.shape}, not float64 and {shape}")
    nodes = nodes.astype(_NODE)
    left, right, feature, threshold = (nodes[name] for name in ("left_child", "right_child", "feature", "threshold"))
    return Tree(left, right, feature, threshold, nodes["missing_go_to_left"] != 0, values[:, 0])


def trained(classifier: Any) -> Forest:
    """Return the trees of a forest that scikit-learn has trained. Its classes are 0, 1, 2, and so on."""
    trees = [each.tree_ for each in classifier.estimators_]
    columns = [
        Tree(
            tree.children_left,
            tree.children_right,
            tree.feature,
            tree.threshold,
            tree.missing_go_to_left != 0,
            tree.value[:, 0],
        )
        for tree in trees
    ]
    return joined(columns, classifier.n_features_in_)


def untrained(forest: Forest) -> Any:
    """Return a scikit-learn classifier of the same trees, to be saved: it predicts the same, and knows nothing else.

    What training leaves in the nodes (examples, impurity, probabilities before the leaf) is 0 or equal: nobody reads
    it, and it is more than half of a file.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415 - takes a second
    from sklearn.tree import ExtraTreeClassifier  # noqa: PLC0415

    classes = forest.values.shape[1]
    trees = [
        _fitted(ExtraTreeClassifier(), forest.features, classes, tree_=_grown(tree, forest.features))
        for tree in forest.trees()
    ]
    return _fitted(ExtraTreesClassifier(len(trees)), forest.features, classes, estimators_=trees)


def _fitted(classifier: Any, features: int, classes: int, **learned: object) -> Any:
    """Set the attributes of a classifier that fitting would have set."""
    learned |= {"n_features_in_": features, "n_outputs_": 1, "n_classes_": classes, "classes_": np.arange(classes)}
    for name, value in learned.items():
        setattr(classifier, name, value)
    return classifier


def _grown(tree: Tree, features: int) -> Any:
    from sklearn.tree import _tree  # noqa: PLC0415

    count, classes = tree.values.shape
    nodes = np.zeros(count, _tree.NODE_DTYPE)
    nodes["left_child"], nodes["right_child"] = tree.left, tree.right
    nodes["feature"], nodes["threshold"], nodes["missing_go_to_left"] = tree.feature, tree.threshold, tree.missing_left
    values = np.where(tree.left[:, None] == _LEAF, tree.values, 1 / classes)[:, None]
    grown = _tree.Tree(features, np.array([classes]), 1)
    # Only scikit-learn's drawings use max_depth. No path is longer than the tree.
    grown.__setstate__({"max_depth": count, "node_count": count, "nodes": nodes, "values": values})
    return grown
