"""Labels follow the folders, as torchvision's ImageFolder has them, with splits and folders of images seen through."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.trees import put
from tiering.errors import DatasetError
from tiering.sources.labels.annotations import FolderLabels, folder_labels
from tiering.sources.labels.folders import Folders
from tiering.sources.labels.numbering import number_folders


def numbered(*keys: bytes, tars: bool = False):
    """Labels, their names, splits and the layout that folders tell."""
    seen = Folders(tars=tars)
    for key in keys:  # one by one, for batches may end anywhere
        seen.add([key])
    told = FolderLabels(seen.rule())
    columns = {"label": np.full(len(keys), -1, np.int32), "split": np.full(len(keys), -1, np.int8)}
    classes, splits = number_folders(told, lambda rows: [keys[row] for row in rows], len(keys), columns, None, "here")
    assert classes.numbers == tuple(range(len(classes)))
    shown = [splits[number] if number >= 0 else None for number in columns["split"]]
    return columns["label"].tolist(), list(classes.names), shown, told.kind


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
        # One picture beside the splits must not make classes of them.
        ((b"train/cat/1", b"preview.jpg"), [0, -1], ["cat"], "split and class folders"),
        ((b"training/a/1", b"\xff/b/1"), [0, 1], ["training", r"\xff"], "class folders"),
        (
            (b"dev/\xff/1", b"valid/a/1", b"dev/2f/1"),
            [2, 1, 0],
            ["2f", "a", r"\xff"],
            "split and class folders",
        ),
        ((b"\xf2\xff/1", b"\x22\xf0/1"), [1, 0], ['"' + r"\xf0", r"\xf2\xff"], "class folders"),
        # ImageNet as it is unpacked, and anything else that lies deeper than it needs to.
        (
            (b"ILSVRC/Data/CLS-LOC/test/1", b"ILSVRC/Data/CLS-LOC/train/n02/1", b"ILSVRC/Data/CLS-LOC/train/n01/1"),
            [-1, 1, 0],
            ["n01", "n02"],
            "split and class folders",
        ),
        ((b"data/train/cat/1", b"data/train/dog/1"), [0, 1], ["cat", "dog"], "split and class folders"),
        # Tiny ImageNet; and others that put a folder called images in between.
        (
            (b"test/images/1", b"train/n02/images/1", b"train/n01/images/1", b"val/images/1"),
            [-1, 1, 0, -1],
            ["n01", "n02"],
            "split and class folders",
        ),
        ((b"images/dog/1", b"images/cat/1"), [1, 0], ["cat", "dog"], "class folders"),
        ((b"Images/train/dog/1", b"Images/val/cat/1"), [1, 0], ["cat", "dog"], "split and class folders"),
        ((b"train/images/1", b"val/images/1"), [-1, -1], [], "splits"),
        ((b"images/1", b"images/2"), [-1, -1], [], "flat"),
        # One class among others may be called so.
        ((b"images/1", b"text/2"), [0, 1], ["images", "text"], "class folders"),
    ],
)
def test_the_rule(keys, labels, names, kind):
    found, shown, _, layout = numbered(*keys)
    assert (found, shown, layout) == (labels, names, kind)
    backwards, shown, _, layout = numbered(*keys[::-1])
    assert (backwards[::-1], shown, layout) == (labels, names, kind)


def test_splits_are_told_beside_the_classes():
    _, _, splits, _ = numbered(b"train/cat/1", b"val/images/2", b"x.jpg")
    assert splits == ["train", "val", None]


def test_no_keys_have_no_labels():
    assert numbered() == ([], [], [], "flat")


def test_the_name_of_a_tar_is_a_class_where_its_images_are_called_after_it():
    assert numbered(b"n02/1.jpg", b"n01/1.jpg", tars=True)[0] == [-1, -1]
    found = numbered(b"n01440764/n01440764_1.JPEG", b"n01443537/7.JPEG", tars=True)
    assert found == ([0, 1], ["n01440764", "n01443537"], [None, None], "class tars")
    assert numbered(b"dog/dog_1.jpg", b"cat/cat_1.jpg", tars=True)[1] == ["cat", "dog"]
    # Shards call their images after themselves too: a number is no class.
    assert numbered(b"shard-00/shard-00_1.jpg", b"shard-01/shard-01_1.jpg", tars=True)[1] == []
    assert numbered(b"train-0/dog/1.jpg", b"train-1/cat/1.jpg", tars=True)[:2] == ([1, 0], ["cat", "dog"])


def test_many_folders_are_not_held(monkeypatch):
    seen = Folders()
    seen.add(b"%d/%d/1.jpg" % (number, number) for number in range(10_000))
    assert seen._top.below is None
    assert seen.rule().label == 0


def test_a_table_beside_the_images_gives_their_classes(tmp_path):
    put(tmp_path, "val/val_annotations.txt", b"v0.JPEG\tn02\t0\t0\t9\t9\nv1.JPEG\tn01\t0\t0\t9\t9\n\n")
    seen = Folders()
    seen.add([b"train/n01/images/a.JPEG", b"val/images/v0.JPEG"])
    told = folder_labels(str(tmp_path), seen.rule())
    assert told.kind == "annotated splits"
    keys = [b"train/n01/images/a.JPEG", *(b"val/images/v%d.JPEG" % number for number in range(3))]
    assert told.of(keys)[0] == [b"n01", b"n02", b"n01", None]


@pytest.mark.parametrize(
    ("text", "said"), [(b"v0.JPEG n02\n", "line 1: expected"), (b"a\tx\na\ty\n", "with x and with y")]
)
def test_a_table_that_is_none_is_refused(tmp_path, text, said):
    put(tmp_path, "val/val_annotations.txt", text)
    seen = Folders()
    seen.add([b"train/n01/images/a.JPEG", b"val/images/v0.JPEG"])
    with pytest.raises(DatasetError, match=said):
        folder_labels(os.fspath(tmp_path), seen.rule())
