"""The account of a profile, counted or estimated, and the notes for the user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiering.dataset.estimates import EstimatedValue, share
from tiering.dataset.header_reads import Fault, Seen
from tiering.dataset.totals import Gathered
from tiering.sources.account import Account
from tiering.sources.left_out import BY_CONTENT, ERRORS, LeftOut, Tally
from tiering.units import format_count


def failed_kinds(found: Gathered, seen: Sequence[Seen]) -> dict[str, EstimatedValue]:
    """Return how many images cannot be packed, by kind. seen: the results for the sampled images."""
    if found.failed is not None:
        return {kind: EstimatedValue.known(tally.count, len(seen)) for kind, tally in found.failed.kinds.items()}
    kinds = np.array([header.kind if isinstance(header, Fault) else "" for header in seen])
    files = found.files.value
    counts = {}
    for kind in sorted(set(kinds.tolist()) - {""}):
        of = share(found.sample, kinds == kind)
        counts[kind] = EstimatedValue(
            value=of.value * files, low=of.low * files, high=of.high * files, sample=of.sample
        )
    return counts


def close_account(found: Gathered, seen: Sequence[Seen], failed: dict[str, EstimatedValue]) -> Account:
    """Close the account of a dataset. seen: the results for the sampled images. failed: from failed_kinds.

    If every image was inspected, each one that cannot be packed is left out by name. Otherwise their number is the one
    that the sample represents, and their bytes are the same share of all bytes.
    """
    left_out = LeftOut()
    left_out.merge(found.left_out)
    files, size = round(found.files.value), round(found.size.value)
    unpackable = found.failed
    if unpackable is None:
        unpackable = LeftOut()
        for key, bytes_, header in zip(found.sample.key, found.sample.size.tolist(), seen, strict=True):
            if isinstance(header, Fault) and header.kind:
                unpackable.add(header.kind, key, bytes_, header)
        if not found.sample.complete:
            unpackable = LeftOut({
                kind: Tally(round(count.value), round(size * count.value / files), unpackable.kinds[kind].examples)
                for kind, count in failed.items()
            })  # fmt: skip
    left_out.merge(unpackable)
    more = found.by_content
    return Account.of(files - unpackable.count() + more.count, size - unpackable.size() + more.size, left_out)


def notes_on(found: Gathered) -> list[str]:
    """Return sentences that a user should know of a dataset."""
    notes = []
    of = "sampled image files" if found.sampled else "image files"
    if found.sampled:
        notes.append(
            f"Estimated from {format_count(len(found.sample.key))} of about {format_count(round(found.files.value))} "
            f'images, in {format_count(len(found.sample.population))} directories; `sample="all"` counts every file.'
        )
    if found.empty:
        notes.append(f"{found.empty:,} of the {of} have zero bytes.")
    if found.odd_names:
        notes.append(
            f"{found.odd_names:,} of the {of} have a name that is not UTF-8; such names are kept "
            "byte for byte and shown with backslashes."
        )
    notes += _left_out_notes(found)
    return notes


def _left_out_notes(found: Gathered) -> list[str]:
    """Return sentences about left-out files that the user should know of."""
    notes = []
    if found.by_content.count:
        count = found.others[BY_CONTENT]
        number, low, high = (format_count(round(end)) for end in (count.value, count.low, count.high))
        notes.append(
            f"About {number}{'' if count.exact else f' ({low} to {high})'} files that have "
            f"no image's name are images all the same, such as {found.by_content.examples[0]}: packing takes them, and "
            '`sample="all"` counts them.'
        )
    failed = [
        f"{example}: {kind}"
        for kind in found.left_out.kinds
        if kind in ERRORS
        for example in found.left_out.kinds[kind].examples
    ]
    if failed:
        notes.append(f"Left out: {'; '.join(failed)}.")
    return notes
