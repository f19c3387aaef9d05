"""Write left-out.tsv, which has one line for each file of a source that is not packed, and refuse errors in it.

Each generation has its own list, so an append that fails leaves the earlier list as it is.
"""

from __future__ import annotations

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
from tiering.sources.account import HEADER, fields, line
from tiering.sources.left_out import ERRORS, OF_IMAGES, LeftOut
from tiering.storage.location import Location
from tiering.storage.summed_file import Summed
from tiering.store.columns import sound_file
from tiering.store.layout import LEFT_OUT, QUARANTINE, is_left_out, left_out_name
from tiering.store.manifest import Manifest
from tiering.text import first_few

Receipts = Callable[[], Iterable[Receipt]]

_SHOWN: Final = 10
_BATCH: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class Written:
    """The totals of a conversion or append.

    samples: packed by it. failed_bytes: of images that could not be packed. crc32c: of the list, None without one.
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
    """Write the list of everything that a new generation leaves out.

    outline: the manifest of that generation, still with the documents of the one before. base: the samples that are
    kept. They count as packed even if the source no longer has them.
    If the store was packed from this source alone, the list replaces the earlier one. Otherwise it is added to the
    earlier one, without lines that no longer hold.
    Raises DatasetError for entries that were meant to be packed, if on_error is "fail". The list is then in the new
    store, or for an append among its notes.
    """
    failed_lines = space.scratch / "failed"
    samples, failed = _failed(receipts, failed_lines)
    errors = listing.left_out.count(*ERRORS) + failed.count(*ERRORS)
    refused = on_error == "fail" and errors > 0
    name = left_out_name(outline.generation)
    listed = space.target / name if space.fresh or not refused else space.work / LEFT_OUT
    (space.work / LEFT_OUT).remove()
    walked, left_out = _walked(listing, None if refused else base, space.scratch / "walked")
    left_out.merge(failed)
    earlier = next(filter(is_left_out, outline.documents), None) if outline.source.others else None
    if not left_out.kinds and earlier is None:
        (space.target / name).remove()
        return Written(samples, left_out, 0, None)
    with listed.writing(space.work) as file:
        summed = Summed(file)
        summed.write(HEADER)
        if earlier is not None:
            for kept in _still_true(space, listing, outline, earlier, walked, left_out):
                summed.write(kept)
        with walked.open("rb") as lines, failed_lines.open("rb") as more:
            for each in chain(lines, more):
                summed.write(each)
    if refused:
        with walked.open("rb") as lines, failed_lines.open("rb") as more:
            raise _cannot_pack(listed, listing, _examples(chain(lines, more)), errors)
    if on_error == "quarantine" and failed.kinds:
        quarantine(listing, ListedLines(failed_lines), space.target / QUARANTINE, space.work)
    return Written(samples, left_out, failed.size(), summed.crc)


def _failed(receipts: Receipts, path: Path) -> tuple[int, LeftOut]:
    """Return the number of packed samples and the images that could not be packed, and list these in a file.

    Reads each receipt once, because it also holds its shard's part of the index.
    """
    samples, failed = 0, LeftOut()
    with path.open("wb") as file:
        for receipt in receipts():
            samples += receipt.shard.samples
            for bad in receipt.bad:
                failed.add(bad.kind, bad.key, bad.size, bad.reason)
                file.write(line(bad.kind, bad.key, bad.size, bad.reason))
    return samples, failed


def _examples(lines: Iterable[bytes]) -> list[str]:
    """Return the first few errors in a list, each with its key."""
    errors = ((key, kind, reason) for key, kind, _, reason in fields(lines) if kind in ERRORS)
    return [
        f"{key}: {reason if kind in OF_IMAGES and reason else f'{kind}, {reason}' if reason else kind}"
        for key, kind, reason in islice(errors, _SHOWN)
    ]


def _walked(listing: Listing, base: KeptSamples | None, path: Path) -> tuple[Path, LeftOut]:
    """Return the lines of a walk and their counts, without entries that are samples of the store and are kept.

    path: a file to write, in case some lines are removed.
    """
    left_out = LeftOut()
    if base is None or not listing.left_out.kinds:
        left_out.merge(listing.left_out)
        return listing.lines, left_out
    left_out.merge(LeftOut({}, listing.left_out.field_files, listing.left_out.field_bytes))
    lines = ListedLines(listing.lines)
    packed = np.zeros(len(lines), dtype=bool)
    for rows in row_parts(len(base.store)):
        kept = rows if base.there is None else rows[base.there[rows]]
        found = lines.find([field_of(key) for key in base.store.index.keys(kept)])
        packed[found[found != NOWHERE]] = True
    with listing.lines.open("rb") as every, path.open("wb") as file:
        for each, there in zip(every, packed, strict=True):
            if not there:
                file.write(each)
                ((key, kind, size, reason),) = fields([each])
                left_out.add(kind, key.encode(), size, reason)
    return path, left_out


def _still_true(
    space: Workspace, listing: Listing, outline: Manifest, name: str, walked: Path, left_out: LeftOut
) -> Iterator[bytes]:
    """Yield the lines of the earlier list that still hold, and add them to left_out.

    A line no longer holds if this walk met the file: then it is a sample, or is in the new list.
    """
    path = sound_file(space.target / name, space.scratch / "earlier", outline.documents[name])
    if path is None:
        raise DatasetError(
            str(space.target / name), found="its CRC-32C is not that of the manifest",
            action="Check the store: tiering verify",
        )  # fmt: skip
    samples = KeyLookup(len(listing), lambda rows: [field_of(key) for key in listing.keys(rows)])
    named = ListedLines(walked)
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
        found=f"{files} ({first_few(shown, _SHOWN, of=count)})",
        action=f"All are listed in {listed}. Mend them and convert again, or leave them out at no"
        ' further cost: `on_error="skip"`',
    )
