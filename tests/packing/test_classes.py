"""Labels are what the source says: numbers keep their values, and two stores of one dataset agree on their classes."""

from __future__ import annotations

import io
import json
import tarfile
import warnings

import numpy as np
import polars as pl
import pytest

import tiering
from tests.trees import picture, put
from tiering.errors import DatasetError, UsageError
from tiering.packing.class_maps import read_classes
from tiering.sources.labels.classes import ClassMap, LabelsWarning


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    """Nothing is warned of that a test does not expect."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", LabelsWarning)
        yield


def images(root, *keys):
    for key in keys:
        put(root, key, picture())
    return root


def pack(source, store, kind="lmdb", **options):
    return tiering.convert(source, store, kind, workers=1, **options)


def served(store):
    """The number that every sample is served with, by key."""
    opened = tiering.open_store(store)
    loader = tiering.Loader(opened, batch_size=3, shuffle=False)
    return {key: label for batch in loader for key, label in zip(batch.keys, batch.labels.tolist(), strict=True)}


def names(store):
    """The name of every sample's class, by key."""
    classes = tiering.open_store(store).manifest.classes
    return {key: classes.get(label) for key, label in served(store).items()}


@pytest.fixture
def one_based(tmp_path):
    """Images 0 to 6 with the classes 1, 2 and 5, in two tables."""
    root = images(tmp_path / "data", *(f"{number}.jpg" for number in range(7)))
    put(root, "train.csv", b"path,label\n0.jpg,1\n1.jpg,2\n2.jpg,5\n3.jpg,5\n6.jpg,-1\n")
    put(root, "val.csv", b"path,label\n4.jpg,1\n5.jpg,5\n")
    return root


@pytest.mark.parametrize("kind", ["lmdb", "zarr"])
def test_integers_are_served_as_given(one_based, tmp_path, kind):
    with pytest.warns(LabelsWarning, match=r"1 of 5 images have no class, such as 6\.jpg"):
        manifest = pack(one_based / "train.csv", tmp_path / "train", kind)
    assert (manifest.labels, manifest.label_numbers) == (["1", "2", "5"], [1, 2, 5])
    assert manifest.classes == {1: "1", 2: "2", 5: "5"}
    assert served(tmp_path / "train") == {"0.jpg": 1, "1.jpg": 2, "2.jpg": 5, "3.jpg": 5, "6.jpg": -1}
    # The second split, which lacks a class, means the same by the same numbers.
    assert pack(one_based / "val.csv", tmp_path / "val", kind).classes == {1: "1", 5: "5"}
    assert served(tmp_path / "val") == {"4.jpg": 1, "5.jpg": 5}
    assert tiering.verify(tmp_path / "train", source=one_based / "train.csv").ok
    put(one_based, "train.csv", b"path,label\n0.jpg,1\n1.jpg,5\n2.jpg,5\n3.jpg,5\n6.jpg,\n")
    assert tiering.verify(tmp_path / "train", source=one_based / "train.csv").problem_count == 1
    tiering.export(tmp_path / "val", tmp_path / "out")
    assert (tmp_path / "out" / "labels.csv").read_text().split() == ["path,label,split", *_rows(tmp_path / "val")]


def _rows(store):
    return [f"{key},{name}," for key, name in names(store).items()]


def test_appended_integers_keep_their_values_too(one_based, tmp_path):
    pack(one_based / "val.csv", tmp_path / "store")
    manifest = tiering.append(one_based / "train.csv", tmp_path / "store", workers=1)
    assert manifest.classes == {1: "1", 2: "2", 5: "5"}
    assert served(tmp_path / "store") == {
        "4.jpg": 1, "5.jpg": 5, "0.jpg": 1, "1.jpg": 2, "2.jpg": 5, "3.jpg": 5, "6.jpg": -1,
    }  # fmt: skip


