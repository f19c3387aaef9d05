"""Patterns that lead from an image to the file of its field."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.errors import UsageError
from tiering.sources.trees.field_patterns import images_folder, parse_patterns


def key_of(pattern: str, image: str, folder: str = "") -> str | None:
    """Return the key of an image's field. folder: the images' directory, below the one that holds the field's."""
    (parsed,) = parse_patterns({"mask": pattern})
    found = parsed.key_of(image.encode(), lambda above: above + folder.encode())
    if found is not None:
        assert re.fullmatch(parsed.regex(), found)
    return None if found is None else found.decode()


def test_the_stem_is_the_path_below_the_images_directory_and_the_name_its_last_part():
    assert key_of("masks/{stem}.png", "images/a/1.b.jpg", "images/") == "masks/a/1.b.png"
    assert key_of("masks/{name}.png", "images/a/1.jpg", "images/") == "masks/1.png"
    assert key_of("masks/{stem}.png", "cat/1.jpg") == "masks/cat/1.png"
    assert key_of("masks/m_{name}.npy", "1.jpg") == "masks/m_1.npy"
    assert key_of("{stem}_mask.png", "cat/1.jpg") == "cat/1_mask.png"
    assert key_of("masks/{stem}.png", "other/1.jpg", "images/") is None


def test_an_ending_of_the_stem_is_replaced_and_an_image_without_it_has_no_field():
    city = "gtFine/{stem%_leftImg8bit}_gtFine_labelIds.png"
    image = "leftImg8bit/train/aachen/aachen_0_0_leftImg8bit.png"
    assert key_of(city, image, "leftImg8bit/") == "gtFine/train/aachen/aachen_0_0_gtFine_labelIds.png"
    assert key_of(city, "leftImg8bit/train/1.png", "leftImg8bit/") is None


def test_a_star_is_one_directory_for_image_and_field():
    assert key_of("*/masks/{stem}.png", "train/images/a/1.jpg", "images/") == "train/masks/a/1.png"
    assert key_of("data/*/masks/{stem}.png", "data/val/images/1.jpg", "images/") == "data/val/masks/1.png"
    assert key_of("*/masks/{stem}.png", "1.jpg") is None
    assert key_of("data/*/masks/{stem}.png", "more/val/images/1.jpg", "images/") is None


def test_the_images_directory_is_the_one_called_so_or_the_only_one():
    def folder(*names: str) -> str:
        return images_folder([name.encode() for name in names], {b"masks/"}).decode()

    assert folder("images/", "masks/", "docs/", "README.md") == "images/"
    assert folder("JPEGImages/", "SegmentationObject/", "Annotations/") == "JPEGImages/"
    assert folder("photos/", "masks/", ".git/", "@eaDir/") == "photos/"
    assert folder("photos/", "masks/", "1.jpg") == ""
    assert folder("cat/", "dog/", "masks/") == ""


def test_a_field_is_announced_with_the_name_of_a_file_beside_the_image():
    for pattern, kind, suffix in (
        ("masks/{stem}.png", "image", "mask.png"), ("a/{name}_x.json", "json", "mask.json"), ("a/{stem}", "bytes", "mask"),
    ):  # fmt: skip
        (parsed,) = parse_patterns({"mask": pattern})
        assert (parsed.found.kind, parsed.found.suffix) == (kind, suffix)
        assert pattern in parsed.found.description


@pytest.mark.parametrize("pattern", [
    "masks/1.png", "{stem}", "../masks/{stem}.png", "/masks/{stem}.png", "a//{stem}.png", "{stem}/{name}.png",
    "masks/{path}.png", "masks/*.png", "*/{stem}.png", "masks/{stem}/../x.png", "ma*sks/{stem}.png", "{stem%}.png", "",
])  # fmt: skip
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(UsageError, match=r"a path below the dataset with one \{stem\} or \{name\}"):
        parse_patterns({"mask": pattern})


@pytest.mark.parametrize("name", ["label", "image", "a b", "", "x" * 65])
def test_what_is_no_name_of_a_field_is_refused(name):
    with pytest.raises(UsageError, match="a name of letters, digits, - and _"):
        parse_patterns({name: "masks/{stem}.png"})


@given(st.text(max_size=20))
def test_any_text_is_a_pattern_or_refused(text):
    try:
        (pattern,) = parse_patterns({"mask": text})
    except UsageError:
        return
    assert b".." not in pattern.directory.split(b"/")
    found = pattern.key_of(b"images/1.jpg", lambda _: b"images/")
    assert found is None or re.fullmatch(pattern.regex(), found, re.DOTALL)
