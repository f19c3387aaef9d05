"""Lines that count one thing say so: "1 sample", not "1 samples"."""

from __future__ import annotations

import re

import pytest

from tests.trees import put

#: "1 samples", but not "1.1 samples" or "11 samples".
WRONG = re.compile(
    r"(?<![\d.,])1 (samples|images|files|shards|epochs|rows|labels|units|events|problems|batches|fields|headers|values|splits)\b"
)


@pytest.fixture
def one(tmp_path):
    put(tmp_path / "photos", "cat/1.jpg")
    return tmp_path


def test_no_verb_counts_one_thing_as_several(one, program):
    put(one, "list.csv", b"path,label,score\ncat/1.jpg,dog,3\n")
    photos, store = one / "photos", one / "one.lmdb"
    said = ""
    for arguments in (
        ("profile", photos),
        ("convert", photos, store, "--to", "lmdb"),
        ("verify", store, "--source", photos),
        ("info", store),
        ("info", store, "--where", "label = 'cat'"),
        ("bench", store, "--epochs", "2", "--batch-size", "1"),
        ("export", store, one / "again"),
        ("relabel", store, one / "list.csv"),
        ("log", store),
        ("append", photos, store),
    ):
        done = program(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        said += done.stdout + done.stderr
    assert WRONG.findall(said) == [], said
    assert "1 sample," in said
