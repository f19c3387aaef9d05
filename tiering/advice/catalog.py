"""The catalog of storage tiers: the shipped classes, the presets of clouds, and a file of your own.

A file has tables [tier.NAME]. A table takes its figures from, in this order of precedence: its own keys; the tier that
`like` names, without the keys that `without` lists; the shipped tier of the same NAME.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tiering.advice.tier import RANDOM_READ, ReadPoint, Tier
from tiering.errors import CatalogError, UsageError
from tiering.literals import Cloud

__all__ = ["RANDOM_READ", "ReadPoint", "Tier", "find_tier", "load_catalog", "read_catalog", "tier_named"]

_FILES: Final = resources.files("tiering.advice")
_KEYS: Final = "docs/tiers.md lists the keys and their units."


def load_catalog(path: str | Path | None = None, *, cloud: Cloud | None = None) -> tuple[Tier, ...]:
    """Read the shipped catalog, or the preset of a cloud, and optionally a file that overrides it.

    Args:
        path: A TOML file with tables [tier.NAME]. The keys of a known NAME replace the shipped ones. A new NAME adds a
            tier and needs all keys, or `like = "NAME"` and the keys that differ. With `replace = true` at the top, only
            the file's tiers count.
        cloud: Take this cloud's tiers in place of the shipped classes: "aws", "google", "azure" or "onprem".

    Raises:
        CatalogError: For anything else in the file; the message names the first key that is wrong.
        UsageError: For an unknown cloud.
        OSError: Where the file cannot be read.

    Example:
        >>> load_catalog()[0].name
        'dram'
    """
    tiers, wrong = read_catalog(path, cloud=cloud)
    if wrong:
        raise wrong[0]
    return tiers


def read_catalog(
    path: str | Path | None = None, *, cloud: Cloud | None = None
) -> tuple[tuple[Tier, ...], tuple[CatalogError, ...]]:
    """Read a catalog as load_catalog does, and return its sound tiers and all that is wrong with it.

    Raises:
        CatalogError: For a file that is no TOML.
        UsageError: For an unknown cloud.
        OSError: Where the file cannot be read.
    """
    shipped: dict[str, dict[str, Any]] = _parsed("catalog.toml", _FILES.joinpath("catalog.toml").read_bytes())["tier"]
    known = shipped if cloud is None else _preset(cloud, shipped)
    if path is None:
        return _made(_Tables("catalog.toml" if cloud is None else f"presets/{cloud}.toml", known, {}))
    where = str(path)
    given = _parsed(where, Path(path).read_bytes())
    wrong = [
        CatalogError(f"{where}: {key}", expected="tables named [tier.NAME]", found=f"the key {key!r}")
        for key in given.keys() - {"tier", "replace"}
    ]
    replace, own = given.get("replace", False), given.get("tier")
    if not isinstance(replace, bool):
        wrong.append(CatalogError(f"{where}: replace", rule="must be true or false", found=repr(replace)))
    if not isinstance(own, dict) or not own:
        wrong.append(CatalogError(f"{where}: tier", found="there is no table [tier.NAME]"))
        return (), tuple(wrong)
    for name, table in own.items():
        if not isinstance(table, dict):
            found = repr(table)
            wrong.append(CatalogError(f"{where}: tier.{name}", expected=f"a table [tier.{name}]", found=found))
    tables = {name: table for name, table in own.items() if isinstance(table, dict)}
    tiers, more = _made(_Tables(where, {} if replace is True else known, tables, {**shipped, **known}))
    return tiers, (*wrong, *more)


def find_tier(tiers: Iterable[Tier], name: str) -> Tier | None:
    """Return the tier of this name, or None."""
    return next((tier for tier in tiers if tier.name == name), None)


def tier_named(tiers: Sequence[Tier], name: str, parameter: str) -> Tier:
    """Return the tier of this name. Raises UsageError for the parameter if there is none."""
    found = find_tier(tiers, name)
    if found is None:
        names = ", ".join(tier.name for tier in tiers) or "no tier"
        raise UsageError(parameter, rule=f"must be one of {names}", found=repr(name))
    return found


@dataclass(frozen=True, slots=True)
class _Tables:
    """The tables that a catalog is made of.

    where: the file in messages. base: complete tables of the shipped tiers that count. own: tables of the file.
    models: complete tables that `like` may name, besides those of the file.
    """

    where: str
    base: Mapping[str, Mapping[str, Any]]
    own: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def whole(self, name: str, below: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the table of a tier with all that it inherits. Raises CatalogError; below: tiers that ask for it."""
        if name not in self.own:
            return dict(self.models.get(name, {}))
        table = dict(self.own[name])
        model, without = table.pop("like", None), table.pop("without", [])
        if model is None:
            if without:
                raise self.wrong(name, "without", "needs `like` beside it")
            return {**self.base.get(name, {}), **table}
        names = sorted({*self.own, *self.models} - {name})
        if not isinstance(model, str) or model not in names:
            raise self.wrong(name, "like", f"must be one of {', '.join(names)}", repr(model))
        if model in below:
            raise self.wrong(
                name, "like", "must be a tier with figures of its own", " like ".join((*below, name, model))
            )
        if not isinstance(without, list) or not all(isinstance(key, str) for key in without):
            raise self.wrong(name, "without", 'must be a list of keys such as ["endurance"]', repr(without))
        inherited = self.whole(model, (*below, name))
        if strange := sorted(set(without) - Tier.model_fields.keys()):
            raise self.wrong(name, "without", "must be keys of a tier", ", ".join(map(repr, strange)))
        kept = {key: value for key, value in inherited.items() if key not in without}
        return {**kept, "title": name, **table}

    def wrong(self, name: str, key: str, rule: str, found: str = "") -> CatalogError:
        """Return the error about a key of a table."""
        return CatalogError(f"{self.where}: tier.{name}.{key}", rule=rule, found=found, action=_KEYS)


