"""Buckets: the one module that finds credentials, endpoints and time limits.

Google's and Azure's buckets are reached through obstore. S3 has two clients. s3fs serves packing and plain stores: it
works after a fork, verifies the server's checksums, lists a thousand names at a time, and takes objects of any name.
obstore does none of these, but a read costs it a quarter of the processor time: the cache and the probe use it.

S3 settings are resolved once, as s3fs and botocore do it: fsspec's settings (FSSPEC_S3_*, files in ~/.config/fsspec),
then the environment, AWS_PROFILE, credentials and config files, and at last the machine's own role. obstore gets the
result.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tiering.errors import MachineError, UsageError, needs_package
from tiering.storage.patience import attempt_seconds, remote_seconds
from tiering.storage.urls import WEB

#: Concurrent requests: enough to fill a network at 30 ms per request. S3 drivers use 10 by default.
REQUESTS: Final = 64

S3: Final = ("s3", "s3a")
GOOGLE: Final = ("gs",)
AZURE: Final = ("az", "abfs", "abfss")

_NO_RETRIES: Final = {"max_retries": 0}

#: The extra to install for each scheme.
EXTRAS: Final = dict.fromkeys(S3, "s3") | dict.fromkeys(GOOGLE, "gcs") | dict.fromkeys(AZURE, "azure")

#: obstore asks for credentials again after this long; botocore renews expiring ones well before.
_CREDENTIALS_LIVE: Final = timedelta(minutes=5)


#: Processes that have used obstore: this one, and those that it was forked from. A fork takes no threads along, so a
#: request through obstore would wait for ever.
_obstore_users: Final[set[int]] = set()


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket through obstore. module: obstore; store: its client."""

    module: Any
    store: Any


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it.

    Raises the drivers' own errors: use it within remote_errors.
    """
    # Local files, which are all that most commands touch, need neither.
    import fsspec  # noqa: PLC0415

    from tiering.storage.objects import ObjectFiles  # noqa: PLC0415

    if scheme_of(url) in GOOGLE + AZURE:
        bucket = open_bucket(url, "for buckets of Google and Azure")
        scheme, _, path = url.partition("://")
        return ObjectFiles(bucket.module, bucket.store, scheme, path.partition("/")[0]), path.rstrip("/")
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme_of(url) in S3:
        chosen = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        wait = attempt_seconds()
        limits = {"read_timeout": wait, "connect_timeout": min(5.0, wait)}
        options["config_kwargs"] = {"max_pool_connections": REQUESTS} | limits | chosen
    elif url.startswith(WEB):
        limit = import_module("aiohttp").ClientTimeout(total=None, connect=remote_seconds(), sock_read=remote_seconds())
        options["client_kwargs"] = {"timeout": limit} | fsspec.config.conf.get("http", {}).get("client_kwargs", {})
    system, path = fsspec.core.url_to_fs(url, **options)
    return system, path.rstrip("/")


def open_bucket(url: str, why: str) -> Bucket:
    """Connect to the bucket of a URL through obstore.

    why: what obstore is needed for, for the error message. obstore does not retry; a request may take half of
    remote_seconds(). Raises MachineError if obstore is missing, UsageError for a URL that it does not open, or in a
    process that was forked from one that has used obstore.
    """
    try:
        obstore = import_module("obstore")
        stores = import_module("obstore.store")
    except ImportError as error:
        raise MachineError(
            url,
            rule=needs_package(f"obstore {why}", error),
            action=f"pip install 'tiering[{EXTRAS.get(scheme_of(url), 's3')}]'",
        ) from error
    _obstore_users.add(os.getpid())
    if len(_obstore_users) > 1:
        raise UsageError(
            url,
            expected=f"a spawned process: obstore, {why}, does not work after a fork",
            found="one that was forked from a process that had used obstore",
            action='Start workers with spawn (multiprocessing_context="spawn" for PyTorch).',
        )
    split = urlsplit(url)
    base = f"{split.scheme}://{split.netloc}"
    client: dict[str, Any] = {"timeout": f"{remote_seconds() / 2:g}s", "connect_timeout": "5s"}
    options: dict[str, Any] = {}
    if split.scheme in S3:
        options = _s3_options(url)
        client |= _trust(options.pop("verify"))
    elif split.scheme in GOOGLE + AZURE:
        options = _google_options() if split.scheme in GOOGLE else _azure_options()
    server = str(options.get("endpoint", options.get("base_url", base)))
    client["allow_http"] = server.startswith("http://")
    try:
        if split.scheme in S3:
            store = stores.from_url(base, client_options=client, retry_config=_NO_RETRIES, **options)
        else:
            store = _kept(base, json.dumps([client, options]), _environment(), os.getpid())
    except Exception as error:
        raise UsageError(url, expected="a URL that obstore opens", found=str(error).split("\n")[0]) from error
    return Bucket(obstore, store)


@lru_cache(maxsize=64)
def _kept(base: str, settings: str, _environment: tuple[tuple[str, str], ...], _process: int) -> Any:
    """Connect, or return an earlier connection with the same settings: making one takes 30 ms."""
    client, options = json.loads(settings)
    from_url = import_module("obstore.store").from_url
    return from_url(base, client_options=client, retry_config=_NO_RETRIES, **options)


def _environment() -> tuple[tuple[str, str], ...]:
    """Return the environment variables that obstore reads for Google and Azure."""
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(("GOOGLE_", "AZURE_", "STORAGE_"))))


def call_s3(url: str, operation: str, **arguments: Any) -> dict[str, Any]:
    """Make a request that only S3 has, in the bucket of a URL, through s3fs. operation: botocore's name for it."""
    system, path = file_system(url)
    bucket = path.partition("/")[0]
    answer: dict[str, Any] = system.call_s3(operation, Bucket=bucket, **arguments, **within_time(system))
    return answer


