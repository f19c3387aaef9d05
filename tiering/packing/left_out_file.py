"""left-out.tsv: everything of a source that is not packed, a line for each; and whether that is an error.

Each generation has a list of its own, so that an append that fails leaves the earlier one to the next run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

import numpy as np

from tiering.arrays import row_parts
from tiering.errors import DatasetError
from tiering.literals import OnBadImage
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.key_lookup import NOWHERE, KeyLookup
from tiering.packing.listed_lines import ListedLines, field_of
from tiering.packing.listing import Listing
from tiering.packing.quarantine import quarantine
from tiering.packing.receipts import Receipt
from tiering.packing.workspace import Workspace
from tiering.sources.account import HEADER, fields, line, shared_keys
from tiering.sources.left_out import ERRORS, OF_IMAGES, LeftOut
from tiering.storage.location import Location
from tiering.storage.summed_file import Summed
from tiering.store.columns import sound_file
from tiering.store.layout import LEFT_OUT, QUARANTINE, is_left_out, left_out_name
from tiering.store.manifest import Manifest

Receipts = Callable[[], Iterable[Receipt]]

_SHOWN: Final = 10
_BATCH: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class Written:
    """What a run packed and left out.

    samples: packed by it. failed_bytes: of what could not be packed. crc32c: of the list, None without one.
    """

    samples: int
    left_out: LeftOut
    failed_bytes: int
    crc32c: int | None


def write_left_out(
    space: Workspace,
    listing: Listing,
    outline: Manifest,
    base: KeptSamples | None,
    receipts: Receipts,
    on_error: OnBadImage,
) -> Written:
    """Write the list of all that is left out of a store that is being finished.

    outline: the manifest that the run leads to, but with the documents of the store before; base: what is kept of that
    store. What is kept is packed, though the source may not have it any more.
    Where the store was only ever packed from this source, the list takes the place of the earlier one. Otherwise it
    adds to it, and takes away what is there now.
    Raises DatasetError where somebody meant to have what is left out, when on_error is "fail"; the list then lies in
    the store that is being made, or among the notes of what is appended.
    """
    told = _told(receipts, space.scratch / "failed")
    failed = told.failed
    errors = listing.left_out.count(*ERRORS) + failed.count(*ERRORS)
    refused = on_error == "fail" and errors > 0
    name = left_out_name(outline.generation)
    listed = space.target / name if space.fresh or not refused else space.work / LEFT_OUT
    (space.work / LEFT_OUT).remove()
    walked, left_out = _walked(listing, None if refused else base, space.scratch / "walked")
    left_out.merge(failed)
    earlier = _list_before(outline)
    if not left_out.kinds and earlier is None:
        (space.target / name).remove()
        return Written(told.samples, left_out, 0, None)
    names = _Named()
    with listed.writing(space.work) as file:
        summed = Summed(file)
        summed.write(HEADER)
        if earlier is not None:
            for kept in _still_true(space, listing, outline, earlier, walked, left_out):
                summed.write(kept)
        with walked.open("rb") as lines, told.lines.open("rb") as more:
            for each in chain(lines, more):
                summed.write(each)
                names.add(each)
    if refused:
        raise _cannot_pack(listed, listing, names.shown, errors)
    if on_error == "quarantine" and failed.kinds:
        quarantine(listing, ListedLines(told.lines), space.target / QUARANTINE, space.work)
    return Written(told.samples, left_out, failed.size(), summed.crc)


def refuse_shared(space: Workspace, listing: Listing, *, images_only: bool) -> None:
    """Raise DatasetError where files of the source share a key, unless images_only says what to do about it.

    They are listed where a run lists what it cannot pack.
    """
    shared = listing.left_out.shared
    if images_only or not shared.count:
        return
    listed = (space.target if space.fresh else space.work) / LEFT_OUT
    with listing.lines.local.open("rb") as lines, listed.writing(space.work) as file:  # type: ignore[union-attr]
        file.write(HEADER)
        shutil.copyfileobj(lines, file)
    raise shared_keys(str(Location.of(listing.source.url)), shared.count, shared.examples, str(listed))


@dataclass(frozen=True, slots=True)
class _Packed:
    """What the receipts say: samples that are packed; what could not be, and a file with a line for each."""

    samples: int
    failed: LeftOut
    lines: Path


def _told(receipts: Receipts, path: Path) -> _Packed:
    """Read all receipts. Each holds a shard's part of the index, so that is done once."""
    samples, failed = 0, LeftOut()
    with path.open("wb") as file:
        for receipt in receipts():
            samples += receipt.shard.samples
            for bad in receipt.bad:
                failed.add(bad.kind, bad.key, bad.size, bad.reason)
                file.write(line(bad.kind, bad.key, bad.size, bad.reason))
    return _Packed(samples, failed, path)