def _made(tables: _Tables) -> tuple[tuple[Tier, ...], tuple[CatalogError, ...]]:
    """Return the sound tiers, and an error for each key that is wrong."""
    tiers: list[Tier] = []
    wrong: list[CatalogError] = []
    for name in {**tables.base, **tables.own}:
        try:
            table = tables.whole(name) if name in tables.own else dict(tables.base[name])
        except CatalogError as error:
            # Tiers that are like a broken one share its error.
            wrong += [error] if str(error) not in map(str, wrong) else []
            continue
        if "name" in table:
            found = CatalogError(
                f"{tables.where}: tier.{name}.name", found="a second name", action="The table names the tier."
            )
            wrong.append(found)
            continue
        try:
            tiers.append(Tier.model_validate({"name": name, **table}, strict=False))
        except ValidationError as error:
            wrong += [_of_key(tables.where, name, dict(each)) for each in error.errors()]
    return tuple(tiers), tuple(wrong)


def _of_key(where: str, name: str, problem: Mapping[str, Any]) -> CatalogError:
    key = ".".join(("tier", name, *map(str, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        near = get_close_matches(str(problem["loc"][-1]), Tier.model_fields, 1)
        action = f"Did you mean {near[0]}?" if near and len(problem["loc"]) == 1 else _KEYS
        return CatalogError(f"{where}: {key}", found="an unknown key", action=action)
    value = "" if problem["type"] == "missing" else f" ({problem['input']!r})"
    return CatalogError(f"{where}: {key}", found=f"{problem['msg'].lower()}{value}", action=_KEYS)


def _preset(cloud: Cloud, shipped: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the complete tables of a cloud's preset, whose tiers may be like shipped ones."""
    folder = _FILES.joinpath("presets")
    clouds = sorted(each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml"))
    if cloud not in clouds:
        raise UsageError("cloud", rule=f"must be one of {', '.join(clouds)}", found=repr(cloud))
    where = f"presets/{cloud}.toml"
    preset = _parsed(where, folder.joinpath(f"{cloud}.toml").read_bytes())
    tables = _Tables(where, {}, preset["tier"], shipped)
    classes = {name: dict(shipped[name]) for name in preset["classes"]}
    return classes | {name: {"cloud": cloud, **tables.whole(name)} for name in preset["tier"]}


def _parsed(where: str, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(where, found=f"this is not a TOML file: {str(error)[:1].lower()}{str(error)[1:]}") from error