def test_numbers_of_folders_are_counted_as_torchvision_does_and_those_of_a_table_are_its_own(tmp_path):
    root = images(tmp_path / "data", "0/x.jpg", "1/x.jpg", "2/x.jpg", "10/x.jpg")
    put(root, "list.csv", b"path,label\n0/x.jpg,0\n1/x.jpg,1\n2/x.jpg,2\n10/x.jpg,10\n")
    assert pack(root, tmp_path / "folders").classes == {0: "0", 1: "1", 2: "10", 3: "2"}
    assert pack(root / "list.csv", tmp_path / "table").classes == {0: "0", 1: "1", 2: "2", 10: "10"}
    assert names(tmp_path / "folders") == names(tmp_path / "table")
    # Either can be given the numbers of the other.
    pack(root, tmp_path / "as-table", classes=tmp_path / "table")
    assert served(tmp_path / "as-table") == served(tmp_path / "table")
    pack(root / "list.csv", tmp_path / "as-folders", classes=tmp_path / "folders")
    assert served(tmp_path / "as-folders") == served(tmp_path / "folders")
    for name, source in (("as-table", root), ("as-folders", root / "list.csv")):
        assert tiering.verify(tmp_path / name, source=source).ok


@pytest.mark.parametrize(("first", "added"), [(["10", "2"], "1"), (["001", "002", "003"], "004"), (["0", "1"], "5")])
def test_appended_folders_are_taken_by_name_though_they_are_digits(tmp_path, first, added):
    pack(images(tmp_path / "data", *(f"{name}/x.jpg" for name in first)), tmp_path / "store")
    more = images(tmp_path / "more", f"{added}/y.jpg")
    assert tiering.append(more, tmp_path / "store", workers=1).classes == dict(enumerate([*first, added]))
    assert names(tmp_path / "store") == {f"{name}/x.jpg": name for name in first} | {f"{added}/y.jpg": added}
    assert served(tmp_path / "store")[f"{added}/y.jpg"] == len(first)


def test_integers_of_a_table_are_not_guessed_at_where_the_store_has_names_of_digits(tmp_path):
    pack(images(tmp_path / "data", "10/x.jpg", "2/x.jpg", "3/x.jpg"), tmp_path / "store")
    root = images(tmp_path / "more", "a.jpg", "b.jpg")
    for text in ("a.jpg,1\nb.jpg,0\n", "a.jpg,1\nb.jpg,2\n"):
        table = put(root, "list.csv", f"path,label\n{text}".encode())
        with pytest.raises(DatasetError, match="may be new names or numbers of classes"):
            tiering.append(table, tmp_path / "store", workers=1)
    table = put(root, "list.csv", b"path,label\na.jpg,-1\nb.jpg,10\n")
    tiering.append(table, tmp_path / "store", workers=1)
    assert [names(tmp_path / "store")[key] for key in ("a.jpg", "b.jpg")] == [None, "10"]


@pytest.fixture
def splits(tmp_path):
    root = images(tmp_path / "data", "train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg", "val/a/1.jpg", "val/c/1.jpg")
    (root / "val" / "b").mkdir()
    return root


def test_a_second_split_whose_classes_differ_is_warned_of(splits, tmp_path):
    pack(splits / "train", tmp_path / "train.lmdb")
    with pytest.warns(LabelsWarning, match=r"differ from those of .*train\.lmdb.*c is 1 here and 2 there.*`classes`"):
        pack(splits / "val", tmp_path / "val.lmdb")
    manifest = pack(splits / "val", tmp_path / "same.lmdb", classes=tmp_path / "train.lmdb")
    assert manifest.classes == {0: "a", 1: "b", 2: "c"}
    assert served(tmp_path / "same.lmdb") == {"a/1.jpg": 0, "c/1.jpg": 2}
    assert tiering.verify(tmp_path / "same.lmdb", source=splits / "val").ok


