"""Foreign text is shown on one line with every character visible, and without its secrets."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.errors import StoreError
from tiering.text import as_field, shown, without_secrets


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain ü/猫 😀.jpg", "plain ü/猫 😀.jpg"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("two\nlines\r\tof it", r"two\nlines\r\tof it"),
        ("\x9b2J\x7f\0", r"\x9b2J\x7f\x00"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("a\u2028b\u2066c", r"a\u2028b\u2066c"),
        ("caf\udce9", r"caf\xe9"),
        (b"caf\xe9\x1b", r"caf\xe9\x1b"),
        (Path("/a\x1bb"), r"/a\x1bb"),
        ("[bold]:smile:", "[bold]:smile:"),
    ],
)
def test_what_cannot_be_seen_is_shown(text, seen):
    assert shown(text) == seen


@given(st.text(st.characters(codec=None)))
def test_a_shown_text_is_one_line_that_every_terminal_and_file_takes(text):
    found = shown(text)
    assert len(found.splitlines()) <= 1
    assert not [letter for letter in found if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    found.encode()
    assert shown(found) == found


@given(st.text(), st.text())
def test_two_texts_are_two_fields(one, other):
    assert (as_field(one) == as_field(other)) == (one == other)


def test_an_error_shows_the_names_in_it():
    error = StoreError("a\x1bb", expected="c\n", found="\udcff", action="See \u202e.")
    assert str(error) == r"a\x1bb: expected c\n, found \xff. See \u202e."
    assert error.where == "a\x1bb"


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://me:CANARY@host/photos.tar", "https://host/photos.tar"),
        ("https://CANARY@host:8080/photos", "https://host:8080/photos"),
        ("https://host/photos.tar?X-Amz-Signature=CANARY&part=2", "https://host/photos.tar"),
        ("https://host/photos.tar#CANARY", "https://host/photos.tar"),
        ("https://me:CAN@ARY@host/x", "https://host/x"),
        ("https://me:CAN/ARY@host/x", "https://host/x"),
        ("https://me:CAN?ARY@host/x", "https://host/x"),
        ("https://me:CANARY?", "https://..."),
        ("zip://*.jpg::https://me:CANARY@host/x.zip?sig=CANARY", "zip://*.jpg::https://host/x.zip"),
        ("sftp://me:CANARY@host/x", "sftp://me@host/x"),
        ("abfss://photos@account.dfs.core.windows.net/x?sig=CANARY", "abfss://photos@account.dfs.core.windows.net/x"),
        ("s3://key:CANARY@bucket/x", "s3://bucket/x"),
        ("403, url='https://h/x?sig=CANARY', token=CANARY", "403, url='https://h/x', token=..."),
        ("GET /x?X-Amz-Credential=CANARY%2F2026&a=1", "GET /x?X-Amz-Credential=...&a=1"),
    ],
)
def test_a_secret_goes_and_the_name_stays(url, clean):
    assert without_secrets(url) == clean
    assert without_secrets(clean) == clean


@pytest.mark.parametrize(
    "name",
    [
        "/data/token=3/cat.jpg",
        "s3://bucket/what?.jpg",
        "s3://bucket/x?versionId=3",
        "http://[::1]:80/x",
        "a = b",
        "C:\\x",
    ],
)
def test_a_name_without_a_secret_stays_as_it_is(name):
    assert without_secrets(name) == name
