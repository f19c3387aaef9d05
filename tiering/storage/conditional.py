"""Conditional writes behind a URL: to an object that must be new, or must still be the one that was read.

The server decides in one request (If-None-Match and If-Match for S3 and Azure, generations for Google), so only one of
two writers succeeds. If the answer was lost, the request is repeated; if the object then holds exactly our bytes, our
write had arrived.

S3 goes through s3fs and the others through obstore, for the reasons in tiering.storage.bucket.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from typing import Any, Final, Protocol

from tiering.errors import MachineError, StoreError, UsageError
from tiering.storage.bucket import AZURE, GOOGLE, S3, call_s3, file_system, key_of, open_bucket, scheme_of, within_time
from tiering.storage.failures import code_of

_MARK: Final = "tiering-write"

_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


class _TakenError(Exception):
    """The condition does not hold. perhaps_ours: an earlier attempt of the same write may have arrived."""

    def __init__(self, *, perhaps_ours: bool) -> None:
        super().__init__()
        self.perhaps_ours = perhaps_ours


class _Server(Protocol):
    def get(self) -> tuple[bytes, str]:
        """Return an object and its version."""
        ...

    def put(self, data: bytes, version: str | None) -> str:
        """Write an object that must be new, or have this version; return the new version. Raises _TakenError."""
        ...


def create(url: str, data: bytes) -> str:
    """Write a new object, and return its version.

    Raises FileExistsError if there is one already, UsageError for a server without conditional writes.
    """
    return _put(url, data, None, FileExistsError(f"{url} is there already"))


def read_version(url: str) -> tuple[bytes, str]:
    """Return an object and its version, which every write changes. Raises FileNotFoundError."""
    return _server(url).get()


def write_if(url: str, data: bytes, version: str) -> str:
    """Replace an object that still has this version, and return the new version.

    Raises StoreError if it changed or is gone, UsageError for a server without conditional writes.
    """
    return _put(url, data, version, changed(url))


def changed(url: str) -> StoreError:
    """Return the error that somebody else wrote to a file meanwhile."""
    return StoreError(
        url,
        expected="the file that was read before",
        found="another one: somebody else wrote to the store meanwhile",
        action="Nothing of theirs was replaced. Run the command again.",
    )


def unconditional(url: str, found: str) -> UsageError:
    """Return the error for a server without conditional writes. found: what it does instead."""
    return UsageError(
        url,
        expected="a server with conditional writes (If-None-Match and If-Match)",
        found=found,
        action="Without them two writers could destroy each other's store. Write it to a local directory, and copy it.",
    )


def _put(url: str, data: bytes, version: str | None, taken: Exception) -> str:
    server = _server(url)
    try:
        return server.put(data, version)
    except _TakenError as error:
        if error.perhaps_ours:
            # Gone again already, it is not ours to tell.
            with suppress(FileNotFoundError):
                found, now = server.get()
                if found == data:
                    return now
        raise taken from None


def _server(url: str) -> _Server:
    scheme = scheme_of(url)
    if scheme in S3:
        return _S3(url)
    if scheme in GOOGLE + AZURE:
        return _Obstore(url, "version" if scheme in GOOGLE else "e_tag")  # a generation, or an ETag
    raise unconditional(url, f"{scheme}://, which has none")


class _S3:
    """An object of S3, through s3fs."""

    def __init__(self, url: str) -> None:
        self._url, self._key = url, key_of(url)
        self._system, path = file_system(url)
        self._bucket = path.partition("/")[0]

    def get(self) -> tuple[bytes, str]:
        from fsspec.asyn import sync  # noqa: PLC0415 - local files need no fsspec

        async def ask() -> tuple[bytes, str]:
            found = await self._system._call_s3("get_object", Bucket=self._bucket, Key=self._key)  # noqa: SLF001 - of s3fs, for coroutines
            return await found["Body"].read(), found["ETag"]

        data: tuple[bytes, str] = sync(self._system.loop, ask, **within_time(self._system))
        return data

    def put(self, data: bytes, version: str | None) -> str:
        # s3fs drops arguments that botocore does not know: the write would have no condition.
        known = self._system.s3.meta.service_model.operation_model("PutObject").input_shape.members
        if "IfMatch" not in known:
            raise MachineError(
                self._url, expected="a botocore with conditional writes", found="an older one",
                action="pip install -U 'tiering[s3]'",
            )  # fmt: skip
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        mark = uuid.uuid4().hex  # tells our write from others: the clients below retry silently
        for pause in (*_PAUSES, None):
            try:
                done = self._ask("put_object", Body=data, Metadata={_MARK: mark}, **condition)
            except OSError as error:
                code = code_of(error)
                if code == "NotImplemented":
                    raise unconditional(self._url, "a server that has none (501 Not Implemented)") from error
                if code in ("PreconditionFailed", "412") or (version is not None and code == "NoSuchKey"):
                    if (found := self._ours(mark)) is not None:
                        return found
                    raise _TakenError(perhaps_ours=False) from error
                if code not in ("ConditionalRequestConflict", "409") or pause is None:
                    raise
                time.sleep(pause)
            else:
                return str(done["ETag"])
        raise AssertionError  # the loop returns or raises

    def _ours(self, mark: str) -> str | None:
        """Return the version of the object if this write made it."""
        try:
            found = self._ask("head_object")
        except FileNotFoundError:
            return None
        return str(found["ETag"]) if found.get("Metadata", {}).get(_MARK) == mark else None

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return call_s3(self._url, operation, Key=self._key, **arguments)


class _Obstore:
    """An object of Google or Azure, through obstore. named: obstore's name for its version."""

    def __init__(self, url: str, named: str) -> None:
        self._url, self._named = url, named
        self._bucket = open_bucket(url, "for conditional writes")
        self._key = key_of(url)

    def get(self) -> tuple[bytes, str]:
        from fsspec.asyn import get_loop, sync  # noqa: PLC0415 - as above

        from tiering.storage.objects import again  # noqa: PLC0415

        module, store = self._bucket.module, self._bucket.store

        async def ask() -> tuple[bytes, str]:
            found = await module.get_async(store, self._key)
            return bytes(await found.bytes_async()), str(found.meta[self._named])

        data: tuple[bytes, str] = sync(get_loop(), again, module, ask)
        return data

    def put(self, data: bytes, version: str | None) -> str:
        module, store = self._bucket.module, self._bucket.store
        kinds, lost = module.exceptions, False
        mode = "create" if version is None else {self._named: version}
        for pause in (*_PAUSES, None):
            try:
                return str(module.put(store, self._key, data, mode=mode, use_multipart=False)[self._named])
            except (FileExistsError, kinds.AlreadyExistsError, kinds.PreconditionError) as error:
                raise _TakenError(perhaps_ours=lost) from error
            except FileNotFoundError as error:
                if version is None:
                    raise
                raise _TakenError(perhaps_ours=False) from error
            except (NotImplementedError, kinds.NotSupportedError) as error:
                raise unconditional(self._url, "a server that has none") from error
            except kinds.GenericError:
                if pause is None:
                    raise
                lost = True
                time.sleep(pause)
        raise AssertionError  # the loop returns or raises
