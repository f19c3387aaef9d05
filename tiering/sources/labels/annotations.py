"""Labels of a folder: by its folders, or by a table such as Tiny ImageNet's val/val_annotations.txt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tiering.errors import DatasetError, StoreError
from tiering.sources.account import Ledger
from tiering.sources.labels.folders import SPLITS, FolderRule, Layout
from tiering.sources.left_out import LOST_LABEL
from tiering.sources.source import Source
from tiering.storage.location import Location
from tiering.storage.urls import joined, name_of
from tiering.system.file_batches import neighbours
from tiering.text import display

#: Largest size of such a table, in bytes: enough for 250,000 images.
_LARGEST: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class FolderLabels:
    """Class and split of every image in a folder.

    rule: for its folders. tables: for each split that has a table, by the path of the split, the class of each image
    name.
    """

    rule: FolderRule
    tables: Mapping[bytes, Mapping[bytes, bytes]] = field(default_factory=dict)

    @property
    def kind(self) -> Layout:
        """The layout of the source, in words."""
        return "annotated splits" if self.tables else self.rule.kind

    def of(self, keys: Sequence[bytes]) -> tuple[list[bytes | None], list[bytes | None]]:
        """Return the class and the split of each key. Floor: 0.05 us per key, where neighbours share a folder."""
        labels, splits = list[bytes | None](), list[bytes | None]()
        known: dict[bytes, tuple[bytes | None, bytes | None]] = {}
        for folder, count in neighbours(list(keys)):
            if folder not in known:
                known[folder] = self.rule.of(folder)
            label, split = known[folder]
            labels += [label] * count
            splits += [split] * count
        if self.tables:
            labels = [self._in_tables(key) if label is None else label for key, label in zip(keys, labels, strict=True)]
        return labels, splits

    def names_of(self, keys: Sequence[bytes]) -> tuple[set[bytes | None], set[bytes | None]]:
        """Return the distinct classes and splits of some keys, in half the time of `of`."""
        if self.tables:
            labels, splits = self.of(keys)
            return set(labels), set(splits)
        known = [self.rule.of(folder) for folder in {folder for folder, _ in neighbours(list(keys))}]
        return {label for label, _ in known}, {split for _, split in known}

    def _in_tables(self, key: bytes) -> bytes | None:
        for split, classes in self.tables.items():
            if key.startswith(split):
                return classes.get(key.rpartition(b"/")[2])
        return None


def folder_labels(url: str, rule: FolderRule) -> FolderLabels:
    """Return the labels of a folder. Splits without class folders may have a table, which is read here.

    url: of the folder. A flat folder may itself be such a split.
    Raises DatasetError for a malformed table, MachineError for one that cannot be read.
    """
    tables = {}
    for split in rule.bare:
        name = split.rstrip(b"/").rpartition(b"/")[2].decode("utf-8", "surrogateescape") or _split_of(url)
        location = Location.of(url) / f"{split.decode('utf-8', 'surrogateescape')}{name}_annotations.txt"
        try:
            text = location.read(_LARGEST)
        except FileNotFoundError:
            continue
        except StoreError as error:
            raise DatasetError(str(location), expected="a table of classes", found=error.found) from error
        tables[split] = _parsed(text, str(location))
    return FolderLabels(rule, tables)


def report_lost_rows(url: str, labels: FolderLabels, ledger: Ledger) -> None:
    """Record in a ledger the rows of a folder's tables that name a missing file. This walks the folder again.

    A file that exists but is left out is recorded with its own problem, not as a lost row.
    """
    for split, classes in labels.tables.items():
        lost = set(classes)
        location = joined(url, split.rstrip(b"/").decode("utf-8", "surrogateescape")) if split else url
        with suppress(DatasetError):  # no image at all
            for frame in Source(location, "folder").batches(_Met(lost)):
                lost.difference_update(key.rpartition(b"/")[2] for key in frame["key"].to_list())
        for name in sorted(lost):
            ledger.leave_out(LOST_LABEL, split + name, reason="a table of classes names it")


class _Met(Ledger):
    """Removes the names of files that are left out from a set."""

    def __init__(self, names: set[bytes]) -> None:
        super().__init__()
        self._names = names

    def leave_out(self, kind: str, key: bytes, size: int = 0, reason: str = "") -> None:  # noqa: ARG002 - as Ledger's
        self._names.discard(key.rpartition(b"/")[2])


def _split_of(url: str) -> str:
    """Return the split that a flat folder is, by its name; "val" for other names, since only val comes with a table."""
    name = name_of(url)
    return name if name.lower() in SPLITS else "val"


def _parsed(text: bytes, where: str) -> dict[bytes, bytes]:
    """Return the class of each image name: the first two tab-separated fields of each line."""
    classes: dict[bytes, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = [part.strip() for part in line.split(b"\t")]
        if len(fields) < 2 or not fields[0] or not fields[1]:
            raise DatasetError(
                f"{where}, line {number:,}", expected="the name of an image, a tab, and its class",
                found=display(line[:80]), action="Correct the table, or remove it.",
            )  # fmt: skip
        if classes.setdefault(fields[0], fields[1]) != fields[1]:
            raise DatasetError(
                f"{where}, line {number:,}", expected="one class for each image",
                found=f"{display(fields[0])} with {display(classes[fields[0]])} and with {display(fields[1])}",
            )  # fmt: skip
    return classes
