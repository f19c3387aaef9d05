"""A walk finds every image, whatever else lies in the tree."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.trees import FIXTURES, put
from tiering.errors import DatasetError
from tiering.sources.labels.annotations import FolderLabels
from tiering.sources.labels.folders import Folders
from tiering.sources.scan import Scan, scan
from tiering.text import display


def keys(root: Path) -> list[bytes]:
    return scan(root).files["key"].to_list()


def left_out(found: Scan) -> dict[str, int]:
    return {name: kind.count for name, kind in found.account.left_out.items()}


def test_the_fixture_images_are_all_found_with_their_sizes():
    found = scan(FIXTURES)
    expected = sorted(path for path in FIXTURES.rglob("*") if path.is_file())
    assert len(expected) == 300
    assert found.files["key"].to_list() == [os.fsencode(path.relative_to(FIXTURES)) for path in expected]
    assert found.files["size"].to_list() == [path.stat().st_size for path in expected]
    assert found.files["mtime_ns"].to_list() == [path.stat().st_mtime_ns for path in expected]


def test_keys_are_sorted_bytewise(tmp_path):
    for key in ("b/1.jpg", "a-b/1.jpg", "a/2.jpg", "a/10.jpg", "Z.jpg", "ä/1.jpg"):
        put(tmp_path, key)
    assert keys(tmp_path) == sorted(keys(tmp_path))


def test_a_missing_path_is_bad_input(tmp_path):
    with pytest.raises(DatasetError, match="nothing at that path"):
        scan(tmp_path / "nowhere")


def test_a_file_is_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match="found a file"):
        scan(put(tmp_path, "a.jpg"))


def test_an_empty_directory_says_so(tmp_path):
    with pytest.raises(DatasetError, match="found an empty directory"):
        scan(tmp_path)


def test_a_directory_without_images_says_what_it_saw(tmp_path):
    for name in ("a.txt", "b.csv", "jpg", "c.jpg.txt"):
        put(tmp_path, name, b"text")
    with pytest.raises(DatasetError, match=r"found none, but not an image: 4 \(a\.txt, b\.csv\)"):
        scan(tmp_path)


def test_a_url_is_refused_with_advice():
    with pytest.raises(DatasetError, match="Only local directories are read so far"):
        scan("s3://bucket/photos")


def test_extensions_count_in_any_case_and_hidden_entries_are_counted(tmp_path):
    for key in ("a.JPG", "b.Jpeg", "c.TIFF", ".hidden.jpg", ".cache/x.jpg"):
        put(tmp_path, key)
    put(tmp_path, "notes.txt", b"words")
    found = scan(tmp_path)
    assert found.files["key"].to_list() == [b"a.JPG", b"b.Jpeg", b"c.TIFF"]
    left_out = {name: (kind.count, kind.bytes, kind.examples) for name, kind in found.account.left_out.items()}
    hidden = (tmp_path / ".hidden.jpg").stat().st_size
    assert left_out == {
        "hidden": (2, hidden, [".cache/", ".hidden.jpg"]),
        "not an image": (1, 5, ["notes.txt"]),
    }
    assert found.account.met == 6


def test_special_files_are_skipped_without_being_opened(tmp_path):
    put(tmp_path, "cat/1.jpg")
    os.mkfifo(tmp_path / "cat" / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jpg"))
        (tmp_path / "device.jpg").symlink_to("/dev/null")
        found = scan(tmp_path)
    assert found.files["key"].to_list() == [b"cat/1.jpg"]
    assert found.account.left_out["special file"].count == 3
    examples = found.account.left_out["special file"].examples
    assert examples == ["cat/pipe.jpg (FIFO)", "device.jpg (device)", "s.jpg (socket)"]


def test_links_are_followed_and_loops_are_cut(tmp_path):
    root = tmp_path / "photos"
    put(root, "cat/1.jpg")
    put(tmp_path, "elsewhere/2.jpg")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "link.jpg").symlink_to("1.jpg")
    (root / "cat" / "up").symlink_to("..")
    (root / "cat" / "gone.jpg").symlink_to("nothing.jpg")
    (root / "self.jpg").symlink_to("self.jpg")
    found = scan(root)
    assert found.files["key"].to_list() == [b"cat/1.jpg", b"cat/link.jpg", b"dog/2.jpg"]
    assert left_out(found) == {"broken link": 2, "link in a circle": 1}


def test_a_link_above_the_root_does_not_run_forever(tmp_path):
    root = tmp_path / "photos"
    put(root, "1.jpg")
    (root / "above").symlink_to("..")
    assert keys(root) == [b"1.jpg"]
    assert left_out(scan(root)) == {"link in a circle": 1}


def test_two_links_to_one_folder_are_two_folders(tmp_path):
    put(tmp_path, "set/a/1.jpg")
    (tmp_path / "set" / "b").symlink_to("a")
    assert keys(tmp_path / "set") == [b"a/1.jpg", b"b/1.jpg"]


def test_a_name_that_is_not_utf8_is_kept_byte_for_byte(tmp_path):
    put(tmp_path, b"caf\xe9/\xff.jpg")
    found = scan(tmp_path)
    assert found.files["key"].to_list() == [b"caf\xe9/\xff.jpg"]
    assert found.odd_names == 1
    assert display(b"caf\xe9/\xff.jpg") == r"caf\xe9/\xff.jpg"


def test_very_deep_trees_are_walked(tmp_path):
    put(tmp_path, "d/" * 400 + "1.jpg")
    assert keys(tmp_path) == [b"d/" * 400 + b"1.jpg"]


def free(name):
    """Whether a file may have that name, and no word in it, such as train, img or @eaDir, says what a folder is for."""
    return not name.startswith(b".") and not {0, ord("/")} & set(name) and not re.search(rb"[A-Za-z]{3}", name)


names = st.binary(min_size=1, max_size=12).filter(free)


@settings(max_examples=examples(40))
@given(tree=st.dictionaries(names, st.sets(names, min_size=1, max_size=4), min_size=1, max_size=5))
def test_any_name_makes_the_round_trip_through_the_file_system(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("odd")
    expected = {folder + b"/" + name + b".jpg": folder for folder, files in tree.items() for name in files}
    for key in expected:
        put(root, key, b"x")
    found = scan(root).files["key"]
    assert found.to_list() == sorted(expected)
    seen = Folders()
    seen.add(found.to_list())
    assert FolderLabels(seen.rule()).of(found.to_list())[0] == [expected[key] for key in found]
