"""The manifest, which makes a directory a finished store. It contains its own CRC-32C."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import google_crc32c
from pydantic import Field, ValidationError

from tiering.errors import StoreError, command
from tiering.notebook import Shown, Summary, data_frame
from tiering.sources.account import Account
from tiering.storage.attempts import attempts
from tiering.storage.json_text import parse_json
from tiering.storage.location import Location
from tiering.storage.names import PublicUrl, RelativeName
from tiering.store.changes import Change
from tiering.store.layout import MANIFEST, kept_manifest_name, shard_number
from tiering.store.lmdb_format import refuse_other
from tiering.store.manifest_checks import contradictions
from tiering.store.schema import Count, Crc, Frozen
from tiering.store.schema import Field as SampleField
from tiering.store.settings import LONGEST_BUILD, Settings
from tiering.units import format_bytes, format_count

if TYPE_CHECKING:
    import polars as pl

#: The formats that are written, and the oldest that is read. Format 2 has no fields of samples and only pixels of 8
#: bits, format 3 no re-encoded images: their readers would call such a manifest damaged, so they are told that it is
#: newer. Stores of other samples stay readable by tiering that knows format 3 only.
FORMAT_VERSION: Final = 4
_WITHOUT_REENCODED: Final = 3
OLDEST_VERSION: Final = 2

#: The most bytes in manifest.json: enough for a million labels, or two hundred thousand shards.
LARGEST: Final = 64 << 20

Number = Annotated[int, Field(ge=0, lt=1 << 31)]


class Shard(Frozen):
    """One file of packed samples."""

    name: RelativeName = Field(description="path relative to the store, POSIX: see tiering.store.layout")
    samples: Count = Field(description="samples that the index names")
    bytes: Count = Field(description="size of the file")
    crc32c: Crc = Field(description="CRC-32C of the file")
    removed: Count = Field(
        default=0, description="samples that the index does not name any more, after append --sync or remove"
    )
    encoder: Annotated[str, Field(max_length=LONGEST_BUILD)] | None = Field(
        default=None, description="software that made the samples, with versions; None: they are not re-encoded"
    )

    @property
    def packed(self) -> int:
        """Samples in the file, whether the index names them or not."""
        return self.samples + self.removed

    @property
    def number(self) -> int:
        """The number in the file's name."""
        return shard_number(self.name)


class SourceRecord(Frozen):
    """A source from which images were packed."""

    url: PublicUrl
    fingerprint: str = Field(description="SHA-256 over every key and size, in order of the listing")
    root: PublicUrl | None = Field(
        default=None, description="for a table: the directory of its paths; None: the table's own"
    )
    columns: dict[str, str] = Field(
        default={}, description="for a table: the columns of path, label and split, if given"
    )
    images_only: bool = Field(default=False, description="masks and other sidecars of images were left out")
    sidecars: bool = Field(default=False, description="masks and other sidecars of images were packed as their fields")
    fields: dict[str, str] = Field(default={}, description="for a folder: patterns of the files of fields, if given")
    others: bool = Field(default=False, description="images from other sources were packed before")


