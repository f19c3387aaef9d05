"""Counts a dataset, or samples it, whichever fits its size."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

from tiering.dataset.totals import Gathered, count_folder, count_source, from_sample
from tiering.dataset.tree_reads import tree_at
from tiering.dataset.tree_sample import sample_tree
from tiering.progress import Progress
from tiering.sources.metadata_tables import has_metadata
from tiering.sources.source import Source

#: How many files a sample draws, and how many headers are read of a dataset that is neither small nor sampled.
SAMPLED: Final = 2000


#: Files drawn to tell how long counting will take.
_GLANCED: Final = 200
Sample = Literal["auto", "all"] | int


#: Larger datasets are sampled instead of counted, and of more than ALL_HEADERS images not every header is read, unless
#: the caller requests it.
COUNTED: Final = 100_000
ALL_HEADERS: Final = 10_000

#: Most headers read, even on request: all are kept until the end.
MOST_HEADERS: Final = 100_000


def gather(source: Source, sample: Sample, probes: int | None, seed: int, progress: Progress) -> Gathered:
    """Count or sample a dataset. The arguments are those of profile_dataset. Raises as it does."""
    count = partial(count_source, source, seed=seed, progress=progress)
    keep = min(probes or MOST_HEADERS, MOST_HEADERS)
    if sample == "all" and probes is None:
        return count(keep=keep, every=True, expected=_about(source, seed))
    few = min(probes or ALL_HEADERS, MOST_HEADERS)
    if source.kind != "folder" or source.fields or has_metadata(source.url):
        return _fewer(count(keep=few, every=False), sample, probes, seed)
    if sample == "all":
        return count_folder(source.url, keep=keep, seed=seed, progress=progress)
    tree = tree_at(source.url)
    drawn = sample_tree(tree, SAMPLED if sample == "auto" else sample, seed)
    # A sample without images does not prove that there are none.
    found = from_sample(tree, drawn) if drawn.sample.key else None
    if found is None or (sample == "auto" and found.files.high <= ALL_HEADERS and probes is None):
        return count(keep=keep, every=True, expected=0 if found is None else round(found.files.value))
    if sample == "auto" and found.files.high <= COUNTED:
        found = count_folder(source.url, keep=few, seed=seed, progress=progress)
    return _fewer(found, sample, probes, seed)


def _about(source: Source, seed: int) -> int:
    """Return about how many images a local folder has, by some of its directories; 0 for what cannot be sampled."""
    if source.kind != "folder" or "://" in source.url:
        return 0
    drawn = sample_tree(tree_at(source.url), _GLANCED, seed)
    return round(from_sample(tree_at(source.url), drawn).files.value) if drawn.sample.key else 0


def _fewer(found: Gathered, sample: Sample, probes: int | None, seed: int) -> Gathered:
    """Inspect fewer images of a dataset that is neither small nor sampled."""
    if sample != "all" and probes is None and len(found.sample.key) > SAMPLED and found.files.value > ALL_HEADERS:
        found.sample = found.sample.some(SAMPLED, seed)
    return found
