"""The manifest: what makes a directory a finished store, and its own CRC-32C with it."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

import google_crc32c
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tiering.dataset.pixels import PixelShape, ResizeMode
from tiering.errors import StoreError
from tiering.storage.location import Location
from tiering.storage.names import PublicUrl

MANIFEST: Final = "manifest.json"
FORMAT_VERSION: Final = 2

Kind = Literal["lmdb", "zarr"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shard(_Frozen):
    """One file of packed samples."""

    name: str = Field(description="path relative to the store, POSIX")
    samples: int = Field(ge=0)
    bytes: int = Field(description="size of the file", ge=0)
    crc32c: int = Field(description="CRC-32C of the file")


class Pixels(_Frozen):
    """The one shape of a store of decoded images, and how images were brought to it."""

    height: int = Field(ge=1)
    width: int = Field(ge=1)
    channels: Literal[1, 3]
    resize: ResizeMode | None = Field(default=None, description="None: the images had that shape")

    @property
    def shape(self) -> PixelShape:
        """The shape of one sample."""
        return PixelShape(self.height, self.width, self.channels)


class Settings(_Frozen):
    """How a store is packed; equal settings over an equal source give an equal store."""

    seed: int = Field(default=0, description="seed of the packed order")
    shard_bytes: int = Field(description="upper bound of the samples' bytes in one shard", ge=1)
    codec: str = Field(default="none", description="codec of the Zarr chunks")
    chunk_bytes: int = Field(default=0, description="bytes of one Zarr chunk; 0 for LMDB", ge=0)
    pixels: Pixels | None = Field(default=None, description="None: the store holds the original files")


class Source(_Frozen):
    """What a store was packed from."""

    url: PublicUrl
    fingerprint: str = Field(description="SHA-256 over every key and size, in order of the listing")


class Manifest(_Frozen):
    """manifest.json: written last, so that a directory without one is not a finished store."""

    format: Literal["tiering"] = "tiering"
    format_version: Literal[2] = 2
    generation: int = Field(default=1, description="1, and one more with every append", ge=1)
    kind: Literal["folder", "lmdb", "zarr"]
    samples: int = Field(ge=0)
    image_bytes: int = Field(description="sum of the samples' sizes", ge=0)
    layout: str
    labels: list[str]
    splits: list[str] = []
    left_out: int = Field(default=0, description="images that could not be packed: see bad-files.tsv")
    settings: Settings | None = None
    source: Source
    shards: list[Shard] = []
    index: str = Field(default="index", description="directory of the index of this generation")
    columns: dict[str, int] = Field(default={}, description="CRC-32C of each column of the index")
    documents: dict[str, int] = Field(default={}, description="CRC-32C of every other file of the store")


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the contents of manifest.json: the model, and the CRC-32C of its canonical JSON."""
    content = manifest.model_dump(mode="json")
    return json.dumps(content | {"crc32c": _crc(content)}, indent=2).encode() + b"\n"


def read_manifest(store: Location) -> Manifest:
    """Read a store's manifest.json. Raises StoreError for an unfinished, newer or damaged store."""
    place = store / MANIFEST
    try:
        text = place.read()
    except FileNotFoundError:
        raise StoreError(
            str(store),
            expected="a finished store",
            found=f"no {MANIFEST}",
            action="The conversion did not finish: run the same command again (tiering convert DATASET STORE).",
        ) from None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _damaged(place, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(place, "no JSON object")
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        raise StoreError(
            str(place),
            expected=f"format version {FORMAT_VERSION}",
            found=f"format version {version!r}",
            action="It needs a newer tiering." if newer else "Convert the dataset again.",
        )
    crc = content.pop("crc32c", None)
    if crc != _crc(content):
        raise _damaged(place, "another one")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(place, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}") from error


def _crc(content: dict[str, Any]) -> int:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return int(google_crc32c.value(canonical.encode()))


def _damaged(place: Location, found: str) -> StoreError:
    return StoreError(
        str(place),
        expected="a tiering manifest with the CRC-32C that it names",
        found=found,
        action="The manifest is damaged: restore the file from a copy, or convert the dataset again.",
    )
