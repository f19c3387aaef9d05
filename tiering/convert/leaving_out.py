"""left-out.tsv: everything of a source that is not packed, a line for each; and whether that is an error.

Each generation has a list of its own, so that an append that fails leaves the earlier one to the next run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tiering.convert.kept import Kept
from tiering.convert.listing import Listing, blocks
from tiering.convert.lookup import NOWHERE, Lookup
from tiering.convert.quarantine import quarantine
from tiering.convert.receipt import Bad, Receipt
from tiering.convert.summed import Summed
from tiering.convert.workspace import Workspace
from tiering.errors import DatasetError
from tiering.sources.account import HEADER, fields, line, shared_keys
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
    space: Workspace, listing: Listing, outline: Manifest, base: Kept | None, receipts: Receipts, on_error: OnError
) -> Written:
    """Write the list of all that is left out of a store that is being finished.

    outline: the manifest that the run leads to, but with the documents of the store before; base: what is kept of that
    store. What is kept is packed, though the source may not have it any more.
    Where the store was only ever packed from this source, the list takes the place of the earlier one. Otherwise it
    adds to it, and takes away what is there now.
    Raises DatasetError where somebody meant to have what is left out, when on_error is "fail"; the list then lies in
    the store that is being made, or among the notes of what is appended.
    """
    failed = LeftOut()
    for bad in _bad(receipts):
        failed.add(bad.kind, bad.key, bad.size, bad.reason)
    errors = listing.left_out.count(*ERRORS) + failed.count(*ERRORS)
    refused = on_error == "fail" and errors > 0
    name = left_out_name(outline.generation)
    place = space.target / name if space.fresh or not refused else space.work / LEFT_OUT
    (space.work / LEFT_OUT).remove()
    walked, left_out = _walked(listing, None if refused else base, space.scratch / "walked")
    left_out.merge(failed)
    earlier = _list_before(outline)
    if not left_out.kinds and earlier is None:
        (space.target / name).remove()
        return Written(left_out, 0, None)
    names = _Named()
    with place.writing(space.work) as file:
        summed = Summed(file)
        summed.write(HEADER)
        if earlier is not None:
            for kept in _still_true(space, listing, outline, earlier, walked, left_out):
                summed.write(kept)
        with walked.open("rb") as lines:
            for each in chain(lines, (line(bad.kind, bad.key, bad.size, bad.reason) for bad in _bad(receipts))):
                summed.write(each)
                names.add(each)
    if refused:
        raise _cannot_pack(place, listing, names.shown, errors)
    if on_error == "quarantine" and failed.kinds:
        quarantine(listing, {bad.key for bad in _bad(receipts)}, space.target / QUARANTINE, space.work)
    return Written(left_out, failed.size(), summed.crc)


def refuse_shared(space: Workspace, listing: Listing, *, images_only: bool) -> None:
    """Raise DatasetError where files of the source share a key, unless images_only says what to do about it.

    They are listed where a run lists what it cannot pack.
    """
    shared = listing.left_out.shared
    if images_only or not shared.count:
        return
    place = (space.target if space.fresh else space.work) / LEFT_OUT
    with listing.lines.local.open("rb") as lines, place.writing(space.work) as file:  # type: ignore[union-attr]
        file.write(HEADER)
        shutil.copyfileobj(lines, file)
    raise shared_keys(str(Location.of(listing.source.url)), shared.count, shared.examples, str(place))


def _bad(receipts: Receipts) -> Iterator[Bad]:
    return (bad for receipt in receipts() for bad in receipt.bad)


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


def _walked(listing: Listing, base: Kept | None, path: Path) -> tuple[Path, LeftOut]:
    """Return the lines of a walk, and their counts, but for those of samples that a store keeps.

    path: where to write them, if they are others than the walk's.
    """
    walked: Path = listing.lines.local  # type: ignore[assignment] # it lies in a local scratch directory
    left_out = LeftOut()
    if base is None or not listing.left_out.kinds:
        left_out.merge(listing.left_out)
        return walked, left_out
    left_out.shared.merge(listing.left_out.shared)
    lines = _Lines(walked)
    packed = np.zeros(len(lines), dtype=bool)
    for rows in blocks(len(base.store)):
        kept = rows if base.there is None else rows[base.there[rows]]
        found = lines.find([as_listed(key) for key in base.store.index.keys(kept)])
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
    samples, named = Lookup(len(listing), lambda rows: [as_listed(key) for key in listing.keys(rows)]), _Lines(walked)
    with path.open("rb") as lines:
        every = fields(lines)
        while batch := list(islice(every, _BATCH)):
            keys = [key.encode() for key, *_ in batch]
            met = (samples.find(keys) != NOWHERE) | (named.find(keys) != NOWHERE)
            for at in np.flatnonzero(~met).tolist():
                key, kind, size, reason = batch[at]
                left_out.add(kind, key.encode(), size)
                yield f"{key}\t{kind}\t{size}\t{reason}\n".encode()


class _Lines:
    """Finds the lines of a list by key, as the list writes it: 24 bytes of memory a line."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as lines:
            self._ends = np.fromiter(accumulate(map(len, lines)), dtype=np.int64)
        self._text = np.memmap(path, dtype=np.uint8, mode="r") if len(self._ends) else np.empty(0, dtype=np.uint8)
        self._lookup = Lookup(len(self._ends), self._keys)

    def __len__(self) -> int:
        return len(self._ends)

    def find(self, keys: list[bytes]) -> npt.NDArray[np.int64]:
        """Return the row of each key, NOWHERE for keys that no line has."""
        return self._lookup.find(keys)

    def _keys(self, rows: npt.NDArray[np.int64]) -> list[bytes]:
        begins = np.where(rows > 0, self._ends[rows - 1], 0)
        ends = self._ends[rows]
        return [
            self._text[begin:end].tobytes().partition(b"\t")[0]
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
        ]


def as_listed(key: bytes) -> bytes:
    """Return a key as the list writes it."""
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