class Manifest(Shown, Frozen):
    """manifest.json: written last, so that a directory without one is not a finished store."""

    format: Literal["tiering"] = "tiering"
    format_version: Literal[2, 3, 4] = 3
    generation: int = Field(default=1, description="1, and one more with every append", ge=1, le=10**9)
    kind: Literal["folder", "lmdb", "zarr"]
    samples: Count
    image_bytes: Count = Field(description="sum of the samples' sizes")
    layout: str
    labels: list[str] = Field(description="names of the classes, in the order of their numbers")
    label_numbers: list[Number] = Field(
        default=[], description="number of each class in the index and the loader; empty: 0, 1, 2, ..."
    )
    splits: list[str] = Field(default=[], description="names of the splits, in the order of their numbers")
    left_out: Count = Field(default=0, description="files that could not be packed or read, see left-out.tsv")
    account: Account | None = Field(
        default=None, description="everything in the source, packed or left out; None in stores of tiering up to 0.2"
    )
    settings: Settings | None = None
    lmdb_format: str | None = Field(
        default=None, description="the LMDB that reads the shards; None: 0.9, or not an LMDB store"
    )
    source: SourceRecord
    earlier: list[SourceRecord] = Field(default=[], description="other sources from which images were packed")
    shards: list[Shard] = Field(default=[], description="files of packed samples, in packed order")
    next_shard: Count = Field(default=0, description="numbers below this one were used, by shards that a purge removed")
    fields: list[SampleField] = Field(default=[], description="what samples have beside image, key, label and split")
    index: RelativeName = Field(default="index", description="directory of the index of this generation")
    columns: dict[RelativeName, Crc] = Field(default={}, description="CRC-32C of each column of the index")
    documents: dict[RelativeName, Crc] = Field(default={}, description="CRC-32C of every other file of the store")
    log: list[Change] = Field(default=[], description="all generations up to this one; empty after a conversion")

    def summary(self) -> Summary:
        """Return the contents of the store in a few rows."""
        held = f"{format_count(self.samples)}, {format_bytes(self.image_bytes)}"
        shards, generation = format_count(len(self.shards)), str(self.generation)
        rows = [("samples", held), ("classes", format_count(len(self.labels))), ("shards", shards)]
        return f"Store of kind {self.kind}", [*rows, ("generation", generation), ("source", self.source.url)]

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each class, with its number and its name."""
        return data_frame({"number": self.classes, "name": self.classes.values()})

    @property
    def classes(self) -> dict[int, str]:
        """The class map: the name of each number that a sample may be served with."""
        return dict(zip(self.label_numbers or range(len(self.labels)), self.labels, strict=True))

    @property
    def raw_bytes(self) -> int | None:
        """Bytes of a raw array that the store takes as an image; None if it takes none."""
        pixels = self.settings.pixels if self.settings else None
        return pixels.shape.nbytes if pixels is not None and pixels.raw else None

    @property
    def new_shard(self) -> int:
        """The number of the next shard to be packed."""
        return max(self.next_shard, self.shards[-1].number + 1 if self.shards else 0)

    @property
    def largest_label(self) -> int:
        """The largest number of a class, -1 where there are no classes."""
        return self.label_numbers[-1] if self.label_numbers else len(self.labels) - 1


def encode_manifest(manifest: Manifest, *, as_read: bool = False) -> bytes:
    """Return the contents of manifest.json: the model, and the CRC-32C of its canonical JSON.

    as_read: leave out fields that the manifest did not have when it was read. A manifest of an older version then gives
    the same bytes again, although fields were added since.
    """
    content = manifest.model_dump(mode="json", exclude_unset=as_read)
    version = FORMAT_VERSION
    if manifest.settings is None or manifest.settings.reencoded is None:
        # Without these names, which are null, tiering that knows format 3 only can read it.
        version = _WITHOUT_REENCODED
        (content.get("settings") or {}).pop("reencoded", None)
        for shard in content.get("shards", ()):
            shard.pop("encoder", None)
    content |= {} if as_read else {"format_version": version}
    return json.dumps(content | {"crc32c": _crc(content)}, indent=2).encode() + b"\n"


def read_manifest(store: Location) -> Manifest:
    """Read a store's manifest.json.

    Names, counts and sizes in a returned manifest agree with one another. The files are checked when they are read.
    Raises StoreError for an unfinished, newer or damaged store, and for files of a different LMDB.
    """
    try:
        return _read(store, store / MANIFEST)
    except FileNotFoundError:
        raise StoreError(
            str(store),
            found=f"not a finished store: it has no {MANIFEST}",
            action="The conversion did not finish: run the same command again (tiering convert DATASET STORE).",
        ) from None


def read_kept(store: Location, generation: int) -> Manifest | None:
    """Read the manifest of an earlier generation, as read_manifest does. Returns None if the store does not keep it."""
    location = store / kept_manifest_name(generation)
    try:
        manifest = _read(store, location)
    except FileNotFoundError:
        return None
    if manifest.generation != generation:
        raise _damaged(location, f"the manifest of generation {manifest.generation}")
    return manifest


def _read(store: Location, location: Location) -> Manifest:
    """Read a manifest. Raises FileNotFoundError if there is none, and StoreError as read_manifest does."""
    text = _read_sound(location)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise _damaged(location, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(location, "no JSON object")
    version = content.get("format_version")
    if not isinstance(version, int) or not OLDEST_VERSION <= version <= FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        raise StoreError(
            str(location),
            expected=f"format version {OLDEST_VERSION} to {FORMAT_VERSION}",
            found=f"format version {version!r}"[:100],
            action="It needs a newer tiering."
            if newer
            else f"Convert the dataset again: {command('tiering', 'convert', 'DATASET', store, '--overwrite')}",
        )
    crc = content.pop("crc32c", None)
    if crc != _crc(content):
        raise _damaged(location, "a different CRC-32C")
    try:
        manifest = Manifest.model_validate(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part)[:100] for part in first["loc"])
        raise _damaged(location, f"{where}: {first['msg'].lower()}") from error
    refuse_other(store, str(location), manifest.lmdb_format)
    wrong = next(contradictions(manifest), None)
    if wrong is not None:
        raise StoreError(
            str(location),
            expected="a manifest whose parts agree",
            found=wrong,
            action="tiering does not write such a manifest. Copy the store again, or convert the dataset again.",
        )
    return manifest


def _read_sound(location: Location) -> bytes:
    """Read a manifest. If a remote one has a wrong CRC-32C, fetch it again, a few times."""
    text = b""
    for last in attempts(location):
        text = location.read(most=LARGEST)
        if last or _is_sound(text):
            break
    return text


def _is_sound(text: bytes) -> bool:
    try:
        content = parse_json(text)
    except ValueError:
        return False
    return isinstance(content, dict) and content.pop("crc32c", None) == _crc(content)


def _crc(content: dict[str, Any]) -> int:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return int(google_crc32c.value(canonical.encode()))


def _damaged(location: Location, found: str) -> StoreError:
    return StoreError(
        str(location),
        expected="a tiering manifest with the CRC-32C that it names",
        found=found,
        action="The manifest is damaged: restore the file from a copy, or convert the dataset again.",
    )
