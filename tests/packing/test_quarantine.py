"""Quarantine: regular files below the source, with their mode, and nothing that a link leads to elsewhere."""

from __future__ import annotations

import os
import stat

import pytest

import tiering
from tests.packing.test_convert_sources import webdataset
from tests.trees import picture, put
from tiering.testing import tree

SECRET = b"root:$y$j9T$secret"


def quarantined(source, place, kind="lmdb"):
    tiering.convert(source, place / "store", kind, on_error="quarantine")
    return tree(place / "store" / "quarantine")


@pytest.fixture
def source(tmp_path):
    """A source with one good image, and a directory beside it with what is nobody's business."""
    put(tmp_path / "source", "good.png", picture(format="PNG"))
    put(tmp_path / "private", "shadow", SECRET)
    put(tmp_path / "private", "shadow.jpg", SECRET)
    return tmp_path / "source"


def test_links_that_lead_out_of_the_source_are_not_copied(source, tmp_path, caplog):
    (source / "link.jpg").symlink_to(tmp_path / "private" / "shadow")
    (source / "relative.jpg").symlink_to("../private/shadow")
    (source / "folder").symlink_to(tmp_path / "private")
    (source / "way.jpg").symlink_to("folder/shadow")
    put(source, "bad.jpg", b"junk")
    assert quarantined(source, tmp_path) == {b"bad.jpg": b"junk"}
    assert "4 images could not be copied into the quarantine: " in caplog.text
    listed = (tmp_path / "store" / "left-out.tsv").read_text()
    for name in ("link.jpg", "relative.jpg", "folder/shadow.jpg", "way.jpg", "bad.jpg"):
        assert f"{name}\t" in listed


def test_a_link_within_the_source_is_as_good_as_its_file(source, tmp_path):
    put(source, "deep/bad.jpg", b"junk")
    (source / "link.jpg").symlink_to("deep/bad.jpg")
    (tmp_path / "alias").symlink_to(source)
    assert quarantined(tmp_path / "alias", tmp_path) == {b"deep/bad.jpg": b"junk", b"link.jpg": b"junk"}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o4755, 0o400])
def test_a_copy_is_no_more_readable_than_the_file(source, tmp_path, mode):
    put(source, "bad.jpg", b"junk").chmod(mode)
    assert quarantined(source, tmp_path, "zarr") == {b"bad.jpg": b"junk"}
    copy = tmp_path / "store" / "quarantine" / "bad.jpg"
    assert stat.S_IMODE(copy.stat().st_mode) == mode & 0o777


def test_a_table_and_names_of_any_kind(source, tmp_path):
    names = [b"new\nline.jpg", b"\x1b[31m.jpg", b"sub/ [x].jpg"]
    for name in names:
        put(source, name, b"junk")
    (source / "out.jpg").symlink_to(tmp_path / "private" / "shadow")
    assert quarantined(source, tmp_path) == dict.fromkeys(names, b"junk")
    put(source, "list.csv", b"path,label\ngood.png,a\nout.jpg,b\nsub/ [x].jpg,c\n")
    tiering.convert(source / "list.csv", tmp_path / "second", "lmdb", on_error="quarantine")
    assert tree(tmp_path / "second" / "quarantine") == {b"sub/ [x].jpg": b"junk"}


def test_tar_members_that_cannot_be_packed(some_photos, tmp_path):
    put(some_photos, "zz.jpg", b"junk")
    said = webdataset(some_photos, tmp_path / "tars")
    bad = {os.fsencode(key): about[2] for key, about in said.items() if about[2] == b"junk"}
    assert len(bad) == 1
    assert quarantined(tmp_path / "tars", tmp_path) == bad