def test_it_is_warned_of_beside_its_folder_too(splits, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with pytest.warns(LabelsWarning, match=r"data/train, another split beside this one: c is 1 here and 2 there"):
        pack(splits / "val", tmp_path / "elsewhere" / "val")


def test_a_split_without_class_folders_is_not_compared(tmp_path):
    root = images(
        tmp_path / "data", "train/n01/images/1.jpg", "train/n02/images/1.jpg", "val/images/1.jpg", "test/1.jpg"
    )
    (root / "val" / "@eaDir").mkdir()
    assert pack(root / "train", tmp_path / "store").labels == ["n01", "n02"]


@pytest.mark.parametrize("table", [True, False])
def test_splits_with_the_same_classes_are_not(splits, tmp_path, table):
    images(splits, "val/b/1.jpg")
    for name in ("train", "val"):
        rows = "".join(f"{name}/{label}/1.jpg,{label}\n" for label in "cba")
        put(splits, f"{name}.csv", f"path,label\n{rows}".encode())
        pack(splits / (f"{name}.csv" if table else name), tmp_path / name)


def test_tables_of_two_splits_are_compared(splits, tmp_path):
    put(splits, "train.csv", b"path,label\ntrain/a/1.jpg,a\ntrain/b/1.jpg,b\n")
    put(splits, "val.csv", b"path,label\nval/a/1.jpg,b\n")
    pack(splits / "train.csv", tmp_path / "one")
    with pytest.warns(LabelsWarning, match="b is 0 here and 1 there"):
        pack(splits / "val.csv", tmp_path / "two")


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\neel\n",
        "\ufeffcat\r\ndog\r\neel\r\n",
        "name,number\ndog,1\ncat,0\neel,2\n",
        "eel\t2\ndog\t1\ncat\t0\n",
        '{"dog": 1, "cat": 0, "eel": 2}',
        '["cat", "dog", "eel"]',
        '{"0": ["cat", "felis"], "2": ["eel", "x"], "1": ["dog", "y"]}',
    ],
)
def test_a_class_map_may_be_a_file(tmp_path, text):
    path = put(tmp_path, "classes", text.encode())
    assert read_classes(path) == ClassMap(("cat", "dog", "eel"), (0, 1, 2))
    pack(images(tmp_path / "data", "eel/1.jpg", "cat/1.jpg"), tmp_path / "store", classes=path)
    assert served(tmp_path / "store") == {"eel/1.jpg": 2, "cat/1.jpg": 0}


