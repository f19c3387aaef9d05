"""Read the trees of a model from its file, check them, and build a new forest from them.

scikit-learn follows the indices of a tree without checking them. An index outside the tree crashes the process, and one
that leads back loops for ever. So each split must lead forward, to nodes that exist.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tiering.arrays import AnyArray
from tiering.workload.skops_archive import TRUSTED_TYPES, Archive, attributes, items, plain

_FOREST, _TREE_CLASSIFIER, _TREE = TRUSTED_TYPES

#: Bounds on the work of a verdict: four times as many trees as the model that ships, and thirty times as many nodes.
_MOST_TREES: Final = 400
_MOST_NODES: Final = 1_000_000

_LEAF: Final = -1
_TOLERANCE: Final = 1e-6


def read_forest(archive: Archive, node: object, features: int, classes: int) -> Any:
    """Return the forest in an archive as a scikit-learn classifier. Raises ValueError if it is not sound.

    features: the number of columns of its input. classes: the number of classes.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415 - takes a second
    from sklearn.tree import ExtraTreeClassifier  # noqa: PLC0415

    state = attributes(node, _FOREST)
    if archive.array(state.get("classes_")).tolist() != list(range(classes)):
        raise ValueError("other classes")
    states = items(state.get("estimators_"))
    if not 1 <= len(states) <= _MOST_TREES:
        raise ValueError(f"{len(states):,} trees, where 1 to {_MOST_TREES} are expected")
    trees, nodes = [], 0
    for each in states:
        tree = _read_tree(archive, attributes(each, _TREE_CLASSIFIER).get("tree_"), features, classes)
        nodes += tree.node_count
        if nodes > _MOST_NODES:
            raise ValueError(f"more than {_MOST_NODES:,} nodes")
        trees.append(_fitted(ExtraTreeClassifier(), features, classes, tree_=tree))
    return _fitted(ExtraTreesClassifier(len(trees)), features, classes, estimators_=trees)


def _fitted(classifier: Any, features: int, classes: int, **learned: object) -> Any:
    """Set the attributes of a classifier that fitting would have set."""
    learned |= {"n_features_in_": features, "n_outputs_": 1, "n_classes_": classes, "classes_": np.arange(classes)}
    for name, value in learned.items():
        setattr(classifier, name, value)
    return classifier


def _read_tree(archive: Archive, node: object, features: int, classes: int) -> Any:
    from sklearn.tree._tree import NODE_DTYPE, Tree  # noqa: PLC0415

    state = attributes(node, _TREE)
    nodes, values = archive.array(state.get("nodes")), archive.array(state.get("values"))
    if nodes.dtype.names != NODE_DTYPE.names or nodes.dtype.itemsize != NODE_DTYPE.itemsize or nodes.ndim != 1:
        raise ValueError(f"nodes of {nodes.dtype}, where this version of scikit-learn has {NODE_DTYPE}")
    if plain(state.get("node_count")) != len(nodes):
        raise ValueError(f"{len(nodes):,} nodes, not as many as the tree says")
    nodes = nodes.astype(NODE_DTYPE)
    _check_splits(nodes, features)
    _check_values(values, (len(nodes), 1, classes))
    tree = Tree(features, np.array([classes]), 1)
    # Only scikit-learn's drawings use max_depth. No path is longer than the tree.
    tree.__setstate__({"max_depth": len(nodes), "node_count": len(nodes), "nodes": nodes, "values": values})
    return tree


def _check_splits(nodes: AnyArray, features: int) -> None:
    """Check that every node is a leaf, or tests an existing feature and leads to two later nodes."""
    left, right = nodes["left_child"], nodes["right_child"]
    leaf = (left == _LEAF) & (right == _LEAF)
    own = np.arange(len(nodes))
    forward = (left > own) & (right > own) & (left < len(nodes)) & (right < len(nodes))
    tests_a_feature = (nodes["feature"] >= 0) & (nodes["feature"] < features) & np.isfinite(nodes["threshold"])
    wrong = ~(leaf | (forward & tests_a_feature))
    if wrong.any() or not len(nodes):
        at = int(np.argmax(wrong)) if len(nodes) else 0
        raise ValueError(f"a tree of {len(nodes):,} nodes whose node {at:,} leads nowhere or tests no feature")


def _check_values(values: AnyArray, shape: tuple[int, ...]) -> None:
    """Check that every node has a probability for each class."""
    if values.shape != shape or values.dtype != np.float64:
        raise ValueError(f"values of {values.dtype} and shape {values.shape}, not float64 and {shape}")
    sound = np.isfinite(values).all() and (values >= 0).all()
    if not sound or np.abs(values.sum(axis=-1) - 1).max() > _TOLERANCE:
        raise ValueError("values that are no probabilities")
