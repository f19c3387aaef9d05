"""Google's and Azure's buckets as an fsspec file system, through obstore instead of other drivers.

It follows fsspec's conventions: paths are bucket/key, and a directory is any prefix of existing keys.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractBufferedFile

T = TypeVar("T")

#: A faulty request stays faulty; 408 and 429 are temporary.
_LASTING: Final = re.compile(r"status code: 4(?!08|29)")

_PIECE: Final = 8 << 20
_PAUSES: Final = (0.1, 0.3, 1.0, 3.0)


async def again(module: Any, ask: Callable[[], Awaitable[T]]) -> T:
    """Make a request through obstore, and repeat it if the server fails or the connection breaks.

    module: obstore; ask: makes the request.
    """
    for pause in _PAUSES:
        try:
            return await ask()
        except module.exceptions.GenericError as error:
            if _LASTING.search(str(error)):
                raise
            await asyncio.sleep(pause)
    return await ask()


class ObjectFiles(AsyncFileSystem):  # type: ignore[misc] # fsspec has no types
    """One bucket.

    module: obstore; store: its client; name: of the bucket; scheme: of its URLs.
    """

    cachable = False

    def __init__(self, module: Any, store: Any, scheme: str, name: str) -> None:
        super().__init__(use_listings_cache=False)
        self.protocol = scheme
        self._module, self._store, self._name = module, store, name

    @classmethod
    def _strip_protocol(cls, path: str | list[str]) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return path.partition("://")[2].rstrip("/") if "://" in path else path.rstrip("/")

    def _key(self, path: str) -> str:
        return str(self._strip_protocol(path)).removeprefix(self._name).lstrip("/")

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await again(self._module, ask)

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        key = self._key(path)
        if key:
            try:
                return self._about(await self._again(lambda: self._module.head_async(self._store, key)))
            except FileNotFoundError:
                pass
        found = await self._listed(key)
        if not found and key:
            raise FileNotFoundError(path)
        return {"name": f"{self._name}/{key}".rstrip("/"), "type": "directory", "size": 0}

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        key = self._key(path)
        found = await self._listed(key)
        if not found:
            about = await self._info(path)
            found = [about] if about["type"] == "file" else []
        return found if detail else sorted(each["name"] for each in found)

    async def _listed(self, key: str) -> list[dict[str, Any]]:
        ask = self._module.list_with_delimiter_async
        listed = await self._again(lambda: ask(self._store, prefix=f"{key}/" if key else None))
        folders = [
            {"name": f"{self._name}/{each}".rstrip("/"), "type": "directory", "size": 0}
            for each in listed["common_prefixes"]
        ]
        return [self._about(each) for each in listed["objects"]] + folders

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        key = self._key(path)
        if start is None and end is None:
            found = await self._again(lambda: self._module.get_async(self._store, key))
            return bytes(await found.bytes_async())
        size = 0
        if end is None or (start or 0) < 0 or end < 0:
            size = int((await self._info(path))["size"])
        first = max(0, size + start) if start is not None and start < 0 else start or 0
        last = size if end is None else size + end if end < 0 else end
        if last <= first:
            return b""
        ask = self._module.get_range_async
        return bytes(await self._again(lambda: ask(self._store, key, start=first, end=last)))

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        await self._again(lambda: self._module.put_async(self._store, self._key(path), value, mode=mode))

    async def _put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        await self._again(lambda: self._module.put_async(self._store, self._key(rpath), Path(lpath)))

    async def _get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        size = int((await self._info(rpath))["size"])
        with Path(lpath).open("wb") as file:
            for begin in range(0, size, _PIECE):
                piece = await self._cat_file(rpath, begin, min(begin + _PIECE, size))
                file.write(piece)

    async def _rm_file(self, path: str, **_: Any) -> None:
        # fsspec removes a tree's directories too, but here they are not objects.
        with suppress(FileNotFoundError):
            await self._again(lambda: self._module.delete_async(self._store, self._key(path)))

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> None:
        await self._again(lambda: self._module.copy_async(self._store, self._key(path1), self._key(path2)))

    def _open(self, path: str, mode: str = "rb", block_size: int = _PIECE, **options: Any) -> Any:
        if mode == "wb":
            return _Upload(self._module.open_writer(self._store, self._key(path), buffer_size=block_size))
        return _Download(self, path, mode, block_size=block_size, **options)

    def _about(self, meta: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": f"{self._name}/{meta['path']}",
            "type": "file",
            "size": meta["size"],
            "etag": meta["e_tag"],
            "last_modified": meta["last_modified"],
        }


class _Upload:
    """A file that is written sequentially, and appears when it is closed."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.closed = False

    def write(self, data: bytes) -> int:
        """Write some bytes."""
        return int(self._writer.write(data))

    def close(self) -> None:
        """Finish the upload."""
        if not self.closed:
            self.closed = True
            self._writer.close()

    def discard(self) -> None:
        """Leave it unfinished: nothing appears."""
        self.closed = True


class _Download(AbstractBufferedFile):  # type: ignore[misc] # fsspec has no types
    def _fetch_range(self, start: int, end: int) -> bytes:
        found: bytes = self.fs.cat_file(self.path, start=start, end=end)
        return found
