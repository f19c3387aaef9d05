"""Uploads that a killed run began are given up by the next one, and nobody else's are."""

from __future__ import annotations

import fsspec

import tiering
from tests.s3 import BUCKET
from tiering.storage.location import Location


def begun(url: str) -> None:
    system = fsspec.filesystem("s3")
    key = url.removeprefix(f"s3://{BUCKET}/")
    upload = system.call_s3("create_multipart_upload", Bucket=BUCKET, Key=key)["UploadId"]
    system.call_s3("upload_part", Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"half")


def unfinished(prefix: str) -> list[str]:
    found = fsspec.filesystem("s3").call_s3("list_multipart_uploads", Bucket=BUCKET, Prefix=prefix)
    return [each["Key"] for each in found.get("Uploads", ())]


def test_unfinished_uploads_of_a_killed_run_are_given_up_by_the_next(some_photos, s3):
    prefix = s3.removeprefix(f"s3://{BUCKET}/")
    begun(f"{s3}/store/c/0")
    begun(f"{s3}/store-of-another/c/0")
    tiering.convert(some_photos, f"{s3}/store", "zarr", workers=1)
    assert unfinished(prefix) == [f"{prefix}/store-of-another/c/0"]


def test_a_repair_gives_them_up_too(some_photos, s3):
    prefix = s3.removeprefix(f"s3://{BUCKET}/")
    manifest = tiering.convert(some_photos, f"{s3}/store", "zarr", workers=1)
    begun(f"{s3}/store/c/0")
    (Location.of(f"{s3}/store") / manifest.shards[0].name).remove()
    assert tiering.repair(f"{s3}/store", source=some_photos, workers=1)
    assert unfinished(prefix) == []
