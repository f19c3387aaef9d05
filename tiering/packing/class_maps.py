"""Class maps from stores and files, so that a second split gets the same class numbers as the first."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from tiering.errors import MachineError, StoreError, TieringError, UsageError, command
from tiering.sources.labels.classes import ClassMap, map_of
from tiering.sources.labels.folders import SPLITS, Folders
from tiering.sources.left_out import unlooked
from tiering.sources.trees.directory import names_in
from tiering.storage.json_text import parse_json
from tiering.storage.location import Location
from tiering.storage.urls import parent_of
from tiering.store.layout import MANIFEST
from tiering.store.manifest import LARGEST, Manifest, read_manifest
from tiering.text import display, first_few, without_secrets

#: How many entries of a directory to search for other splits, and how many differences to show.
_ENTRIES: Final = 5000
_SHOWN: Final = 3


def class_map(manifest: Manifest) -> ClassMap:
    """Return the classes of a store."""
    return ClassMap(tuple(manifest.labels), tuple(manifest.classes))


def read_classes(location: str | os.PathLike[str]) -> ClassMap:
    """Read a class map from a store, a JSON file or a text file.

    location: a store or a file, path or URL. JSON has the number of each name ({"cat": 0}), the name of each number
    ({"0": "cat"}), or names in order. Text has a name on each line, in order, or NAME,NUMBER.
    Raises UsageError for anything else, and for a name or a number that occurs twice.
    """
    where = Location.of(location)
    if where.is_directory() or (where / MANIFEST).exists():
        return class_map(read_manifest(where))
    try:
        text = where.read(LARGEST)
    except FileNotFoundError:
        raise _refused(where, "nothing at that path") from None
    except StoreError as error:
        raise _refused(where, error.found) from error
    pairs = list(_of_json(text, where) if text.lstrip()[:1] in (b"{", b"[") else _of_lines(text, where))
    named = dict(pairs)
    numbered = {number: name for name, number in pairs}
    if not pairs or len(named) < len(pairs) or len(numbered) < len(pairs):
        raise _refused(where, "a name or a number twice" if pairs else "no class")
    if min(numbered) < 0 or max(numbered) >= 1 << 31:
        raise _refused(where, f"numbers from {min(numbered)} to {max(numbered)}")
    return map_of(numbered)


def differences(classes: ClassMap, source: str, output: Location) -> str:
    """Describe how classes differ from those of another split with a store of its own; "" if they do not.

    source: of the images. output: the new store.
    The other split is a finished local store beside the new one, if the two sources are neighbours too: for example
    train.lmdb from photos/train, while val.lmdb is made from photos/val. Without such a store, it is a local folder
    beside the source.
    """
    source = without_secrets(source)
    packed = False
    for location, manifest in _neighbours(output):
        theirs = manifest.source.url
        neighbours = theirs != source and parent_of(theirs) == parent_of(source)
        if not (neighbours and _first_word(theirs) and _first_word(source)):
            continue
        packed = True
        if difference := _compared(classes, class_map(manifest)):
            return (
                f"The classes differ from those of {location}, which holds {theirs}: {difference}. "
                f"If both are splits of one dataset, convert again with `classes` {command(location)}"
            )
    for theirs, names in [] if packed else _folders_beside(source):
        if difference := _compared(classes, ClassMap.counted(names)):
            return (
                f"The classes differ from those of {theirs}, another split beside this one: {difference}. "
                f"Pack both into one store ({command('tiering', 'convert', parent_of(source))}), or give the second "
                "one the classes of the first, with `classes`."
            )
    return ""


def _compared(ours: ClassMap, theirs: ClassMap) -> str:
    """Describe how two class maps differ. If both use the source's own integers, these mean the same in both."""
    if not ours.names or not theirs.names or (ours.own and theirs.own):
        return ""
    here, there = (dict(zip(each.names, each.numbers, strict=True)) for each in (ours, theirs))
    differing = [
        f"{name} is {here[name]} here and {there[name]} there"
        for name in here
        if there.get(name) != here[name] and name in there
    ]
    differing += [f"{name} ({there[name]} there) is missing here" for name in there if name not in here]
    differing += [f"{name} ({here[name]} here) is missing there" for name in here if name not in there]
    return first_few(differing, _SHOWN)


def _folders_beside(source: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the folders of other splits beside a local one, each with the names of its class folders."""
    if "://" in source or not _first_word(source) or not Path(source).is_dir():
        return
    for split in _directories(Path(source).parent):
        if str(split) != source and split.name.lower() in SPLITS:
            inside = sorted(os.fsencode(each.name) for each in _directories(split))
            seen = Folders()
            seen.add(each + b"/-" for each in inside)
            rule = seen.rule()
            # Tiny ImageNet has class folders in train and a folder of images in val.
            yield str(split), [display(each) for each in inside if rule.of(each + b"/")[0] is not None]


def _directories(parent: Path) -> list[Path]:
    """Return the directories among the first entries of a directory, without hidden ones."""
    try:
        names = list(islice(names_in(str(parent)), _ENTRIES))
    except (OSError, MachineError):
        return []
    return [parent / os.fsdecode(name[:-1]) for name in names if name.endswith(b"/") and not unlooked(name)]


def _first_word(url: str) -> str:
    """Return the split with which a source's name starts, as train.csv and train-2 do; else ""."""
    name = url.rstrip("/").rpartition("/")[2].lower()
    longest = max((word for word in SPLITS if name.startswith(word)), key=len, default="")
    return longest if not name[len(longest) : len(longest) + 1].isalpha() else ""


def _neighbours(output: Location) -> Iterator[tuple[str, Manifest]]:
    """Yield the finished stores beside a local one."""
    if output.local is None:
        return
    for store in sorted(_directories(output.local.parent)):
        if store.name == output.name or not (store / MANIFEST).is_file():
            continue
        try:
            yield str(store), read_manifest(Location.of(store))
        except (TieringError, OSError):
            continue  # A damaged store, or another tool's: there is nothing to compare with.


def _of_json(text: bytes, where: Location) -> Iterator[tuple[str, int]]:
    try:
        content: Any = parse_json(text)
    except ValueError as error:
        raise _refused(where, f"invalid JSON: {error}") from error
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        yield from ((name, number) for number, name in enumerate(content))
        return
    for name, value in content.items() if isinstance(content, dict) else [("", None)]:
        # Keras has {"0": ["n01440764", "tench"]}.
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, int) and not isinstance(first, bool):
            yield name, first
        elif isinstance(first, str) and name.isdecimal():
            yield first, int(name)
        else:
            raise _refused(where, "JSON of another shape")


def _of_lines(text: bytes, where: Location) -> Iterator[tuple[str, int]]:
    try:
        lines = [line for line in text.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise _refused(where, f"text that is not UTF-8: {error.reason}") from error
    separator = "\t" if any("\t" in line for line in lines) else ","
    rows = [[field.strip() for field in row] for row in csv.reader(lines, delimiter=separator)]
    if rows and [field.lower() for field in rows[0]] in (["name", "number"], ["class", "number"], ["label", "number"]):
        rows = rows[1:]
    if rows and all(len(row) == 2 and row[1].isdecimal() for row in rows):
        yield from ((name, int(number)) for name, number in rows)
        return
    yield from ((line.strip(), number) for number, line in enumerate(lines))


def _refused(where: Location, found: str) -> UsageError:
    return UsageError(
        f"classes {where}",
        expected="a store, or a file with a class on each line (in order, or NAME,NUMBER) or JSON of names and numbers",
        found=found,
        action="tiering info STORE --json shows the classes of a store.",
    )
