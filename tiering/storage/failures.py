"""What servers and their drivers say when something fails, turned into errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tiering.errors import InputError, MachineError, TieringError, UsageError, from_os_error

_CHECK: Final = "Check the address, the endpoint (AWS_ENDPOINT_URL for s3) and the credentials."


@contextmanager
def remote_errors(url: str) -> Iterator[None]:
    """Turn what a file system behind a URL raises into errors that say what to do.

    FileNotFoundError and FileExistsError pass: the caller knows what they mean.
    """
    try:
        yield
    except (TieringError, FileNotFoundError, FileExistsError):
        raise
    except ImportError as error:
        scheme = url.split("://", 1)[0]
        extra = "pip install 'tiering[s3]'" if scheme in ("s3", "s3a") else f"Install what fsspec needs for {scheme}."
        raise UsageError(url, expected=f"a driver for {scheme}://", found=str(error), action=extra) from error
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise UsageError(url, expected="a URL scheme that fsspec knows", found=str(error)) from error
    except OSError as error:
        failure = from_os_error(error)
        kind = InputError if isinstance(failure, InputError) else MachineError
        raise kind(url, found=failure.found, action=failure.action or _CHECK) from error
    except Exception as error:
        # Drivers raise their own kinds (botocore, aiohttp, google.api_core); none of them is ours to import.
        if type(error).__module__.split(".")[0] in ("builtins", "tiering"):
            raise
        raise MachineError(url, found=f"{type(error).__name__}: {error}", action=_CHECK) from error


def code_of(error: BaseException) -> str:
    """Return the code by which a server says what is wrong, such as NoSuchBucket; its status, or "", without one."""
    seen: BaseException | None = error
    while seen is not None:
        about = getattr(seen, "response", None)
        if isinstance(about, dict):
            return str(about.get("Error", {}).get("Code", ""))
        if found := _CODE.search(str(seen)):
            return found.group(1)
        if isinstance(status := getattr(seen, "status", None), int):
            return str(status)
        seen = seen.__cause__ or seen.__context__
    return ""


_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
