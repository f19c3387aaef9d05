"""Turn the errors of servers and their drivers into errors that say what to do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from tiering.errors import InputError, MachineError, TieringError, UsageError, from_os_error, needs_package
from tiering.storage.attempts import attempts
from tiering.storage.bucket import EXTRAS, S3, call_s3, key_of, scheme_of
from tiering.storage.patience import SETTING, noticing, remote_seconds
from tiering.text import without_secrets
from tiering.units import format_number

T = TypeVar("T")

#: Drivers' errors for a damaged answer: its checksum differs, or it cannot be parsed.
_DAMAGED: Final = ("FlexibleChecksumError", "ChecksumError", "ResponseParserError")

_CHECK: Final = "Check the address, the endpoint (AWS_ENDPOINT_URL for s3) and the credentials."

_NO_BUCKET: Final = (
    "there is no bucket of that name",
    "Check the name and the endpoint (AWS_ENDPOINT_URL), or create it.",
)
_DENIED: Final = (
    "access denied",
    "Check which credentials are used (AWS_PROFILE, AWS_ACCESS_KEY_ID), and what they allow here.",
)
_EXPIRED: Final = ("the credentials have expired", "Sign in again, or take a fresh token or a freshly signed URL.")
_SKEW: Final = (
    "the server says that this machine's clock is wrong",
    "Set it (timedatectl, or chronyc makestep).",
)
_UNKNOWN_KEY: Final = (
    "the server does not know these credentials",
    "Check the access key (AWS_ACCESS_KEY_ID, AWS_PROFILE), and whether it belongs to this endpoint.",
)
_WRONG_SECRET: Final = ("the secret key does not fit the access key", "Check AWS_SECRET_ACCESS_KEY or the profile.")
_REGION: Final = ("the bucket lies in another region", "Name it: AWS_REGION, or region in the profile.")
_OVERLOADED: Final = ("the server is overloaded and refuses requests", "Try again later, or with fewer processes.")
_BAD_NAME: Final = ("that is not a valid bucket name", "Check the URL: s3://BUCKET/PREFIX.")

#: What is wrong and what to do, by the error codes of S3 (and compatible servers), Google and Azure.
_BY_CODE: Final = (
    {"NoSuchBucket": _NO_BUCKET, "ContainerNotFound": _NO_BUCKET, "InvalidBucketName": _BAD_NAME}
    | dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "401", "Forbidden"), _DENIED)
    | dict.fromkeys(
        ("AuthorizationPermissionMismatch", "AuthorizationFailure", "InsufficientAccountPermissions"), _DENIED
    )
    | dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"), _EXPIRED)
    | dict.fromkeys(("RequestTimeTooSkewed", "RequestInTheFuture"), _SKEW)
    | dict.fromkeys(
        ("InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken", "AuthenticationFailed"), _UNKNOWN_KEY
    )
    | {"SignatureDoesNotMatch": _WRONG_SECRET}
    | dict.fromkeys(("PermanentRedirect", "301", "IllegalLocationConstraintException"), _REGION)
    | dict.fromkeys(("AuthorizationHeaderMalformed",), _REGION)
    | dict.fromkeys(("SlowDown", "ServiceUnavailable", "503", "429", "ServerBusy"), _OVERLOADED)
)

#: Mistakes in the user's input, rather than failures of the machine.
_INPUT: Final = (_NO_BUCKET, _BAD_NAME)

_NO_CREDENTIALS: Final = (
    "no credentials were found",
    "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; a public bucket needs FSSPEC_S3_ANON=true.",
)
_NO_HOST: Final = ("there is no host of that name", "Check the address and the endpoint (AWS_ENDPOINT_URL) for typos.")
_REFUSED: Final = ("no server answers there", "Check that the server is up, and the endpoint (AWS_ENDPOINT_URL).")
_SILENT: Final = ("the server is silent", f"Try again, or wait longer for it ({SETTING}, seconds).")

#: The same, by the names and messages of drivers' errors.
_BY_WORDS: Final = (
    (
        re.compile(r"NoCredentials|PartialCredentials|Unable to locate credentials|Anonymous users does not have"),
        _NO_CREDENTIALS,
    ),
    (
        re.compile(r"(?i)dns error|name or service not known|name resolution|nodename nor servname|getaddrinfo"),
        _NO_HOST,
    ),
    (re.compile(r"(?i)Invalid bucket name"), _BAD_NAME),
    (re.compile(r"TimedOut|timed out|kind: Timeout|TimeoutError"), _SILENT),
    (re.compile(r"incorrectly configured region"), _REGION),
    (
        re.compile(r"(?i)connection refused|could not connect|cannot connect|connect error|error trying to connect"),
        _REFUSED,
    ),
)

#: Answers without a body, as to HEAD, only have a number.
_BARE: Final = ("400", "403", "301")

_CODE: Final = re.compile(r"<Code>(\w+)</Code>|\b(ContainerNotFound|RequestTimeTooSkewed)\b")


@contextmanager
def asking(url: str) -> Iterator[None]:
    """Translate errors as remote_errors does, and say so if the answer takes long."""
    with noticing(url), remote_errors(url):
        yield


class DamagedAnswerError(MachineError):
    """The driver reports a damaged answer: asking again may help."""


def asked(url: str, ask: Callable[[], T]) -> T:
    """Make a request, and repeat it a few times if the answer is damaged. Raises as remote_errors does.

    ask: must change nothing, because it may be called more than once.
    """
    for last in attempts(url):
        try:
            with asking(url):
                return ask()
        except DamagedAnswerError:
            if last:
                raise
    raise AssertionError  # the last attempt returns or raises


@contextmanager
def remote_errors(url: str) -> Iterator[None]:
    """Turn the errors of a file system behind a URL into errors that say what to do.

    FileNotFoundError and FileExistsError pass unchanged: the caller knows what they mean. But a missing bucket or a
    missing permission is translated.
    """
    try:
        yield
    except (TieringError, FileExistsError):
        raise
    except FileNotFoundError as error:
        if (named := _not_missing(url, error)) is not None:
            raise named from error
        raise
    except ImportError as error:
        scheme = scheme_of(url)
        extra = EXTRAS.get(scheme)
        action = f"pip install 'tiering[{extra}]'" if extra else f"Install what fsspec needs for {scheme}."
        raise UsageError(url, rule=needs_package(f"a driver for {scheme}://", error), action=action) from error
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise UsageError(url, expected="a URL scheme that fsspec knows", found=str(error)) from error
    except OSError as error:
        raise _failure(url, error) from error
    except Exception as error:
        # Drivers (botocore, aiohttp, obstore) raise their own types, which we cannot import: the drivers are optional.
        if type(error).__module__.split(".")[0] in ("builtins", "tiering"):
            raise
        raise _failure(url, error) from error


def _not_missing(url: str, error: FileNotFoundError) -> TieringError | None:
    """Return the error to raise if more is wrong than a missing file.

    fsspec also raises FileNotFoundError when a web server refuses or does not answer; the error's cause shows it.
    """
    if code_of(error) in _BY_CODE or (error.__cause__ and _by_words(error.__cause__)):
        return _failure(url, error)
    if scheme_of(url) in EXTRAS and "/" not in url.partition("://")[2].strip("/"):
        found, action = _NO_BUCKET
        return InputError(url, found=found, action=action)
    return None


def code_of(error: BaseException) -> str:
    """Return a server's error code, such as NoSuchBucket; without one, its HTTP status, or an empty string."""
    seen: BaseException | None = error
    status = ""
    while seen is not None:
        about = getattr(seen, "response", None)
        if isinstance(about, dict):
            return str(about.get("Error", {}).get("Code", ""))
        if found := _CODE.search(str(seen)):
            return found.group(1) or found.group(2)
        if isinstance(number := getattr(seen, "status", None), int):
            status = status or str(number)
        seen = seen.__cause__ or seen.__context__
    return status


