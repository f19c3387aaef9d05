"""Measure a mount or an object store into a tier of the catalog."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tiering.advice.catalog import RANDOM_READ, ReadPoint, Tier, find_tier, load_catalog, tier_named
from tiering.errors import UsageError
from tiering.probing import bucket, mount
from tiering.system.mounts import NETWORK, mount_of
from tiering.units import format_bytes, format_count, format_number, format_seconds, parse_capacity

#: Default bound on the bytes written: a file on a mount, objects in a bucket.
FILE_SIZE: Final = 1 << 30
BUCKET_SIZE: Final = 64 << 20

#: The file must hold one of the largest blocks for each read in flight at the greatest depth.
LEAST_SIZE: Final = mount.BLOCKS[-1] * mount.DEPTHS[-1]

#: A depth is enough where it reaches this share of the best bandwidth.
_ENOUGH: Final = 0.95

_MEMORY: Final = frozenset({"tmpfs", "ramfs", "hugetlbfs"})
_SHARES: Final = frozenset({"nfs", "nfs3", "nfs4", "cifs", "smb", "smb3", "smbfs", "afs", "9p"})
_SMALL: Final = 4096
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of a measurement.

    Attributes:
        tier: A tier for a catalog.
        place: The measured path or URL.
        like: Name of the catalog's tier that supplied the figures that cannot be measured.
        seconds: Duration of the measurement.
        written: Bytes written, all removed again.
        notes: Caveats of the figures, one sentence each.
    """

    tier: Tier
    place: str
    like: str
    seconds: float
    written: int
    notes: tuple[str, ...]


