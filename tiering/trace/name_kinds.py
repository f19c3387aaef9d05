"""What names in a trace stand for: the table name_kinds.toml, as expressions of Polars."""

from __future__ import annotations

import functools
import importlib.resources
import tomllib
from collections.abc import Iterable
from typing import Final

import polars as pl

_TABLE: Final = "name_kinds.toml"


@functools.cache
def _patterns() -> dict[str, dict[str, str]]:
    """Return one regular expression for each kind, by the section of the table."""
    text = (importlib.resources.files("tiering.trace") / _TABLE).read_text(encoding="utf-8")
    found = tomllib.loads(text)
    return {
        section: {kind: "|".join(f"(?:{each})" for each in patterns) for kind, patterns in kinds.items()}
        for section, kinds in found.items()
    }


@functools.cache
def process_kinds() -> tuple[str, ...]:
    """Return the kinds of libraries and programs, in the order of the bits of `library_bits` and `program_bits`."""
    table = _patterns()
    return tuple(dict.fromkeys([*table["libraries"], *table["programs"]]))


def library_bits(paths: pl.Series) -> pl.Series:
    """Return the kinds that the paths of libraries stand for: UInt64, a bit for each of process_kinds()."""
    return _bits(paths.str.to_lowercase(), _patterns()["libraries"].items())


def program_bits(names: pl.Series) -> pl.Series:
    """Return the kinds that programs stand for, by path, command name or user agent: as library_bits does."""
    # A program ends a path, and maybe " (deleted)" follows; it begins a user agent, before a slash and its version.
    name = names.str.to_lowercase().str.extract(r"([^/ ]+)(?: \(deleted\))?$", 1)
    agent = names.str.to_lowercase().str.extract(r"^\[?([a-z][a-z0-9_.+-]*)", 1)
    whole = [(kind, f"^(?:{pattern})$") for kind, pattern in _patterns()["programs"].items()]
    return _bits(name, whole) | _bits(agent, whole)


def _bits(names: pl.Series, patterns: Iterable[tuple[str, str]]) -> pl.Series:
    kinds = process_kinds()
    found = pl.Series([0], dtype=pl.UInt64).new_from_index(0, len(names))
    for kind, pattern in patterns:
        bit = pl.Series([1 << kinds.index(kind)], dtype=pl.UInt64)
        found = found | (names.str.contains(pattern).fill_null(value=False).cast(pl.UInt64) * bit)
    return found


def file_kind(path: pl.Series) -> pl.Series:
    """Return the kind of each file by its path; null for none of the table."""
    return _first_of("files", path)


def is_checkpoint(path: pl.Series) -> pl.Series:
    """Return whether files look like checkpoints, by their paths."""
    return _first_of("checkpoints", path).is_not_null()


def split(path: pl.Series) -> pl.Series:
    """Return the split that each file belongs to ("training", "validation", "test"); null for none."""
    return _first_of("splits", path)


def _first_of(section: str, path: pl.Series) -> pl.Series:
    # In lower case once, and not for each pattern.
    lower = pl.DataFrame({"lower": path.str.to_lowercase()})
    kinds = (
        pl.when(pl.col("lower").str.contains(each)).then(pl.lit(name)) for name, each in _patterns()[section].items()
    )
    return lower.select(pl.coalesce(kinds)).to_series()
