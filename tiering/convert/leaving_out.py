"""left-out.tsv: everything of a source that is not packed, a line for each; and whether that is an error.

Each generation has a list of its own, so that an append that fails leaves the earlier one to the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

import numpy as np

from tiering.convert.listing import Listing
from tiering.convert.lookup import NOWHERE, Lookup
from tiering.convert.quarantine import quarantine
from tiering.convert.receipt import Receipt
from tiering.convert.summed import Summed
from tiering.convert.workspace import Workspace
from tiering.errors import DatasetError
from tiering.sources.account import HEADER, fields, line
from tiering.sources.left_out import ERRORS, OF_IMAGES, LeftOut
from tiering.storage.location import Location
from tiering.store.columns import sound_file
from tiering.store.layout import LEFT_OUT, is_left_out, left_out_name
from tiering.store.manifest import Manifest
from tiering.store.parts import QUARANTINE
from tiering.text import as_field, display

OnError = Literal["fail", "skip", "quarantine"]
Receipts = Callable[[], Iterable[Receipt]]

_SHOWN: Final = 10
_BATCH: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class Written:
    """What is left out; bytes of what could not be packed; CRC-32C of the list, None where nothing is left out."""

    left_out: LeftOut
    failed_bytes: int
    crc32c: int | None


def write_left_out(
    space: Workspace, listing: Listing, outline: Manifest, receipts: Receipts, on_error: OnError
) -> Written:
    """Write the list of all that is left out of a store that is being finished.

    outline: the manifest of the store that is appended to, or one without samples.
    An append from the source that the store was made from has seen all of it: its list takes the place of the earlier
    one. From another source it adds to it, and takes away what is there now.
    Raises DatasetError where somebody meant to have what is left out, when on_error is "fail"; the list then lies in
    the store that is being made, or among the notes of what is appended.
    """
    failed = LeftOut()
    for receipt in receipts():
        for bad in receipt.bad:
            failed.add(bad.kind, bad.key, bad.size, bad.reason)
    left_out = LeftOut()
    left_out.merge(listing.left_out)
    left_out.merge(failed)
    errors = left_out.count(*ERRORS)
    refused = on_error == "fail" and errors > 0
    name = left_out_name(outline.generation)
    place = space.target / name if space.fresh or not refused else space.work / LEFT_OUT
    (space.work / LEFT_OUT).remove()
    earlier = _list_before(outline, listing)
    if not left_out.kinds and earlier is None:
        (space.target / name).remove()
        return Written(left_out, 0, None)
    names = _Named()
    with place.writing(space.work) as file:
        summed = Summed(file)
        summed.write(HEADER)
        for kept in _still_true(space, listing, outline, earlier, left_out):
            summed.write(kept)
        with listing.lines.local.open("rb") as lines:  # type: ignore[union-attr] # it lies in a local scratch directory
            for each in lines:
                summed.write(each)
                names.add(each)
        for receipt in receipts():
            for bad in receipt.bad:
                each = line(bad.kind, bad.key, bad.size, bad.reason)
                summed.write(each)
                names.add(each)
    if refused:
        raise _cannot_pack(place, listing, names.shown, errors)
    if on_error == "quarantine" and failed.kinds:
        keys = {bad.key for receipt in receipts() for bad in receipt.bad}
        quarantine(listing, keys, space.target / QUARANTINE, space.work)
    return Written(left_out, failed.size(), summed.crc)


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


def _list_before(outline: Manifest, listing: Listing) -> str | None:
    """Return the name of the list that an append adds to, None where the new one says it all."""
    if outline.source.url == listing.source.url:
        return None
    return next(filter(is_left_out, outline.documents), None)


def _still_true(
    space: Workspace, listing: Listing, outline: Manifest, name: str | None, left_out: LeftOut
) -> Iterator[bytes]:
    """Yield the lines of the list before an append that still hold, and add them to what is left out."""
    if name is None:
        return
    path = sound_file(space.target / name, space.scratch / "earlier", outline.documents[name])
    if path is None:
        raise DatasetError(
            str(space.target / name), expected="the CRC-32C of the manifest", found="another one",
            action="Check the store: tiering verify",
        )  # fmt: skip
    now = Lookup(len(listing), lambda rows: [_field(key) for key in listing.keys(rows)])
    with path.open("rb") as lines:
        every = fields(lines)
        while batch := list(islice(every, _BATCH)):
            there = now.find([key.encode() for key, *_ in batch]) != NOWHERE
            for at in np.flatnonzero(~there).tolist():
                key, kind, size, reason = batch[at]
                left_out.add(kind, key.encode(), size)
                yield f"{key}\t{kind}\t{size}\t{reason}\n".encode()


def _field(key: bytes) -> bytes:
    return as_field(display(key)).encode()


def _cannot_pack(place: Location, listing: Listing, shown: list[str], count: int) -> DatasetError:
    word = "image" if not listing.left_out.count(*ERRORS) else "file"
    files = f"1 {word} that cannot" if count == 1 else f"{count:,} {word}s that cannot"
    return DatasetError(
        str(Location.of(listing.source.url)),
        expected="images that can be read whole",
        found=f"{files} ({'; '.join(shown)}{'; ...' if count > len(shown) else ''})",
        action=f"All are listed in {place}. Mend them and convert again, or leave them out at no"
        " further cost: --on-error skip",
    )
