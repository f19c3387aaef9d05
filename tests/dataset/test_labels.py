"""Labels follow the folders, as torchvision's ImageFolder has them, with splits seen through."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tiering.dataset.labels import class_labels, layout


def series(*keys: bytes) -> pl.Series:
    return pl.Series("key", keys, dtype=pl.Binary)


@pytest.mark.parametrize(
    ("keys", "labels", "names", "kind"),
    [
        ((b"a.jpg", b"b.jpg"), [-1, -1], [], "flat"),
        ((b"dog/1.jpg", b"cat/1.jpg", b"dog/2.jpg"), [1, 0, 1], ["cat", "dog"], "class folders"),
        ((b"cat/deep/er/1.jpg",), [0], ["cat"], "class folders"),
        ((b"cat/1.jpg", b"loose.jpg"), [0, -1], ["cat"], "class folders"),
        ((b"train/cat/1", b"Val/dog/1", b"TEST/cat/1"), [0, 1, 0], ["cat", "dog"], "split and class folders"),
        ((b"train/cat/1", b"train/x.jpg"), [0, -1], ["cat"], "split and class folders"),
        ((b"train/x.jpg", b"test/y.jpg"), [-1, -1], [], "splits"),
        ((b"train/cat/1", b"extra/dog/1"), [1, 0], ["extra", "train"], "class folders"),
        ((b"train/cat/1", b"loose.jpg"), [0, -1], ["train"], "class folders"),
        ((b"training/a/1", b"\xff/b/1"), [0, 1], ["training", r"\xff"], "class folders"),
        (
            (b"dev/\xff/1", b"valid/a/1", b"dev/2f/1"),
            [2, 1, 0],
            ["2f", "a", r"\xff"],
            "split and class folders",
        ),
        (
            (b"/".join([b"\xf2\xff", b"1"]), b"\x22\xf0/1"),
            [1, 0],
            ['"' + r"\xf0", r"\xf2\xff"],
            "class folders",
        ),
    ],
)
def test_the_rule(keys, labels, names, kind):
    found, shown = class_labels(series(*keys))
    assert found.dtype == np.int32
    assert found.tolist() == labels
    assert shown == names
    assert layout(series(*keys)) == kind


def test_no_keys_have_no_labels():
    labels, names = class_labels(series())
    assert labels.tolist() == names == []
    assert layout(series()) == "flat"
