"""The account of a profile: images to pack, and what is left out, counted or estimated."""

from __future__ import annotations

from collections.abc import Sequence

from tiering.dataset.estimates import Estimate
from tiering.dataset.gathered import Gathered
from tiering.dataset.headers import Fault, Seen
from tiering.sources.account import Account, shared_keys
from tiering.sources.left_out import DAMAGED, ERRORS, LeftOut
from tiering.text import display


def close_account(found: Gathered, seen: Sequence[Seen], damaged_share: Estimate) -> Account:
    """Close the account of a dataset.

    seen: what was found in the sampled images. damaged_share: of all images.
    Where every image was looked at, those that cannot be packed are left out one by one; else as many as the sample
    stands for, all under one kind.
    """
    left_out = LeftOut()
    left_out.merge(found.left_out)
    files, size = round(found.files.value), round(found.size.value)
    failed = LeftOut()
    for key, bytes_, header in zip(found.sample.key, found.sample.size.tolist(), seen, strict=True):
        if isinstance(header, Fault):
            failed.add(header.kind, key, bytes_, header)
    if found.sample.complete:
        left_out.merge(failed)
        return Account.of(files - failed.count(), size - failed.size(), left_out)
    count = round(damaged_share.value * files)
    if count:
        share = LeftOut()
        share.add(DAMAGED, b"", round(size * count / files))
        share.kinds[DAMAGED].count = count
        share.kinds[DAMAGED].examples = [text for tally in failed.kinds.values() for text in tally.examples][:5]
        left_out.merge(share)
    return Account.of(files - count, size - left_out.size(DAMAGED), left_out)


def left_out_notes(found: Gathered, where: str) -> list[str]:
    """Say in sentences what of the files that are left out somebody should know. where: the dataset."""
    notes = []
    if found.by_content:
        notes.append(
            f"Some files that have no image's name are images all the same, such as {display(found.by_content[0])}: "
            "packing takes them, and --sample all counts them."
        )
    failed = [
        f"{example}: {kind}"
        for kind in found.left_out.kinds
        if kind in ERRORS
        for example in found.left_out.kinds[kind].examples
    ]
    if failed:
        notes.append(f"Left out: {'; '.join(failed)}.")
    shared = found.left_out.shared
    if shared.count:
        notes.append(f"{shared_keys(where, shared.count, shared.examples)}")
    return notes
