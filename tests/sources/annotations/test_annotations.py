"""Folders with annotations, laid out as their owners lay them out."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.fields import Listed
from tests.trees import picture, put
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError
from tiering.sources.annotations.json_elements import elements
from tiering.sources.annotations.voc import parse_xml
from tiering.sources.annotations.yolo import class_names, parse_labels
from tiering.sources.fields import FieldsWarning


def json_values(listed: Listed, name: str) -> list[Any]:
    return [None if value is None else json.loads(value) for value in listed.values(name)]


def write(folder: Path, name: str, content: Any) -> None:
    put(folder, name, json.dumps(content).encode())


def coco(folder: Path) -> Path:
    """COCO 2017 in miniature: three images in train2017, one in val2017."""
    images = {"train2017": [1, 2, 3], "val2017": [4]}
    for split, numbers in images.items():
        for number in numbers:
            put(folder, f"{split}/{number:012d}.jpg", picture(10 + number, 10))
        about = [
            {"license": 1, "file_name": f"{number:012d}.jpg", "height": 10, "width": 10 + number, "id": number}
            for number in numbers
        ]
        head = {"info": {"year": 2017}, "licenses": [{"id": 1, "name": "CC"}], "images": about}
        boxes = [
            {"segmentation": [[1.5, 2, 3, 4]], "area": 2.5, "iscrowd": 0, "image_id": number, "bbox": [1, 2, 3, 4.5],
             "category_id": 18, "id": number * 10 + at}
            for at in range(2) for number in numbers if number != 2
        ]  # fmt: skip
        categories = [{"supercategory": "animal", "id": 18, "name": "dog"}, {"id": 44, "name": "bottle"}]
        write(folder, f"annotations/instances_{split}.json", head | {"annotations": boxes, "categories": categories})
        captions = [{"image_id": number, "id": at, "caption": f"{at} ä"} for number in numbers for at in range(5)]
        write(folder, f"annotations/captions_{split}.json", head | {"annotations": captions})
    return folder


def test_coco_has_boxes_and_captions_from_the_directory_of_all_splits(tmp_path):
    listed = Listed(coco(tmp_path / "coco"))
    assert listed.source.kind == "coco"
    assert listed.kinds == {"image_info": "json", "captions": "json", "objects": "json"}
    assert listed.keys[0] == b"train2017/000000000001.jpg"
    assert listed.rows["split"].to_list() == ["train", "train", "train", "val"]
    assert set(listed.labels) == {None}
    objects = json_values(listed, "objects")
    assert [len(each) for each in objects] == [2, 0, 2, 2]
    assert objects[0][1] == {
        "segmentation": [[1.5, 2, 3, 4]], "area": 2.5, "iscrowd": 0, "bbox": [1, 2, 3, 4.5], "category_id": 18, "id": 11,
        "category": "dog",
    }  # fmt: skip
    assert json_values(listed, "captions")[1] == [f"{at} ä" for at in range(5)]
    assert json_values(listed, "image_info")[3]["id"] == 4


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_one_split_of_coco_finds_its_annotations_beside_it(tmp_path, split):
    listed = Listed(coco(tmp_path / "coco") / split)
    assert listed.keys[0].startswith(b"00000000000")
    assert listed.kinds == {"image_info": "json", "captions": "json", "objects": "json"}
    assert set(listed.rows["split"]) == {split[:-4]}
    assert len(json_values(listed, "objects")[0]) == 2


def test_a_document_can_be_given_itself(tmp_path, program):
    place = coco(tmp_path / "coco")
    listed = Listed(place / "annotations/captions_val2017.json")
    assert [key for key, each in zip(listed.keys, json_values(listed, "captions"), strict=True) if each] == [
        b"val2017/000000000004.jpg"
    ]
    document = (place / "annotations/instances_train2017.json").rename(tmp_path / "boxes.json")
    with pytest.raises(DatasetError, match=r"boxes\.json: its images are neither beside it.*`root` DIRECTORY"):
        Listed(document)
    done = program("convert", document, tmp_path / "store", "--to", "lmdb", "--root", place / "train2017")
    assert done.returncode == 0, done.stderr
    store = tiering.open_store(tmp_path / "store")
    assert sorted(map(len, store.read_field("boxes", np.arange(3)))) == [0, 2, 2]
    assert tiering.verify(tmp_path / "store", source=document).ok
    assert profile_dataset(tiering.TableSource(document, root=place / "train2017")).files == 3


def test_convert_profile_and_verify_take_coco(tmp_path):
    place = coco(tmp_path / "coco")
    manifest = tiering.convert(place, tmp_path / "store", "lmdb", workers=1)
    store = tiering.open_store(tmp_path / "store")
    (at,) = [number for number in range(4) if store[number].key.endswith("1.jpg")]
    assert store.read_field("objects", np.array([at]))[0][0]["category"] == "dog"
    assert tiering.verify(tmp_path / "store", source=place).ok
    profile = profile_dataset(place, sample="all")
    assert profile.arrangement == "Images with annotations of COCO."
    assert profile.account == manifest.account
    assert manifest.account.left_out["label file"].count == 4


def test_images_that_are_not_there_are_errors_and_documents_without_any_are_named(tmp_path):
    place = coco(tmp_path / "coco")
    (place / "train2017/000000000002.jpg").unlink()
    write(place, "annotations/image_info_test2017.json", {"images": [{"file_name": "9.jpg", "id": 9}]})
    with pytest.warns(FieldsWarning, match="image_info_test2017.json is left out: its first image is not below"):
        listed = Listed(place)
    assert listed.ledger.left_out.kinds["label without an image"].examples == [
        "train2017/000000000002.jpg (its image is not there)"
    ]


def test_an_export_of_roboflow_has_its_annotations_in_the_folder(tmp_path):
    put(tmp_path, "train/a.jpg")
    about = {"images": [{"id": 0, "file_name": "a.jpg"}], "categories": [{"id": 0, "name": "cat"}]}
    annotations = [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [1, 2, 3, 4]}]
    write(tmp_path, "train/_annotations.coco.json", about | {"annotations": annotations})
    listed = Listed(tmp_path / "train")
    assert json_values(listed, "objects") == [[{"id": 0, "category_id": 0, "bbox": [1, 2, 3, 4], "category": "cat"}]]


def test_inaturalist_has_a_class_for_each_image(tmp_path):
    store, tmp_path = tmp_path / "store", tmp_path / "inat"
    names = [f"train_val2019/Birds/{number}/{number}.jpg" for number in range(4)]
    for number, name in enumerate(names):
        put(tmp_path, name, picture(10 + number, 10))
    categories = [
        {"id": number, "name": name, "supercategory": "Birds"} for number, name in enumerate(["wren", "auk", "jay"])
    ]
    for split, numbers in (("train", (0, 1, 2)), ("val", (3,))):
        write(
            tmp_path, f"{split}2019.json",
            {
                "info": {"year": 2019},
                "images": [{"id": 7 + number, "file_name": names[number], "latitude": 1.5} for number in numbers],
                "categories": categories,
                "annotations": [{"id": n, "image_id": 7 + n, "category_id": [0, 2, 2, 1][n]} for n in numbers],
            },
        )  # fmt: skip
    manifest = tiering.convert(tmp_path, store, "lmdb", workers=1)
    assert (manifest.labels, manifest.splits) == (["wren", "auk", "jay"], ["train", "val"])
    listed = Listed(tmp_path)
    assert listed.labels == ["wren", "jay", "jay", "auk"]
    assert listed.kinds == {"image_info": "json"}
    assert json_values(listed, "image_info")[0] == {"id": 7, "file_name": names[0], "latitude": 1.5}


VOC = """<annotation><folder>VOC2012</folder><filename>{stem}.jpg</filename>
<size><width>500</width><height>375</height><depth>3</depth></size><segmented>1</segmented>
<object><name>dog</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<bndbox><xmin>52.5</xmin><ymin>86</ymin><xmax>470</xmax><ymax>420</ymax></bndbox></object></annotation>"""


def voc(folder: Path) -> Path:
    for number, stem in enumerate(("2007_000027", "2007_000032", "2008_000001")):
        put(folder, f"JPEGImages/{stem}.jpg", picture(10 + number, 10))
        put(folder, f"Annotations/{stem}.xml", VOC.format(stem=stem).encode())
    put(folder, "SegmentationClass/2007_000027.png", picture(10, 10, "PNG"))
    put(folder, "ImageSets/Main/train.txt", b"2007_000027\n")
    put(folder, "ImageSets/Main/val.txt", b"2007_000032\n")
    put(folder, "ImageSets/Main/trainval.txt", b"2007_000027\n2007_000032\n")
    put(folder, "ImageSets/Main/dog_train.txt", b"2007_000027 -1\n")
    return folder


def test_voc_has_objects_masks_and_splits(tmp_path):
    listed = Listed(voc(tmp_path / "VOC2012"))
    assert listed.source.kind == "voc"
    assert listed.kinds == {"objects": "json", "image_info": "json", "class_mask": "image"}
    assert listed.keys[0] == b"JPEGImages/2007_000027.jpg"
    assert listed.rows["split"].to_list() == ["train", "val", None]
    assert json_values(listed, "objects")[0] == [
        {"name": "dog", "pose": "Left", "truncated": 1, "difficult": 0,
         "bndbox": {"xmin": 52.5, "ymin": 86, "xmax": 470, "ymax": 420}}
    ]  # fmt: skip
    assert json_values(listed, "image_info")[0]["size"] == {"width": 500, "height": 375, "depth": 3}
    assert listed.files("class_mask") == [picture(10, 10, "PNG"), None, None]
    manifest = tiering.convert(tmp_path / "VOC2012", tmp_path / "store", "lmdb", workers=1)
    assert manifest.samples == 3
    left_out = manifest.account.left_out
    assert {kind: left_out[kind].count for kind in left_out} == {"label file": 6, "not an image": 1}
    assert left_out["not an image"].examples[0].startswith("ImageSets/Main/dog_train.txt")
    assert tiering.verify(tmp_path / "store", source=tmp_path / "VOC2012").ok


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("VOCdevkit", "VOC2012"),
        pytest.param("", "VOCdevkit/VOC2012", marks=pytest.mark.slow),
        pytest.param("", "VOC2012_train_val/VOC2012_train_val", marks=pytest.mark.slow),
    ],
)
def test_the_directory_above_one_year_of_voc_stands_for_it_and_says_so(tmp_path, program, above, below):
    voc(tmp_path / "data" / above / below)
    put(tmp_path / "data" / above, "VOCcode/VOCinit.m", b"matlab")
    given = tmp_path / "data" / above
    with pytest.warns(UserWarning, match=f"Pascal VOC in {below}"):
        assert Listed(given).source.kind == "voc"
    done = program("convert", given, tmp_path / "store", "--to", "lmdb")
    assert done.returncode == 0, done.stderr
    assert f"Pascal VOC in {below}" in done.stderr
    with pytest.warns(UserWarning, match=f"Pascal VOC in {below}"):
        assert tiering.verify(tmp_path / "store", source=given).ok
    assert tiering.verify(tmp_path / "store", source=given / below).ok
    assert tiering.open_store(tmp_path / "store").manifest.source.url == str(given / below)
    done = program("profile", given)
    assert f"Pascal VOC in {below}" in done.stderr
    assert "object" in done.stdout


def test_several_years_of_voc_are_named_and_can_be_appended(tmp_path):
    voc(tmp_path / "VOCdevkit/VOC2012")
    for path in sorted(voc(tmp_path / "VOCdevkit/VOC2007").glob("*/*.*")):
        path.rename(path.with_name(f"0{path.name}"))
    with pytest.raises(DatasetError, match=r"VOCdevkit: .*VOC2007 and VOC2012.*tiering append"):
        tiering.convert(tmp_path / "VOCdevkit", tmp_path / "store", "lmdb")
    tiering.convert(tmp_path / "VOCdevkit/VOC2007", tmp_path / "store", "lmdb", workers=1)
    assert tiering.append(tmp_path / "VOCdevkit/VOC2012", tmp_path / "store").samples == 6


def test_a_folder_whose_name_only_begins_like_voc_is_a_class(tmp_path):
    put(tmp_path, "vocals/1.jpg")
    put(tmp_path, "drums/1.jpg")
    assert Listed(tmp_path).source.kind == "folder"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"<annotation><object>", "no element found|unclosed"),
        (b'<!DOCTYPE a [<!ENTITY b "ccc">]><a>&b;</a>', "entities of its own"),
        (b"<a>" * 50 + b"</a>" * 50, "nested more than 16"),
        (b"", "no element found"),
    ],
)
def test_an_annotation_that_is_no_plain_xml_is_refused(tmp_path, text, said):
    place = voc(tmp_path / "VOC2012")
    put(place, "Annotations/2007_000032.xml", text)
    with pytest.raises(DatasetError, match=rf"Annotations/2007_000032\.xml: expected an annotation.*({said})"):
        Listed(place)


@given(st.binary(max_size=80) | st.text("<>/ab&;![]\"'? =", max_size=60).map(str.encode))
def test_any_bytes_are_xml_or_a_value_error(data):
    with suppress(ValueError):
        assert isinstance(parse_xml(data), dict)


def yolo(folder: Path, *, inside: bool) -> Path:
    for split in ("train", "val"):
        for number in range(2):
            images, labels = (
                (f"{split}/images", f"{split}/labels") if inside else (f"images/{split}", f"labels/{split}")
            )
            put(folder, f"{images}/{split}{number}.jpg", picture(10 + number, 10))
            text = b"1 0.5 0.5 0.25 0.75\n0 0.1 0.1 0.2 0.1 0.2 0.2\n" if number == 0 else b""
            put(folder, f"{labels}/{split}{number}.txt", text)
    put(folder, "images/val/bare.jpg" if not inside else "val/images/bare.jpg", picture(30, 10))
    put(folder, "data.yaml", b"train: images/train\nnc: 2\nnames: ['cat', \"dog\"]\n")
    return folder


@pytest.mark.parametrize("inside", [False, True])
def test_yolo_has_objects(tmp_path, inside):
    listed = Listed(yolo(tmp_path / "yolo", inside=inside))
    assert listed.source.kind == "yolo"
    assert sorted(listed.rows["split"]) == ["train"] * 2 + ["val"] * 3
    objects = dict(zip(listed.keys, json_values(listed, "objects"), strict=True))
    first = b"train/images/train0.jpg" if inside else b"images/train/train0.jpg"
    assert objects[first] == [
        {"class": 1, "name": "dog", "box": [0.5, 0.5, 0.25, 0.75]},
        {"class": 0, "name": "cat", "polygon": [0.1, 0.1, 0.2, 0.1, 0.2, 0.2]},
    ]
    assert objects[first.replace(b"train0", b"train1")] == []
    assert [value for key, value in objects.items() if b"bare" in key] == [None]
    assert {kind: each.count for kind, each in listed.ledger.left_out.kinds.items()} == {"label file": 5}


def test_yolo_takes_names_that_are_not_utf8(tmp_path):
    place = yolo(tmp_path / "yolo", inside=False)
    (place / "data.yaml").unlink()
    put(place, "classes.txt", b"caf\xe9\ndog\n")
    names = {each["name"] for objects in json_values(Listed(place), "objects") for each in objects or ()}
    assert names == {"caf\N{REPLACEMENT CHARACTER}", "dog"}


@pytest.mark.parametrize(
    "line", [b"x 1 2 3 4", b"1 2 3", b"-1 0 0 1 1", b"1.5 0 0 1 1", b"nan 0 0 1 1", b"1e999 0 0 1 1"]
)
def test_a_line_that_is_no_object_is_refused_with_its_file(tmp_path, line):
    place = yolo(tmp_path / "yolo", inside=False)
    put(place, "labels/val/val1.txt", line)
    with pytest.raises(DatasetError, match=r"labels/val/val1\.txt: expected a class and coordinates"):
        Listed(place)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [a, 'b c', \"d\"]", ["a", "b c", "d"]),
        ("names: [\n  'a',\n  b,\n]\n", ["a", "b"]),
        ("nc: 2\nnames:\n- a\n- b\nother: 1", ["a", "b"]),
        ("names:\n  0: person\n  # a comment\n  2: 'car' # four wheels\n\ntrain: x", ["person", "1", "car"]),
        ("nc: 2", []),
        ("names: []", []),
    ],
)
def test_names_of_classes_are_read_in_all_usual_forms(text, names):
    assert class_names(text) == names


@given(st.text(max_size=60), st.binary(max_size=60))
def test_any_text_has_names_or_none_and_labels_or_a_value_error(text, data):
    assert all(isinstance(name, str) for name in class_names("names:" + text))
    with suppress(ValueError):
        parse_labels(data, ["a"])


ATTRIBUTES = ["5_o_Clock_Shadow", "Smiling", "Young"]


@pytest.mark.parametrize("form", ["txt", "csv", "Anno"])
def test_celeba_has_a_field_for_each_attribute(tmp_path, form):
    store, tmp_path = tmp_path / "store", tmp_path / "celeba"
    for number in range(3):
        put(tmp_path, f"img_align_celeba/00000{number}.jpg", picture(10 + number, 10))
    rows = [[1, -1, 1], [-1, -1, -1], [1, 1, 1]]
    below = "Anno/" if form == "Anno" else ""
    names = [f"00000{number}.jpg" for number in range(3)]
    if form == "csv":
        lines = [
            "image_id," + ",".join(ATTRIBUTES),
            *(f"{name},{','.join(map(str, row))}" for name, row in zip(names, rows, strict=True)),
        ]
        put(tmp_path, "list_attr_celeba.csv", "\n".join(lines).encode())
        split = b"image_id,partition\n000000.jpg,0\n000001.jpg,1\n000002.jpg,2\n"
        put(tmp_path, "list_eval_partition.csv", split)
    else:
        lines = [
            "3",
            " ".join(ATTRIBUTES),
            *(f"{name} {'  '.join(map(str, row))}" for name, row in zip(names, rows, strict=True)),
        ]
        put(tmp_path, f"{below}list_attr_celeba.txt", "\r\n".join(lines).encode())
        put(
            tmp_path,
            f"{'Eval/' if below else ''}list_eval_partition.txt",
            b"000000.jpg 0\n000001.jpg 1\n000002.jpg 2\n",
        )
        put(tmp_path, f"{below}identity_CelebA.txt", b"000000.jpg 2880\n000001.jpg 7\n000002.jpg 7\n")
        boxes = b"3\nimage_id x_1 y_1 width height\n000000.jpg 95 71 226 313\n000001.jpg 1 2 3 4\n000002.jpg 5 6 7 8\n"
        put(tmp_path, f"{below}list_bbox_celeba.txt", boxes)
    listed = Listed(tmp_path)
    assert listed.source.kind == "celeba"
    assert listed.rows["split"].to_list() == ["train", "val", "test"]
    assert listed.values("Smiling") == [b"-1", b"-1", b"1"]
    assert listed.kinds["5_o_Clock_Shadow"] == "integer"
    if form != "csv":
        assert listed.values("identity") == [b"2880", b"7", b"7"]
        assert np.load(io.BytesIO(listed.values("box")[0] or b"")).tolist() == [95, 71, 226, 313]
    manifest = tiering.convert(tmp_path, store, "lmdb", workers=1)
    assert manifest.samples == 3
    assert {kind: each.count for kind, each in manifest.account.left_out.items()} == {
        "label file": 2 if form == "csv" else 4
    }


@settings(max_examples=examples(60))
@given(
    st.dictionaries(st.text(max_size=5), st.lists(st.integers() | st.text(max_size=9)) | st.integers(), max_size=4),
    st.integers(1, 9),
    st.booleans(),
)
def test_elements_are_those_of_the_document_however_it_is_read(monkeypatch_pieces, document, piece, is_ascii):
    monkeypatch_pieces(piece)
    found: dict[str, Any] = {}
    for name, value in elements(io.BytesIO(json.dumps(document, ensure_ascii=is_ascii).encode())):
        if isinstance(document[name], list):
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    assert found == {name: value for name, value in document.items() if value != []}


@given(st.binary(max_size=60) | st.text('{}[]":,ab1 ', max_size=40).map(str.encode))
def test_any_bytes_are_elements_or_a_value_error(data):
    with suppress(ValueError):
        list(elements(io.BytesIO(data)))


@pytest.mark.parametrize("data", [b"{" * 100_000, b'{"images": ' + b"[" * 100_000, b'{"images": [{"a": '])
def test_documents_that_are_nested_too_deep_or_cut_are_a_value_error(data):
    with pytest.raises(ValueError, match=r"."):
        list(elements(io.BytesIO(data)))


@pytest.fixture(scope="module")
def monkeypatch_pieces():
    """Sets how many bytes are read at once."""
    from tiering.sources.annotations import json_elements  # noqa: PLC0415

    before = json_elements._PIECE

    def set_to(size: int) -> None:
        json_elements._PIECE = size  # type: ignore[misc]

    yield set_to
    json_elements._PIECE = before  # type: ignore[misc]


@pytest.mark.parametrize(
    "document",
    [
        {"images": [{"id": 1}], "annotations": []},
        {"images": [{"id": "x", "file_name": "a.jpg"}]},
        {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1}]},
        {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": -1, "name": "x"}]},
    ],
)
def test_a_document_that_is_not_coco_is_refused(tmp_path, document):
    put(tmp_path, "images/a.jpg")
    text = json.dumps(document) + ' "images" "file_name"' * ("file_name" not in json.dumps(document))
    put(tmp_path, "annotations/instances.json", text.encode())
    with pytest.raises(DatasetError, match=r"instances\.json: expected annotations in COCO's format"):
        Listed(tmp_path)
