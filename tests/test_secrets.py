"""What opens a place is never shown with its name."""

from __future__ import annotations

import pytest

from tiering.secrets import without_secrets


@pytest.mark.parametrize(
    ("given", "shown"),
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
def test_a_secret_goes_and_the_name_stays(given, shown):
    assert without_secrets(given) == shown
    assert without_secrets(shown) == shown


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
