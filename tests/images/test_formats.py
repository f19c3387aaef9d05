"""What a file is, by its first bytes or its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trees import picture
from tiering.images.formats import HEAD, format_of
from tiering.sources.trees.contents import look_at_head


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "DDS", "QOI", "SGI", "ICO"]
)
def test_an_image_is_known_by_its_beginning_whatever_its_name(kind):
    head = picture(40, 40, kind)[:HEAD]
    assert format_of(head) == kind
    assert look_at_head(head, b"download") == ("", "")


@pytest.mark.parametrize(
    "text",
    [b"", b"words", b"BMW drives", b"P5 is a letter", b"P1 ", b"%PDF-1.7", b"PK\x03\x04", b"\x89HDF\r\n", b"RIFF0000WAVE",
     b"\0\0\0\x18ftypmp42", b"\0\0\1\0\1\0", b"ID3\x04", b"<html>", b"<?xml version='1.0'?><annotation/>"],
)  # fmt: skip
def test_what_is_no_image_is_taken_for_none(text):
    assert look_at_head(text, b"x.dat") == ("not an image", "")


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (b"MM\0*", b"x.NEF", "image of a format that is not packed"),
        (b"II*\0\x10\0\0\0CR\2", b"x", "image of a format that is not packed"),
        (b"\0\0\0\x18ftypcrx ", b"x", "image of a format that is not packed"),
        (b"<?xml version='1.0'?>\n<!-- by hand --><svg >", b"x", "image of a format that is not packed"),
        (b"\0" * 128 + b"DICM", b"x", "image of a format that is not packed"),
        (b"version https://git-lfs.github.com/spec/v1\n", b"x.bin", "content not fetched"),
        (b"../../.git/annex/objects/a/b/MD5E-s1--c.jpg", b"x", "content not fetched"),
        (b"version https://git-lfs.github.com/spec/v1\n", b"t.tga", "content not fetched"),
        (b"version https://git-lfs.github.com/spec/v1\n", b"x.dcm", "content not fetched"),
        (b"\xff\xd8\xff", b"photo.svg", ""),
    ],
)
def test_what_is_meant_to_be_an_image_is_named(head, name, kind):
    assert look_at_head(head, name)[0] == kind


@given(st.binary(max_size=HEAD), st.binary(max_size=8))
def test_any_bytes_have_an_answer(head, name):
    assert isinstance(look_at_head(head, name), tuple)
