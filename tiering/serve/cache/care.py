"""Looking after a cache: what it holds, whether it is sound, filling it ahead, and emptying it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from tiering.errors import UsageError
from tiering.serve.cache.about import About, open_slots
from tiering.serve.cache.directory import in_use
from tiering.serve.cache.fill import LENGTH_BYTES
from tiering.serve.cache.space import CacheSpace
from tiering.serve.cache.store import CachedStore
from tiering.serve.loader import Loader


@dataclass(frozen=True, slots=True)
class CachedDataset:
    """What a cache holds of one dataset.

    samples, image_bytes: of the whole dataset; cached_bytes: of it in the cache; in_use: whether a process reads it
    now; last_used: s since 1970.
    """

    origin: str
    samples: int
    image_bytes: int
    cached_bytes: int
    in_use: bool
    last_used: float


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache directory holds. size: its bound; used_bytes: of all files in it."""

    directory: str
    size: int
    used_bytes: int
    datasets: tuple[CachedDataset, ...]


@dataclass(frozen=True, slots=True)
class CacheCheck:
    """What a check of a cache found. units: payloads read; damaged: of them, now taken out."""

    units: int
    damaged: int


def info(directory: Path) -> CacheInfo:
    """Look at a cache. Raises UsageError for a directory that is none."""
    space = CacheSpace.at(directory)
    found = []
    for dataset in space.datasets():
        about = About.of(dataset)
        cached = sum(size for _, _, size, _ in _payloads(space, dataset))
        used = (dataset / "in-use").stat().st_mtime
        found.append(CachedDataset(about.origin, about.samples, about.image_bytes, cached, in_use(dataset), used))
    return CacheInfo(str(directory), space.size, space.used_bytes(), tuple(found))


def check(directory: Path) -> CacheCheck:
    """Read every payload and compare its CRC-32C; take out what is damaged, so that it is fetched anew.

    Raises UsageError for a directory that is no cache.
    """
    space = CacheSpace.at(directory)
    units = damaged = 0
    for dataset in space.datasets():
        slots = open_slots(dataset)
        for unit, place, size, crc in _payloads(space, dataset):
            units += 1
            if google_crc32c.value(_read(*place, size)) != crc:
                damaged += 1
                slots.withdraw(unit)
    return CacheCheck(units, damaged)


def clear(directory: Path, origin: str | None = None) -> list[str]:
    """Remove datasets from a cache: all, or those of one origin; return their origins.

    Raises UsageError for a directory that is no cache, an origin that it does not hold, and one that is in use.
    """
    space = CacheSpace.at(directory)
    with space.locked():
        origins = {each: About.of(each).origin for each in space.datasets()}
        chosen = {each: name for each, name in origins.items() if origin in (None, name)}
        if origin is not None and not chosen:
            raise UsageError(origin, expected="an origin that the cache holds", found="none of it in the cache")
        for each, name in chosen.items():
            if in_use(each):
                raise UsageError(
                    name, expected="a dataset that nobody uses", found="one in use",
                    action="Wait for the processes that read it.",
                )  # fmt: skip
        for each in chosen:
            space.forget(each.name)
    return list(chosen.values())


def warm(store: CachedStore, progress: Callable[[int, int, int], None] | None = None) -> None:
    """Fetch a dataset in its own order until the cache has all of it, or is full.

    progress: told of the samples gone through, of how many, and of their bytes. Raises what reading raises.
    """
    samples = size = 0
    for batch in Loader(store, 256, shuffle=False):
        samples += len(batch)
        size += int(store.index.size[batch.indices].sum())
        if progress:
            progress(samples, len(store), size)
        if store.full:
            return


def _payloads(space: CacheSpace, dataset: Path) -> Iterator[tuple[int, tuple[Path, int], int, int]]:
    """Yield each unit that is there: its number, the extent and place of its payload, its bytes and CRC-32C."""
    paths = space.paths()
    for rows in open_slots(dataset).filled():
        for unit, extent, offset, crc in zip(*(column.tolist() for column in rows), strict=True):
            if extent < len(paths):
                size = int.from_bytes(_read(paths[extent], offset - LENGTH_BYTES, LENGTH_BYTES), "little")
                yield unit, (paths[extent], offset), min(size, space.extent_bytes), crc


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except FileNotFoundError:
        return b""
