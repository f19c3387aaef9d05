"""Objects behind a URL, through obstore: the one place that imports it and connects."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from tiering.errors import MachineError, UsageError


def open_bucket(url: str, why: str, seconds: float) -> tuple[Any, Any, str]:
    """Connect to the bucket of a URL.

    why: what obstore is wanted for, in an error. seconds: how long a request may take; none is tried again.
    Returns the module obstore, its store, and the URL of the bucket, which ends in "/".
    Raises MachineError where obstore is missing, UsageError for a URL that it does not open.
    """
    try:
        obstore = import_module("obstore")
        from_url = import_module("obstore.store").from_url
    except ImportError as error:
        raise MachineError(
            url, expected=f"obstore, {why}", found=str(error), action="pip install 'tiering[s3]'"
        ) from error
    split = urlsplit(url)
    endpoint = os.environ.get("AWS_ENDPOINT_URL", os.environ.get("AWS_ENDPOINT", ""))
    plain = endpoint.startswith("http://") or split.scheme == "http"
    base = f"{split.scheme}://{split.netloc}"
    try:
        store = from_url(
            base,
            client_options={"timeout": f"{seconds:g}s", "connect_timeout": "5s", "allow_http": plain},
            retry_config={"max_retries": 0},
        )
    except Exception as error:
        raise UsageError(url, expected="a URL that obstore opens", found=str(error).split("\n")[0]) from error
    return obstore, store, f"{base}/"
