"""The trees of a model: taken out of its file, checked, and put into a forest that is made here.

scikit-learn follows the indices of a tree without looking at them: one that leads out of the tree ends the process,
and one that leads back never ends. So a tree is taken only if each of its splits leads forward, to nodes that exist.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tiering.arrays import AnyArray
from tiering.workload.skops_archive import TRUSTED_TYPES, Archive, attributes, items, plain

_FOREST, _TREE_CLASSIFIER, _TREE = TRUSTED_TYPES

#: Bounds of the work that a verdict takes: four times the trees of the model that ships, and thirty times their nodes.
_MOST_TREES: Final = 400
_MOST_NODES: Final = 1_000_000

_LEAF: Final = -1
_TOLERANCE: Final = 1e-6


def read_forest(archive: Archive, node: object, features: int, classes: int) -> Any:
    """Return a forest of an archive as a scikit-learn classifier. Raises ValueError for one that is not sound.

    features: columns of what it is asked about; classes: how many it tells apart.
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
    """Give a classifier what fitting would have given it."""
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
    # max_depth is for scikit-learn's drawings; no path is longer than the tree.
    tree.__setstate__({"max_depth": len(nodes), "node_count": len(nodes), "nodes": nodes, "values": values})
    return tree


def _check_splits(nodes: AnyArray, features: int) -> None:
    """Check that every node is a leaf, or asks for a feature there is and leads to two nodes behind itself."""
    left, right = nodes["left_child"], nodes["right_child"]
    leaf = (left == _LEAF) & (right == _LEAF)
    place = np.arange(len(nodes))
    forward = (left > place) & (right > place) & (left < len(nodes)) & (right < len(nodes))
    asks = (nodes["feature"] >= 0) & (nodes["feature"] < features) & np.isfinite(nodes["threshold"])
    wrong = ~(leaf | (forward & asks))
    if wrong.any() or not len(nodes):
        at = int(np.argmax(wrong)) if len(nodes) else 0
        raise ValueError(f"a tree of {len(nodes):,} nodes whose node {at:,} leads nowhere or asks for no feature")


def _check_values(values: AnyArray, shape: tuple[int, ...]) -> None:
    """Check that every node has a probability of each class."""
    if values.shape != shape or values.dtype != np.float64:
        raise ValueError(f"values of {values.dtype} and shape {values.shape}, not float64 and {shape}")
    sound = np.isfinite(values).all() and (values >= 0).all()
    if not sound or np.abs(values.sum(axis=-1) - 1).max() > _TOLERANCE:
        raise ValueError("values that are no probabilities")
