"""Unfinished multipart uploads: S3 keeps their parts, invisible but charged for."""

from __future__ import annotations

import logging
from typing import Any

from tiering.storage.bucket import S3, file_system, scheme_of, within_time
from tiering.storage.failures import remote_errors
from tiering.storage.location import Location

_log = logging.getLogger("tiering")


def abort_uploads(place: Location) -> int:
    """Abort the unfinished uploads below a URL, and return how many there were. Call it under the output's lock.

    Azure itself drops such parts after a week, and Google removes them by a life-cycle rule of the bucket. Does nothing
    if the server cannot list them, or does not let us.
    """
    if scheme_of(place.url) not in S3:
        return 0
    with remote_errors(place.url):
        system, path = file_system(place.url)
        bucket, _, key = path.partition("/")
        try:
            return sum(_abort(system, bucket, each) for each in _listed(system, bucket, f"{key}/"))
        except OSError as error:
            _log.info("%s: could not look for unfinished uploads: %s", place, error)
    return 0


def _listed(system: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    limit = within_time(system)
    while True:
        answer = system.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **more, **limit)
        found += answer.get("Uploads", ())
        if not answer.get("IsTruncated"):
            return found
        more = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


def _abort(system: Any, bucket: str, upload: dict[str, Any]) -> int:
    try:
        system.call_s3(
            "abort_multipart_upload",
            Bucket=bucket,
            Key=upload["Key"],
            UploadId=upload["UploadId"],
            **within_time(system),
        )
    except FileNotFoundError:
        return 0
    return 1