def test_names_of_classes_may_hold_commas(tmp_path):
    path = put(tmp_path, "classes.txt", b"tench, Tinca tinca\ngoldfish\n")
    assert read_classes(path).names == ("tench, Tinca tinca", "goldfish")
    quoted = put(tmp_path, "classes.csv", b'"tench, Tinca tinca",4\ngoldfish,1\n')
    assert read_classes(quoted) == ClassMap(("goldfish", "tench, Tinca tinca"), (1, 4))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no class"), (b"cat\ncat\n", "twice"), (b"cat,1\ndog,1\n", "twice"), (b'{"cat": -1}', "numbers from -1"),
        (b'{"cat": 0.5}', "JSON of another shape"), (b'{"cat"', "invalid JSON"), (b"\xff\xff", "not UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_class_map_is_refused(tmp_path, text, said):
    with pytest.raises(UsageError, match=said):
        read_classes(put(tmp_path, "classes", text))
    with pytest.raises(UsageError, match="nothing at that path"):
        read_classes(tmp_path / "nowhere")


def test_a_class_that_the_map_lacks_is_refused(tmp_path):
    root = images(tmp_path / "data", "eel/1.jpg", "cat/1.jpg")
    path = put(tmp_path, "classes", b"cat\ndog\n")
    with pytest.raises(DatasetError, match="1 that it lacks: eel"):
        pack(root, tmp_path / "store", classes=path)
    assert not (tmp_path / "store.partial").exists()


def test_a_conversion_does_not_go_on_with_other_classes(tmp_path):
    root = images(tmp_path / "data", *(f"{label}/{number}.jpg" for label in "ab" for number in range(9)))

    class StopError(Exception):
        pass

    def stop(samples, of, size):
        if samples:
            raise StopError

    with pytest.raises(StopError):
        pack(root, tmp_path / "store", shards=tiering.Shards(2000), progress=stop)
    path = put(tmp_path, "classes", b"b\na\n")
    with pytest.raises(UsageError, match="classes and splits"):
        pack(root, tmp_path / "store", shards=tiering.Shards(2000), classes=path)
    pack(root, tmp_path / "store", shards=tiering.Shards(2000), classes=path, resume="never")
    assert set(served(tmp_path / "store").values()) == {0, 1}
    assert served(tmp_path / "store")["b/1.jpg"] == 0


def test_measurements_are_refused_with_what_to_do(tmp_path):
    root = images(tmp_path / "data", "0.jpg", "1.jpg")
    table = put(root, "t.csv", b"path,target\n0.jpg,0.25\n1.jpg,10.5\n")
    with pytest.raises(DatasetError, match=r"measurements as labels, such as 0\.25.*`columns` image=path,value=label"):
        pack(table, tmp_path / "store")
    profile = tiering.profile_dataset(table)
    assert profile.labels == {}
    assert "measurements as labels" in profile.notes[-1]
    assert pack(tiering.TableSource(table, columns="image=path,value=target"), tmp_path / "store").labels == []
    with tiering.open_store(tmp_path / "store") as store:
        assert sorted(store.read_field("value", range(2)).tolist()) == [0.25, 10.5]
    # The store knows how its table was read.
    assert tiering.verify(tmp_path / "store", source=table).ok
    pl.DataFrame({"path": ["0.jpg", "1.jpg"], "label": [3.0, float("nan")]}).write_parquet(root / "t.parquet")
    with pytest.warns(LabelsWarning, match="1 of 2 images have no class"):
        assert pack(root / "t.parquet", tmp_path / "other").classes == {3: "3"}


def test_measurements_that_a_class_map_names_are_classes(tmp_path):
    """Stores from before there were class maps have such classes."""
    root = images(tmp_path / "data", "0.jpg", "1.jpg", "2.jpg")
    table = put(root, "t.csv", b"path,label\n0.jpg,1.5\n1.jpg,0.5\n")
    store = tmp_path / "store"
    manifest = pack(table, store, classes=put(tmp_path, "classes", b"0.5\n1.5\n"))
    assert tiering.verify(store, source=table).ok
    put(root, "t.csv", b"path,label\n0.jpg,1.5\n1.jpg,0.5\n2.jpg,2.5\n")
    assert [problem.split(":")[0] for problem in tiering.verify(store, source=table).problems] == ["2.jpg"]
    (store / manifest.shards[0].name).unlink()
    assert tiering.repair(store, source=table, workers=1) == [manifest.shards[0].name]
    assert tiering.append(table, store, workers=1).classes == {0: "0.5", 1: "1.5", 2: "2.5"}
    assert tiering.verify(store, source=table).ok
    # A map of other classes does not make classes of them.
    with pytest.raises(DatasetError, match="measurements as labels"):
        pack(table, tmp_path / "other", classes=put(tmp_path, "others", b"1\n2\n"))


def test_several_classes_of_one_image_are_warned_of(tmp_path):
    root = images(tmp_path / "data", "0.jpg", "1.jpg")
    with pytest.warns(LabelsWarning, match="Labels such as 'a,b' look like several classes"):
        manifest = pack(put(root, "t.csv", b'path,labels\n0.jpg,"a,b"\n1.jpg,b\n'), tmp_path / "store")
    assert manifest.labels == ["a,b", "b"]
    # A name that only has a comma is a name.
    table = put(root, "u.csv", b'path,label\n0.jpg,"tench, Tinca tinca"\n1.jpg,goldfish\n')
    assert len(pack(table, tmp_path / "fish").labels) == 2


def test_a_table_elsewhere_is_read_again_as_it_was(tmp_path):
    root = images(tmp_path / "data", "0.jpg", "1.jpg", "2.jpg")
    table = put(tmp_path, "lists/t.csv", f"{root}/0.jpg,a\n1.jpg,b\n".encode())
    manifest = pack(tiering.TableSource(table, columns="path=0,label=1", root=root), tmp_path / "store")
    assert (manifest.source.root, manifest.source.columns) == (str(root), {"path": "0", "label": "1"})
    assert names(tmp_path / "store") == {"0.jpg": "a", "1.jpg": "b"}
    assert tiering.verify(tmp_path / "store", source=table).ok
    put(tmp_path, "lists/t.csv", f"{root}/0.jpg,a\n1.jpg,b\n2.jpg,a\n".encode())
    assert tiering.append(table, tmp_path / "store", workers=1).samples == 3
    with pytest.raises(UsageError, match="expected a table as the dataset, found a folder"):
        pack(tiering.TableSource(root, root=root), tmp_path / "another")


def test_tiny_imagenet_is_labelled_as_it_is_shipped(tmp_path):
    root = images(
        tmp_path / "data", "train/n02/images/a.JPEG", "train/n01/images/b.JPEG", "val/images/v0.JPEG",
        "val/images/v1.JPEG", "test/images/t.JPEG",
    )  # fmt: skip
    put(root, "val/val_annotations.txt", b"v0.JPEG\tn02\t0\t0\t62\t62\nv1.JPEG\tn01\t0\t0\t62\t62\n")
    with pytest.warns(LabelsWarning, match=r"1 of 5 images have no class, such as test/images/t\.JPEG"):
        manifest = pack(root, tmp_path / "store")
    assert (manifest.labels, manifest.splits) == (["n01", "n02"], ["test", "train", "val"])
    found = {key: label for key, label in served(tmp_path / "store").items() if label >= 0}
    assert found == {
        "train/n02/images/a.JPEG": 1, "train/n01/images/b.JPEG": 0, "val/images/v0.JPEG": 1, "val/images/v1.JPEG": 0,
    }  # fmt: skip
    for sample in ("auto", "all", 50):
        profile = tiering.profile_dataset(root, sample=sample)
        assert (profile.labels, profile.layout) == ({"n01": 2, "n02": 2}, manifest.layout)
    folder = tiering.open_store(root)
    assert (folder.manifest.labels, folder.manifest.splits) == (manifest.labels, manifest.splits)
    assert folder.manifest.layout == manifest.layout
    # What the paths do not tell comes out as a table.
    tiering.export(tmp_path / "store", tmp_path / "out")
    with pytest.warns(LabelsWarning, match="1 of 5"):
        pack(tmp_path / "out" / "labels.csv", tmp_path / "again")
    assert served(tmp_path / "again") == served(tmp_path / "store")


@pytest.mark.parametrize("name", ["val", "tiny"])
@pytest.mark.parametrize("images_in", ["images/", ""])
def test_a_split_of_tiny_imagenet_that_is_packed_alone_has_its_labels(tmp_path, name, images_in):
    root = images(tmp_path / name, f"{images_in}v0.JPEG", f"{images_in}v1.JPEG")
    put(root, "val_annotations.txt", b"v0.JPEG\tn02\t0\t0\t62\t62\nv1.JPEG\tn01\t0\t0\t62\t62\n")
    manifest = pack(root, tmp_path / "store")
    assert names(tmp_path / "store") == {f"{images_in}v0.JPEG": "n02", f"{images_in}v1.JPEG": "n01"}
    profile = tiering.profile_dataset(root)
    assert (profile.labels, profile.layout) == ({"n01": 1, "n02": 1}, manifest.layout)
    assert profile.arrangement == "A split with a table of classes: 2 labels."
    folder = tiering.open_store(root).manifest
    assert (folder.labels, folder.splits, folder.layout) == (["n01", "n02"], [], manifest.layout)
    tiering.export(tmp_path / "store", tmp_path / "out")
    pack(tmp_path / "out" / "labels.csv", tmp_path / "again")
    assert served(tmp_path / "again") == served(tmp_path / "store")


def test_one_tar_for_each_class_gives_the_classes(tmp_path):
    for name in ("n01484850", "n01440764"):
        with tarfile.open(put(tmp_path, f"tars/{name}.tar", b""), "w") as archive:
            for number in range(2):
                about = tarfile.TarInfo(f"{name}_{number}.JPEG")
                about.size = len(picture())
                archive.addfile(about, io.BytesIO(picture()))
    manifest = pack(tmp_path / "tars", tmp_path / "store")
    assert manifest.classes == {0: "n01440764", 1: "n01484850"}
    assert names(tmp_path / "store") == {key: key.split("/")[0] for key in served(tmp_path / "store")}
    profile = tiering.profile_dataset(tmp_path / "tars")
    assert profile.labels == {"n01440764": 2, "n01484850": 2}
    assert profile.arrangement == "Class tars: 2 tar files, one for each of 2 labels."


def test_names_with_dots_never_lose_their_labels_in_silence(tmp_path):
    path = put(tmp_path, "dots.tar", b"")
    with tarfile.open(path, "w") as archive:
        for name, data in (
            ("22.05.jpg", picture()),
            ("22.05.cls", b"3"),
            ("22.06.jpg", picture()),
            ("22.06.cls", b"4"),
        ):
            about = tarfile.TarInfo(f"a/{name}")
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    pack(path, tmp_path / "store")
    assert served(tmp_path / "store") == {"a/22.05.jpg": 3, "a/22.06.jpg": 4}


def hugging_face(root):
    root.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": picture(), "path": f"{number}.jpg"} for number in range(4)]
    frame = pl.DataFrame({"image": rows, "label": [0, 1, 2, 1]})
    frame.write_parquet(root / "train-00000-of-00001.parquet")
    return root


@pytest.mark.parametrize("below", ["", "data", "default/train"])
def test_profile_and_convert_take_files_of_hugging_face_wherever_they_are(tmp_path, below):
    shard = next(hugging_face(tmp_path / "hf" / below).iterdir())
    for at, place in enumerate((shard, tmp_path / "hf")):
        manifest = pack(place, tmp_path / f"store{at}")
        assert (manifest.samples, manifest.splits, manifest.account.left_out) == (4, ["train"], {})
        assert [number for _, number in sorted(served(tmp_path / f"store{at}").items())] == [0, 1, 2, 1]
        assert tiering.profile_dataset(place).labels == {"0": 1, "1": 2, "2": 1}


SOURCES = {
    "folders": ["cat/1.jpg", "dog/2.jpg", "loose.jpg"],
    "splits": ["train/cat/1.jpg", "val/dog/2.jpg", "note.jpg"],
    "bare": ["train/cat/1.jpg", "val/2.jpg"],
    "images": ["images/cat/1.jpg", "images/dog/2.jpg"],
    "deep": ["ILSVRC/Data/CLS-LOC/train/n02/1.JPEG", "ILSVRC/Data/CLS-LOC/val/2.JPEG"],
    "flat": ["1.jpg", "2.jpg"],
    "numbers": ["1/a.jpg", "10/a.jpg", "2/a.jpg"],
    "odd": ["caf\udce9/1.jpg", "b/2.jpg"],
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.filterwarnings("ignore::tiering.sources.labels.classes.LabelsWarning")
def test_a_profile_a_folder_and_a_store_agree(tmp_path, source):
    root = images(tmp_path / "data", *SOURCES[source])
    warnings.simplefilter("ignore", LabelsWarning)
    manifest = pack(root, tmp_path / "store")
    folder = tiering.open_store(root).manifest
    assert (folder.classes, folder.splits, folder.layout) == (manifest.classes, manifest.splits, manifest.layout)
    counted = dict.fromkeys(manifest.labels, 0)
    for name in names(tmp_path / "store").values():
        if name is not None:
            counted[name] += 1
    for sample in ("auto", "all", 2):
        profile = tiering.profile_dataset(root, sample=sample)
        assert (profile.labels, profile.layout) == (counted, manifest.layout)


def test_the_command_line_takes_classes_columns_and_root(program, splits, tmp_path):
    train, val = tmp_path / "train.lmdb", tmp_path / "val.lmdb"
    pack(splits / "train", train)
    done = program("convert", splits / "val", val, "--to", "lmdb")
    assert done.returncode == 0
    assert "Warning: The classes differ" in done.stderr
    done = program("convert", splits / "val", val, "--to", "lmdb", "--overwrite", "--classes", train, "--json")
    assert done.stderr == ""
    manifest = json.loads(done.stdout)
    assert dict(zip(manifest["labels"], manifest["label_numbers"], strict=True)) == {"a": 0, "b": 1, "c": 2}
    table = put(tmp_path, "lists/t.csv", b"17,train/a/1.jpg,4\n18,train/b/1.jpg,9\n")
    chosen = ("--columns", "path=1,label=2", "--root", splits)
    assert "with 2 labels." in program("profile", table, *chosen).stdout
    done = program("convert", table, tmp_path / "t.zarr", "--to", "zarr", *chosen)
    assert done.returncode == 0, done.stderr
    assert tiering.verify(tmp_path / "t.zarr", source=table).ok
    assert "0 a, 1 b, 2 c" in program("info", val).stdout
    assert np.asarray(tiering.open_store(tmp_path / "t.zarr").index.label).tolist() in ([4, 9], [9, 4])
