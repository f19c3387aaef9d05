"""Unfinished multipart uploads: S3 keeps their parts, invisible but charged for."""

from __future__ import annotations

import logging
from typing import Any

from tiering.storage.bucket import S3, call_s3, key_of, scheme_of
from tiering.storage.failures import remote_errors
from tiering.storage.location import Location

_log = logging.getLogger("tiering")


def abort_uploads(location: Location) -> int:
    """Abort the unfinished uploads below a URL, and return how many there were. Call it under the output's lock.

    Azure itself drops such parts after a week, and Google removes them by a life-cycle rule of the bucket. Does nothing
    if the server cannot list them, or does not let us.
    """
    if scheme_of(location.url) not in S3:
        return 0
    with remote_errors(location.url):
        try:
            return sum(_abort(location.url, each) for each in _listed(location.url))
        except OSError as error:
            _log.info("%s: could not look for unfinished uploads: %s", location, error)
    return 0


def _listed(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = call_s3(url, "list_multipart_uploads", Prefix=f"{key_of(url)}/", **more)
        found += answer.get("Uploads", ())
        if not answer.get("IsTruncated"):
            return found
        more = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


def _abort(url: str, upload: dict[str, Any]) -> int:
    try:
        call_s3(url, "abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
    except FileNotFoundError:
        return 0
    return 1