def within_time(system: Any) -> dict[str, float]:
    """Return fsspec's argument that limits the time of one request, including its driver's retries."""
    return {"timeout": remote_seconds()} if system.async_impl else {}


def scheme_of(url: str) -> str:
    """Return the scheme of a URL, such as s3."""
    return url.partition("://")[0]


def key_of(url: str) -> str:
    """Return the key of what lies at a URL in its bucket."""
    return url.partition("://")[2].partition("/")[2]


def _s3_options(url: str) -> dict[str, Any]:
    """Return obstore's options, as s3fs and botocore resolve settings, environment and files.

    The s3fs object holds fsspec's settings, and botocore's session does the rest: all other requests use the same two.
    """
    system, _ = file_system(url)
    botocore = import_module("botocore")
    config = {name: value for name, value in system.config_kwargs.items() if name not in _OF_AIOBOTOCORE}
    given = {"aws_access_key_id": system.key, "aws_secret_access_key": system.secret, "aws_session_token": system.token}
    given = {name: value for name, value in given.items() if value} | {
        name: value for name, value in system.client_kwargs.items() if value
    }
    if system.endpoint_url:
        given["endpoint_url"] = system.endpoint_url
    anonymous = system.anon or config.pop("signature_version", None) is botocore.UNSIGNED
    session = import_module("botocore.session").Session(**system.kwargs)
    made = session.create_client(
        "s3", config=import_module("botocore.config").Config(**config), **({"use_ssl": system.use_ssl} | given)
    )
    endpoint, virtual = made.meta.endpoint_url, (made.meta.config.s3 or {}).get("addressing_style") == "virtual"
    if virtual:
        split = urlsplit(endpoint)
        endpoint = f"{split.scheme}://{urlsplit(url).netloc}.{split.netloc}"
    options = {
        "endpoint": endpoint,
        "region": made.meta.region_name or "us-east-1",
        "virtual_hosted_style_request": virtual,
        "conditional_put": "etag",
        "skip_signature": bool(anonymous),
        "verify": given.get("verify", session.get_config_variable("ca_bundle")),
    }
    if not anonymous:
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        if all(given.get(name) for name in names[:2]):
            session.set_credentials(*(given.get(name) for name in names))
        options["credential_provider"] = _provider(session.get_credentials())
    return options


def _google_options() -> dict[str, Any]:
    """Return what obstore does not find by itself: an emulator, from the variable that Google's own clients read."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if not emulator:
        return {}
    url = emulator if "://" in emulator else f"http://{emulator}"
    return {"base_url": url.rstrip("/"), "bearer_token": "emulator"}


def _azure_options() -> dict[str, Any]:
    """Return what obstore does not find by itself: the parts of a connection string, as the Azure portal gives it."""
    given = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = dict(part.split("=", 1) for part in given.split(";") if "=" in part)
    named = {
        "account_name": parts.get("AccountName"),
        "account_key": parts.get("AccountKey"),
        "endpoint": parts.get("BlobEndpoint"),
        "sas_key": parts.get("SharedAccessSignature"),
    }
    found: dict[str, Any] = {name: value for name, value in named.items() if value}
    endpoint = os.environ.get("AZURE_STORAGE_ENDPOINT", "")
    return found if found or not endpoint else {"endpoint": endpoint}


def _trust(verify: bool | str | None) -> dict[str, Any]:
    """Return obstore's options to trust the certificates that botocore would: any, those of a file, or the system's."""
    if verify is False:
        return {"allow_invalid_certificates": True}
    return {"root_certificate": Path(verify).read_bytes()} if isinstance(verify, str) else {}


def _provider(credentials: Any) -> Callable[[], dict[str, Any]]:
    """Return a function that gives obstore credentials. Raises botocore's NoCredentialsError if there are none."""
    if credentials is None:
        raise import_module("botocore.exceptions").NoCredentialsError

    def provide() -> dict[str, Any]:
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LIVE,
        }

    return provide


#: Settings that only the asynchronous client knows.
_OF_AIOBOTOCORE: Final = ("connector_args", "http_session_cls", "load_executor")
