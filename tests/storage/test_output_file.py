"""A file that the user named appears whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from tiering.storage.output_file import output_file, write_output


def test_a_file_is_replaced_whole(tmp_path):
    write_output(tmp_path / "out", "old")
    write_output(tmp_path / "out", b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write_output(tmp_path / "out", "old")
    with suppress(RuntimeError), output_file(tmp_path / "out") as file:
        file.write_bytes(b"half")
        raise RuntimeError
    assert (tmp_path / "out").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real" / "file")
    write_output(tmp_path / "out", "text")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "real" / "file").read_text() == "text"


def test_a_device_is_written_to_directly():
    write_output("/dev/null", "text")
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize(("name", "error"), [("", IsADirectoryError), ("missing/out", FileNotFoundError)])
def test_a_bad_place_is_named_and_nothing_is_made(tmp_path, name, error):
    with pytest.raises(error) as raised:
        write_output(tmp_path / name, "text")
    assert raised.value.filename == str(tmp_path / name)
    assert os.listdir(tmp_path) == []
