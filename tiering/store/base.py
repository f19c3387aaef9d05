"""What every store is: the Store protocol, Sample, and the manifest that makes a directory a finished store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tiering.errors import StoreError
from tiering.store.index import Index

MANIFEST = "manifest.json"
FORMAT_VERSION = 1

IndexArray = npt.NDArray[np.int64]
Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: its encoded bytes, its label and its key.

    image: the original encoded bytes. Where the store is a mapped file this is a view of it, valid as long as it
        is referenced.
    label: index into the manifest's labels, or -1 where the dataset has none.
    key: path of the original relative to the dataset directory, POSIX separators; bytes that are not UTF-8 come as
        surrogate escapes, so that os.fsencode(key) is byte-exact.
    """

    image: Buffer
    label: int
    key: str


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """Where samples lie: parallel arrays of int64; `file` counts the store's files."""

    file: IndexArray
    offset: IndexArray
    size: IndexArray


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shard(_Frozen):
    """One file of packed samples."""

    name: str = Field(description="path relative to the store, POSIX")
    samples: int
    bytes: int = Field(description="size of the file")
    crc32c: int = Field(description="CRC-32C of the file")


class Settings(_Frozen):
    """How a store was packed; equal settings over an equal source give an equal store."""

    seed: int = Field(default=0, description="seed of the packed order")
    shard_bytes: int = Field(description="upper bound of the samples' bytes in one shard")
    codec: str = Field(default="none", description="codec of the Zarr chunks")
    chunk_bytes: int = Field(default=0, description="bytes of one Zarr chunk; 0 for LMDB")


class Source(_Frozen):
    """What a store was packed from."""

    path: str
    fingerprint: str = Field(description="SHA-256 over every key and size, in order of key")


class Manifest(_Frozen):
    """manifest.json: written last, so that a directory without one is not a finished store."""

    format: Literal["tiering"] = "tiering"
    format_version: Literal[1] = 1
    kind: Literal["folder", "lmdb", "zarr"]
    samples: int
    image_bytes: int = Field(description="sum of the samples' sizes")
    layout: str
    labels: list[str]
    settings: Settings | None = None
    source: Source
    shards: list[Shard] = []
    columns: dict[str, int] = Field(default={}, description="CRC-32C of each column of the index")


class Store(Protocol):
    """Random access to the encoded samples of a dataset."""

    path: Path
    manifest: Manifest
    index: Index

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, i: int) -> Sample:
        """Return one sample; negative numbers count from the end. Raises IndexError."""
        ...

    def read(self, indices: IndexArray) -> list[Buffer]:
        """Return the encoded bytes of many samples, in the order asked for; views where that saves a copy."""
        ...

    def byte_ranges(self, indices: IndexArray) -> ByteRanges | None:
        """Say where samples lie in `files()`, or None where they are not stored as plain ranges."""
        ...

    def announce(self, indices: IndexArray) -> None:
        """Tell the kernel that these samples will be read soon. A hint: it never blocks for data nor fails."""
        ...

    def files(self) -> list[Path]:
        """Return the files that hold the samples."""
        ...

    def close(self) -> None:
        """Let go of files and maps. Views that are still referenced stay valid."""
        ...


def sample_of(store: Store, i: int) -> Sample:
    """Read sample i of any store, with Python's rules for indices."""
    n = len(store)
    if not -n <= i < n:
        raise IndexError(f"sample {i} of a store of {n:,}")
    at = np.array([i % n], dtype=np.int64)
    return Sample(store.read(at)[0], int(store.index.label[at[0]]), os.fsdecode(store.index.keys(at)[0]))


def read_manifest(path: Path) -> Manifest:
    """Read a store's manifest.json. Raises StoreError for an unfinished, newer or damaged store."""
    try:
        text = (path / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise StoreError(
            str(path),
            expected="a finished store",
            found=f"no {MANIFEST}",
            action="The conversion did not finish: run it again (tiering convert DATASET STORE).",
        ) from None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise StoreError(
            str(path / MANIFEST),
            expected=f"a tiering manifest of format version {FORMAT_VERSION}",
            found=f"{'.'.join(str(part) for part in first['loc']) or 'the file'}: {first['msg'].lower()}",
            action="A newer format needs a newer tiering; a damaged one needs a new conversion.",
        ) from error