def probe(
    location: str | os.PathLike[str],
    *,
    seconds: float = 30.0,
    size: int | str | None = None,
    name: str = "measured",
    like: str | None = None,
    tiers: Sequence[Tier] | None = None,
    announce: Callable[[str], None] = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> Probe:
    """Measure the storage behind a path or URL, as this host sees it, and remove all files written for that.

    Args:
        location: A directory on the mount, or the URL of a bucket or of a prefix in it.
        seconds: About how long the measurement may take.
        size: Most bytes to write, as a number or as text such as "1GiB"; by default 1 GiB on a mount, and 64 MiB behind
            a URL.
        name: Name of the measured tier.
        like: Name of the catalog's tier whose price and endurance it gets, because they cannot be measured; by default
            the most similar one.
        tiers: The catalog; by default the shipped one.
        announce: Called with the bounds, before anything is written.
        progress: Called with the name of each part of the measurement.

    Returns:
        A tier for a catalog, and caveats.

    Raises:
        UsageError: For impossible bounds and names.
        InputError: Where there is no directory.
        MachineError: Without enough free space, or where a bucket cannot be used.
        OSError: Without permission, and on a read-only or full file system.

    Example:
        >>> tiering.probe("/mnt/data", seconds=10).tier.read_bandwidth  # doctest: +SKIP
        2310000000.0
    """
    known = load_catalog() if tiers is None else tiers
    remote = "://" in os.fspath(location)
    bound = parse_capacity(size) if isinstance(size, str) else size
    bound = (BUCKET_SIZE if remote else FILE_SIZE) if bound is None else bound
    _check(seconds, bound, bucket.OBJECT if remote else LEAST_SIZE, name)
    began = time.perf_counter()
    if remote:
        model = tier_named(known, like or "object", "like")
        url = os.fspath(location).rstrip("/")
        announce(
            f"Measuring {url}: at most about {format_seconds(seconds)} and {format_count(bucket.REQUESTS)} requests; "
            f"at most {format_bytes(bound + bucket.MOST_REQUESTS * _SMALL)} are written, and deleted at the end."
        )
        objects = bucket.measure_bucket(url, seconds, bound, progress)
        tier = _bucket_tier(name, objects, model, "/".join(url.split("/")[:3]))
        return Probe(tier, url, model.name, time.perf_counter() - began, objects.written, ())
    wanted = tier_named(known, like, "like") if like else None
    path = Path(location)
    announce(
        f"Measuring {path}: at most about {format_seconds(seconds)}; at most {format_bytes(bound)} are written into a "
        f"hidden directory of its own, read at most {mount.POINTS} times, and removed at the end."
    )
    figures = mount.measure_mount(path, seconds, bound, progress)
    held = mount_of(path)
    kind = held.kind if held else ""
    model = wanted or find_tier(known, _most_like(kind, figures)) or known[0]
    capacity = shutil.disk_usage(path).total
    tier = _mount_tier(name, figures, model, kind, capacity, held.point if held else None)
    notes = tuple(_notes(figures, kind, model.name, bound))
    return Probe(tier, str(path), model.name, time.perf_counter() - began, figures.written, notes)


def _check(seconds: float, size: int, least: int, name: str) -> None:
    if not seconds > 0:
        raise UsageError("seconds", rule="must be above 0", found=format_number(seconds, 6))
    if size < least:
        raise UsageError("size", rule=f"must be at least {format_bytes(least)}", found=format_bytes(size))
    if not _NAME.fullmatch(name):
        raise UsageError("name", rule="must be letters, digits, - and _", found=repr(name))


def _most_like(kind: str, figures: mount.MountFigures) -> str:
    """Return the most similar shipped tier, by the kind of file system and its latency."""
    if kind in _MEMORY:
        return "dram"
    if kind in NETWORK:
        return "nfs" if kind in _SHARES else "parallel-fs"
    if _at(figures.points, "random", _SMALL, 1).p50 > 2e-3:
        return "hdd"
    return "nvme" if _best(figures.points, "sequential").bandwidth > 600e6 else "sata-ssd"


def _mount_tier(
    name: str, figures: mount.MountFigures, model: Tier, kind: str, capacity: int, point: str | None
) -> Tier:
    single = _at(figures.points, "random", _SMALL, 1)
    opened = max(0.0, figures.small_read - single.p50)
    # A local disk keeps the names of new files in memory. The catalog counts two more reads for uncached names.
    cold = opened if kind in NETWORK or kind in _MEMORY else opened + 2 * single.p50
    measured: dict[str, object] = {
        "access": "memory" if kind in _MEMORY else "file",
        "network": kind in NETWORK,
        "mmap_ok": kind not in NETWORK,
        # What all nodes together get cannot be measured from one.
        "total_bandwidth": model.total_bandwidth if kind in NETWORK else None,
        "total_iops": model.total_iops if kind in NETWORK else None,
        "capacity": capacity or None,
        "write_bandwidth": figures.write_bandwidth,
        "open_cost": cold,
        "metadata_rate": figures.metadata_rate,
        "sync_rate": figures.sync_rate,
        "measured_at": point,
    }
    return _tier(name, model, measured, figures.points)


def _bucket_tier(name: str, figures: bucket.BucketFigures, model: Tier, place: str) -> Tier:
    measured: dict[str, object] = {
        "access": "object",
        "network": True,
        "mmap_ok": False,
        "capacity": None,
        "write_bandwidth": figures.write_bandwidth,
        # Nothing is opened: the only wait is for the first byte.
        "open_cost": _at(figures.points, "random", _SMALL, 1).p50,
        "metadata_rate": figures.metadata_rate,
        "sync_rate": figures.sync_rate,
        "measured_at": place,
    }
    return _tier(name, model, measured, figures.points)


def _tier(name: str, model: Tier, measured: dict[str, object], points: tuple[ReadPoint, ...]) -> Tier:
    single = _at(points, "random", _SMALL, 1)
    small, large = _best(points, "random", _SMALL), _best(points, "random", RANDOM_READ)
    small_depth, large_depth = _depth(points, small), _depth(points, large)
    figures = {
        "name": name,
        "title": f"{model.title}, measured",
        "read_bandwidth": _best(points, "sequential").bandwidth,
        "random_bandwidth": large.bandwidth,
        "iops": small.bandwidth / _SMALL,
        "read_latency_p50": single.p50,
        "read_latency_p99": single.p99,
        "queue_depth": max(small_depth, large_depth),
        "read_points": points,
    }
    return Tier.model_validate(model.model_dump() | measured | figures)


def _at(points: Sequence[ReadPoint], pattern: Literal["random", "sequential"], block: int, depth: int) -> ReadPoint:
    return next(each for each in points if (each.pattern, each.block, each.depth) == (pattern, block, depth))


def _best(points: Sequence[ReadPoint], pattern: str, block: int | None = None) -> ReadPoint:
    fitting = [each for each in points if each.pattern == pattern and block in (None, each.block)]
    return max(fitting, key=lambda each: each.bandwidth)


def _depth(points: Sequence[ReadPoint], best: ReadPoint) -> int:
    """Return the smallest depth whose bandwidth is as good as the best."""
    return min(
        each.depth
        for each in points
        if (each.pattern, each.block) == (best.pattern, best.block) and each.bandwidth >= _ENOUGH * best.bandwidth
    )


def _notes(figures: mount.MountFigures, kind: str, like: str, bound: int) -> list[str]:
    notes = [f"Price and endurance cannot be measured: they come from {like} in the catalog (`like`)."]
    if kind in _MEMORY:
        notes.append(f"{kind} keeps its files in memory: the figures are the memory's.")
    elif not figures.direct:
        notes.append("This file system has no direct reads (O_DIRECT): the page cache was dropped before each point.")
    if kind not in NETWORK and kind not in _MEMORY:
        notes.append("Look-ups came from memory; open_cost counts two more reads for uncached names.")
    if figures.read_from < bound:
        notes.append(f"Writing was slow: reads were measured on {format_bytes(figures.read_from)}.")
    return notes