def lasting_failure(url: str, error: BaseException) -> TieringError | None:
    """Return the error to raise at once if retrying cannot help; None if it may."""
    reason = _BY_CODE.get(code_of(error))
    return _failure(url, error) if reason not in (None, _OVERLOADED) else None


def _failure(url: str, error: BaseException) -> TieringError:
    if type(error).__name__ in _DAMAGED:
        return DamagedAnswerError(url, found=f"a damaged answer: {error}", action="Check the network.")
    code = code_of(error)
    if code in _BARE and scheme_of(url) in S3:
        code = _said_at_length(url) or code
    reason = _EXPIRED if code in ("403", "401", "AccessDenied") and _is_past(url) else _BY_CODE.get(code)
    reason = reason or _by_words(error)
    if reason is not None:
        found, action = reason
        if reason is _SILENT:
            found = f"{found}, for {format_number(remote_seconds(), 6)} s"
        return (InputError if reason in _INPUT else MachineError)(url, found=found, action=action)
    if isinstance(error, OSError) and error.strerror:
        failure = from_os_error(error)
        kind = InputError if isinstance(failure, InputError) else MachineError
        return kind(url, found=failure.found, action=failure.action or _CHECK)
    said = without_secrets(f"{type(error).__name__}: {error}".split("\n")[0])[:300]
    return MachineError(url, found=said, action=_CHECK)


def _by_words(error: BaseException) -> tuple[str, str] | None:
    said, seen = "", error
    while seen is not None:
        said += f"{type(seen).__name__}: {seen}\n"
        seen = seen.__cause__ or seen.__context__  # type: ignore[assignment]
    return next((reason for words, reason in _BY_WORDS if words.search(said)), None)


def _said_at_length(url: str) -> str:
    """Ask S3 once more with a request whose answer has a body, and return its error code."""
    try:
        call_s3(url, "list_objects_v2", Prefix=key_of(url), MaxKeys=1)
    except Exception as error:  # noqa: BLE001 - only its code matters
        code = code_of(error)
        return code if code in _BY_CODE else ""
    return ""


def _is_past(url: str) -> bool:
    """Return whether a signed URL has expired, by its own parameters."""
    query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    try:
        if "expires" in query:
            return float(query["expires"]) < time.time()
        for kind in ("x-amz", "x-goog"):
            if f"{kind}-date" in query:
                began = datetime.strptime(query[f"{kind}-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                return began.timestamp() + float(query[f"{kind}-expires"]) < time.time()
        if "se" in query:
            return datetime.fromisoformat(query["se"]).timestamp() < time.time()
    except (ValueError, KeyError):
        return False
    return False
