"""Masks and other sidecars of a source that a store holds as samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from tiering.arrays import row_parts
from tiering.errors import DatasetError, command
from tiering.packing.key_lookup import KeyLookup
from tiering.packing.listed_fields import ListedField
from tiering.packing.listed_lines import field_of
from tiering.packing.listing import Listing
from tiering.sources.account import fields
from tiering.sources.left_out import SIDECAR
from tiering.store.columns import keys_at
from tiering.store.protocol import Store
from tiering.text import first_few

_SHOWN: Final = 10
_BATCH: Final = 1 << 12


def refuse_masks(listing: Listing, base: Store) -> None:
    """Raise DatasetError for masks that the store holds as samples, but that are now fields or left out.

    An append takes nothing out, so they would stay in the store.
    """
    beside = listing.source.kind in ("folder", "tar")
    files = [each for each in listing.fields if beside and "file" in each.columns]
    if not (listing.left_out.count(SIDECAR) or files):
        return
    held = KeyLookup(len(base), lambda rows: [field_of(key) for key in base.index.keys(rows)])
    masks: list[str] = []
    count = 0
    for keys in _masks(listing, files):
        there = [key for key, at in zip(keys, held.find([key.encode() for key in keys]), strict=True) if at >= 0]
        count += len(there)
        masks += there[: _SHOWN - len(masks)]
    if count:
        only = ("--images-only",) if listing.left_out.count(SIDECAR) and not files else ()
        raise DatasetError(
            listing.source.url,
            expected="masks and other sidecars that the store does not hold",
            found=f"{count:,} that it holds as samples ({first_few(masks, _SHOWN, of=count)})",
            action="Append takes nothing out. To take them out: "
            + command("tiering", "append", "--sync", *only, listing.source.url, base.location),
        )


def _masks(listing: Listing, files: Sequence[ListedField]) -> Iterator[list[str]]:
    """Yield the keys of sidecars as lists of left-out files have them, some at a time. files: fields in files."""
    with listing.lines.open("rb") as lines:
        every = (key for key, kind, *_ in fields(lines) if kind == SIDECAR)
        while keys := list(islice(every, _BATCH)):
            yield keys
    for each in files:
        for rows in row_parts(len(listing)):
            there = rows[each.columns["size"][rows] >= 0]
            yield [field_of(key).decode() for key in keys_at(each.columns["key"], each.columns["key_end"], there)]
