"""What the Tab key offers for the value of an argument or option."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from typer import Context

from tiering.errors import TieringError

#: A value, and what it means.
_Offer = tuple[str, str]

#: How files end that traces are kept in. Formats are recognised by contents, so other names work as well.
_TRACES: Final = [
    ".strace",
    ".trace",
    ".parquet",
    ".darshan",
    ".iolog",
    ".log",
    ".pfw",
    ".csv",
    ".tsv",
    ".jsonl",
    ".json",
    ".txt",
    ".bin",
    ".blktrace",
    ".perf",
    ".out",
]
_COMPRESSED: Final = (".gz", ".zst", ".xz", ".bz2")
#: The file that makes a directory a packed store.
_MANIFEST: Final = "manifest.json"
#: Names that need no quotes in any shell. The shell's own completion offers the others.
_PLAIN: Final = re.compile(r"[\w@%+=,./~-]+")


def tiers(ctx: Context, incomplete: str) -> list[_Offer]:
    """Offer the tiers of the catalog, or of that of --catalog or --cloud; after `DIR=`, too."""
    # Imported here so that nothing but this waits for pydantic.
    from tiering.advice.catalog import load_catalog

    given, equals, name = incomplete.rpartition("=")
    with suppress(TieringError):
        found = load_catalog(ctx.params.get("catalog"), cloud=ctx.params.get("cloud"))
        return [(f"{given}{equals}{each.name}", each.title) for each in found if each.name.startswith(name)]
    return []


def codecs(incomplete: str) -> list[str]:
    """Offer the codecs of Zarr chunks, without their levels."""
    from tiering.store.codecs import NAMES

    return [name for name in ("auto", *NAMES) if name.startswith(incomplete)]


def accelerators(incomplete: str) -> list[str]:
    """Offer the devices, and the models on them, whose speed is known."""
    from tiering.advice.accelerators import load_accelerators

    known = load_accelerators()
    names = {each.device for each in known} | {each.name for each in known}
    return sorted(name for name in names if name.startswith(incomplete))


def emulated_jobs(incomplete: str) -> list[str]:
    """Offer the jobs of MLPerf Storage."""
    from tiering.advice.accelerators import load_accelerators

    return [each.name for each in load_accelerators() if each.name.startswith(incomplete)]


def stores(incomplete: str) -> list[str]:
    """Offer packed stores, and directories: each may hold images, or stores."""
    return _paths(incomplete, lambda _: False)


def traces(incomplete: str) -> list[str]:
    """Offer files that are called as traces are, profiles among them, and directories."""
    return _paths(incomplete, _is_trace)


def profiles_and_stores(incomplete: str) -> list[str]:
    """Offer JSON files, packed stores, and directories."""
    return _paths(incomplete, lambda path: path.suffix == ".json")


def _is_trace(path: Path) -> bool:
    name = path.with_suffix("") if path.suffix in _COMPRESSED else path
    return name.suffix in _TRACES or ".strace." in path.name


def _paths(incomplete: str, wanted: Callable[[Path], bool]) -> list[str]:
    """Return the stores, directories and wanted files whose paths begin so."""
    if "://" in incomplete:
        return []
    found = [*_entries(incomplete, wanted)]
    # A shell ends a word that it has completed. With what is inside as well, the word of a directory goes on.
    while len(found) == 1 and found[0].endswith("/") and (inside := [*_entries(found[0], wanted)]):
        found = [*found, *inside] if len(inside) > 1 or not inside[0].endswith("/") else inside
    return found


def _entries(begun: str, wanted: Callable[[Path], bool]) -> Iterator[str]:
    head, slash, start = begun.rpartition("/")
    directory = Path(f"{head}{slash}" or ".").expanduser()
    with suppress(OSError):
        for path in sorted(directory.iterdir()):
            if not path.name.startswith(start) or (path.name.startswith(".") and not start):
                continue
            name = f"{head}{slash}{path.name}"
            if not _PLAIN.fullmatch(name):
                continue
            if (path / _MANIFEST).is_file():
                yield name
            elif path.is_dir():
                yield f"{name}/"
            elif wanted(path):
                yield name
