"""The log of a store: every generation that it has had, and the command that made it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from tiering.store.schema import Count, Frozen

if TYPE_CHECKING:
    from tiering.store.manifest import Manifest

#: What made a generation. "purge" also removed the files of the samples that it took out.
Action = Literal["convert", "append", "sync", "relabel", "remove", "purge"]

_Generation = Annotated[int, Field(ge=1, le=10**9)]

#: UTC, to the second: 2026-11-29T03:43:08Z.
TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_Time = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]


class Change(Frozen):
    """One generation of a store, as its log describes it."""

    generation: _Generation
    action: Action
    time: _Time | None = Field(default=None, description="when it was written, in UTC; None if nothing recorded it")
    samples: Count
    image_bytes: Count = Field(description="sum of the samples' sizes")
    counts: dict[str, Count] = Field(default={}, max_length=20, description="samples by what happened to them")
    ended: _Generation | None = Field(
        default=None, description="the generation whose purge removed files of this one; None while it can be opened"
    )


def change_of(manifest: Manifest) -> Change:
    """Return the last entry of a manifest's log, or the one that it would have.

    Conversions write no log, so that equal sources and settings give equal stores. Nor did tiering up to 0.1, whose
    later generations all come from append.
    """
    if manifest.log:
        return manifest.log[-1]
    return Change(
        generation=manifest.generation,
        action="convert" if manifest.generation == 1 else "append",
        samples=manifest.samples,
        image_bytes=manifest.image_bytes,
    )


def wrong_log(log: list[Change], manifest: Manifest) -> Iterator[str]:
    """Yield the contradictions between a log and the manifest that holds it."""
    if not log:
        return
    if any(before.generation >= after.generation for before, after in pairwise(log)):
        yield "log: generations in ascending order"
    last = log[-1]
    found = (last.generation, last.samples, last.image_bytes, last.ended)
    if found != (expected := (manifest.generation, manifest.samples, manifest.image_bytes, None)):
        yield f"log: at its end generation, samples and bytes {expected[:3]}, found {found[:3]}"
    yield from _wrong_ends(log)


def _wrong_ends(log: Iterable[Change]) -> Iterator[str]:
    purges = {change.generation for change in log if change.action == "purge"}
    for change in log:
        if change.ended is not None and (change.ended <= change.generation or change.ended not in purges):
            yield f"log: generation {change.generation} ended by a later purge, found {change.ended}"
