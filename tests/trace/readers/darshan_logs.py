"""Darshan logs made for tests: a job, names of files, and records of modules, as Darshan 3.4.1 and later write them.

Source: darshan-log-format.h of github.com/darshan-hpc/darshan; the shapes of jobs are those of darshan-hpc/darshan-logs
(ior_daos, mpi_io_test_with_dxt). The library that reads them is Darshan's own.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from darshan.backend.cffi_backend import counter_names

#: Place among the modules of a log, version of the records, and B that follow a record's counters.
_MODULES = {"POSIX": (1, 4, 0), "MPI-IO": (2, 3, 0), "STDIO": (9, 2, 0), "DFS": (16, 1, 32), "DAOS": (17, 1, 48)}
_TRACED = {"DXT_POSIX": (10, 1), "DXT_MPIIO": (11, 2)}
_SLOTS = 64
_JOB = 4096


def record(module: str, identity: int, rank: int = 0, **counters: float) -> tuple[str, bytes]:
    """Make a record of a module's counters; those that are not given are 0, times at 1 s and 2 s."""
    names, times = counter_names(module), counter_names(module, fcnts=True)
    prefix = names[0].split("_")[0]
    given = {f"{prefix}_{name}": value for name, value in counters.items()}
    assert given.keys() <= {*names, *times}, given.keys() - {*names, *times}
    whole = [int(given.get(name, 0)) for name in names]
    real = [float(given.get(name, 2.0 if name.endswith("END_TIMESTAMP") else 1.0)) for name in times]
    packed = struct.pack(f"<Qq{len(whole)}q{len(real)}d", identity, rank, *whole, *real)
    return module, packed + bytes(_MODULES[module][2])


def traced(
    module: str, identity: int, rank: int = 0, *, writes: list[tuple[int, int]] = (), reads: list[tuple[int, int]] = ()
) -> tuple[str, bytes]:
    """Make a record of extended tracing from accesses (offset, length), a second each."""
    head = struct.pack("<Qqq64sqq", identity, rank, 0, b"host", len(writes), len(reads))
    segments = [struct.pack("<qqdd", *each, float(place), place + 0.5) for place, each in enumerate([*writes, *reads])]
    return module, head + b"".join(segments)


def write_log(path: Path, names: dict[int, str], *records: tuple[str, bytes], partial: int = 0) -> Path:
    """Write a log. partial: the header's bits of modules that ran out of memory."""
    job = struct.pack("<7q1024s", 1000, 1_700_000_000, 0, 1_700_000_010, 0, 2, 42, b"lib_ver=3.4.1\n")
    regions = [zlib.compress((job + b"./app\next4\t/").ljust(_JOB, b"\0"))]
    regions.append(
        zlib.compress(b"".join(struct.pack("<Q", key) + name.encode() + b"\0" for key, name in names.items()))
    )
    places, versions = [(0, 0)] * _SLOTS, [0] * _SLOTS
    at = 32 + 16 * (1 + _SLOTS) + 4 * _SLOTS
    name_map = (at + len(regions[0]), len(regions[1]))
    at = sum(name_map)
    for module in sorted({module for module, _ in records}, key=lambda name: (_MODULES | _TRACED)[name][0]):
        slot, version = (_MODULES | _TRACED)[module][:2]
        # Each process compresses its own.
        region = b"".join(zlib.compress(data) for each, data in records if each == module)
        places[slot], versions[slot] = (at, len(region)), version
        regions.append(region)
        at += len(region)
    header = struct.pack("<8sqB7xQ", b"3.41", 6567223, 0, partial) + struct.pack("<QQ", *name_map)
    header += b"".join(struct.pack("<QQ", *place) for place in places) + struct.pack(f"<{_SLOTS}I", *versions)
    path.write_bytes(header + b"".join(regions))
    return path