class _Named:
    """The first few lines of what is an error."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def add(self, each: bytes) -> None:
        if len(self.shown) < _SHOWN:
            key, kind, _, reason = each.decode().rstrip("\n").split("\t")
            if kind in ERRORS:
                said = reason if kind in OF_IMAGES and reason else f"{kind}, {reason}" if reason else kind
                self.shown.append(f"{key}: {said}")


def _list_before(outline: Manifest) -> str | None:
    """Return the name of the list that an append adds to, None where the new one says it all."""
    return next(filter(is_left_out, outline.documents), None) if outline.source.others else None


def _walked(listing: Listing, base: KeptSamples | None, path: Path) -> tuple[Path, LeftOut]:
    """Return the lines of a walk, and their counts, but for those of samples that a store keeps.

    path: where to write them, if they are others than the walk's.
    """
    walked: Path = listing.lines.local  # type: ignore[assignment] # it lies in a local scratch directory
    left_out = LeftOut()
    if base is None or not listing.left_out.kinds:
        left_out.merge(listing.left_out)
        return walked, left_out
    left_out.shared.merge(listing.left_out.shared)
    lines = ListedLines(walked)
    packed = np.zeros(len(lines), dtype=bool)
    for rows in row_parts(len(base.store)):
        kept = rows if base.there is None else rows[base.there[rows]]
        found = lines.find([field_of(key) for key in base.store.index.keys(kept)])
        packed[found[found != NOWHERE]] = True
    with walked.open("rb") as every, path.open("wb") as file:
        for each, there in zip(every, packed, strict=True):
            if not there:
                file.write(each)
                ((key, kind, size, reason),) = fields([each])
                left_out.add(kind, key.encode(), size, reason)
    return path, left_out


def _still_true(
    space: Workspace, listing: Listing, outline: Manifest, name: str, walked: Path, left_out: LeftOut
) -> Iterator[bytes]:
    """Yield the lines of the list before an append that still hold, and add them to what is left out.

    What this walk met is in its own list now, or is a sample.
    """
    path = sound_file(space.target / name, space.scratch / "earlier", outline.documents[name])
    if path is None:
        raise DatasetError(
            str(space.target / name), expected="the CRC-32C of the manifest", found="another one",
            action="Check the store: tiering verify",
        )  # fmt: skip
    samples, named = (
        KeyLookup(len(listing), lambda rows: [field_of(key) for key in listing.keys(rows)]),
        ListedLines(walked),
    )
    with path.open("rb") as lines:
        every = fields(lines)
        while batch := list(islice(every, _BATCH)):
            keys = [key.encode() for key, *_ in batch]
            met = (samples.find(keys) != NOWHERE) | named.have(keys)
            for at in np.flatnonzero(~met).tolist():
                key, kind, size, reason = batch[at]
                left_out.add(kind, key.encode(), size)
                yield f"{key}\t{kind}\t{size}\t{reason}\n".encode()


def _cannot_pack(listed: Location, listing: Listing, shown: list[str], count: int) -> DatasetError:
    word = "image" if not listing.left_out.count(*ERRORS) else "file"
    files = f"1 {word} that cannot" if count == 1 else f"{count:,} {word}s that cannot"
    return DatasetError(
        str(Location.of(listing.source.url)),
        expected="images that can be read whole",
        found=f"{files} ({'; '.join(shown)}{'; ...' if count > len(shown) else ''})",
        action=f"All are listed in {listed}. Mend them and convert again, or leave them out at no"
        ' further cost: `on_error="skip"`',
    )
