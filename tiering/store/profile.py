"""profile_store: the contents of a packed store, or of some of its samples, as the profile of a dataset.

Sizes, labels and fields come from whole columns of the index, part by part. Headers are read of some images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NoReturn, TypeVar, cast, get_args

import numpy as np

from tiering.arrays import IndexArray, PixelArray, row_parts
from tiering.dataset.estimates import EstimatedValue, FileSample
from tiering.dataset.gathering import ALL_HEADERS, MOST_HEADERS, SAMPLED
from tiering.dataset.header_reads import Fault, Seen, look_quickly
from tiering.dataset.profile import PIXELS, DatasetProfile, profile_of, with_reencoded
from tiering.dataset.size_distribution import Sizes
from tiering.dataset.totals import MAX_DAMAGED, QUANTILES, Gathered, inspected
from tiering.dataset.tree_reads import digest_of
from tiering.errors import DatasetError, StoreError, TieringError, UsageError
from tiering.images.image import ImageHeader
from tiering.images.shape import PixelShape
from tiering.progress import Progress, no_progress
from tiering.sources.byte_ranges import Found
from tiering.sources.labels.classes import NONE
from tiering.sources.labels.folders import FolderRule, Layout
from tiering.sources.left_out import DAMAGED
from tiering.store.field_distributions import ROWS, profiled_fields
from tiering.store.manifest import Manifest
from tiering.store.open import open_store
from tiering.store.protocol import Store, shape_of
from tiering.store.sample import Buffer
from tiering.store.selection import unselected
from tiering.store.value_counts import number_counts, value_counts
from tiering.text import display, without_secrets
from tiering.units import counted, format_count

#: How many images are read at once.
_TOGETHER: Final = 256

Result = TypeVar("Result")

_LAYOUTS: Final[dict[str, Layout]] = {"lmdb": "LMDB store", "zarr": "Zarr store"}


def profile_store(
    store: Store | str | os.PathLike[str],
    *,
    probes: int | None = None,
    seed: int = 0,
    reencoded: bool = False,
    progress: Progress = no_progress,
) -> DatasetProfile:
    """Profile a packed store, or some samples of one: their sizes, labels, fields, formats and shapes.

    Counts, sizes, labels and fields are those of all samples, from the columns of the index; the values of fields of
    variable size are not read. Quantiles of fields come from a random sample of 10,000 of their values.

    Args:
        store: A store, a selection from one, a path or a URL.
        probes: Most images to look at, at least 1. By default all of up to 10,000 in a local store, else 2,000.
        seed: Seed of the random choices.
        reencoded: Re-encode 300 of the images as well, and measure what that saves and loses. Takes about 5 s.
        progress: Called with the images inspected, all that will be, and 0.

    Returns:
        The profile. `is_packed` is true for a packed store. For a selection, and for stores joined by `concat`, it has
        no account.

    Raises:
        StoreError: The store is missing, unfinished or damaged.
        UsageError: Pixels cannot be re-encoded.
        ValueError: probes is too small.

    Example:
        >>> store = tiering.open_store("photos.lmdb")  # doctest: +SKIP
        >>> tiering.profile_store(store.select(split="train")).fields  # doctest: +SKIP
    """
    if probes is not None and probes < 1:
        message = f"probes: expected at least 1, found {probes}"
        raise ValueError(message)
    if isinstance(store, str | os.PathLike):
        with open_store(store) as opened:
            return profile_store(opened, probes=probes, seed=seed, reencoded=reencoded, progress=progress)
    if not len(store):
        raise StoreError(str(store.location), found="the store has no samples")
    if reencoded and shape_of(store.manifest) is not None:
        raise UsageError("reencoded", expected="encoded images", found=f"{store.location}, a store of pixels")
    whole = unselected(store)
    labels, notes = _labels(store)
    account = whole.manifest.account if store is whole else None
    gathered = _gather(store, probes, seed, progress)
    found = profile_of(
        without_secrets(display(str(store.location))),
        gathered,
        _layout(whole.manifest),
        labels,
        _arrangement(store, len(labels)),
        notes,
        account,
    )
    if reencoded:
        found = with_reencoded(found, gathered, seed)
    return found if account else found.model_copy(update={"account": None})


def _layout(manifest: Manifest) -> Layout:
    """Return the layout of a store; that of the images for a folder."""
    known = manifest.layout if manifest.layout in get_args(Layout) else "flat"
    return _LAYOUTS.get(manifest.kind, cast("Layout", known))


def _gather(store: Store, probes: int | None, seed: int, progress: Progress) -> Gathered:
    sizes = Sizes()
    for begin in range(0, len(store), ROWS):
        sizes.add(store.index.size[begin : begin + ROWS])
    quantiles = sizes.quantiles(tuple(map(float, QUANTILES)))
    every = probes is None and len(store) <= ALL_HEADERS and store.location.local is not None
    most = min(len(store), MOST_HEADERS if every else probes or SAMPLED)
    rows = np.sort(np.random.default_rng(seed).choice(len(store), most, replace=False, shuffle=False))
    tree = _StoreTree(store)
    # Keys may repeat in several stores together, so samples are known by their numbers.
    sample = FileSample.simple(len(store), [b"%d" % row for row in rows.tolist()], store.index.size[rows])
    seen = inspected(tree, sample.key, progress)
    keys = store.index.keys(rows)
    return Gathered(
        tree=tree,
        sample=sample,
        files=EstimatedValue.known(sizes.count, sizes.count),
        size=EstimatedValue.known(sizes.total, sizes.count),
        quantiles={
            name: EstimatedValue.known(size, sizes.count) for name, size in zip(QUANTILES, quantiles, strict=True)
        },
        folders={},
        rule=FolderRule("flat"),
        empty=sizes.empty,
        damaged=[f"{display(key)}: {why}" for key, why in zip(keys, seen, strict=True) if isinstance(why, str)][
            :MAX_DAMAGED
        ],
        seen=list(seen),
        fields=profiled_fields(store, seed),
    )


def _labels(store: Store) -> tuple[dict[str, int], list[str]]:
    """Return how many samples each class has, those without any left out, and notes for the user."""
    counts = number_counts(store, "label")
    labels = {name: counts[number] for number, name in store.manifest.classes.items() if counts[number]}
    without = counts[NONE]
    return labels, [f"{counted(without, 'sample')} without a label."] if without and labels else []


def _arrangement(store: Store, labels: int) -> str:
    """Return sentences about a store: its format, its source and its splits."""
    whole = unselected(store)
    manifest = whole.manifest
    of = "" if store is whole else f"{format_count(len(store))} samples of "
    kind = {"lmdb": "an LMDB store", "zarr": "a Zarr store"}.get(manifest.kind, "a folder")
    if manifest.shards:
        kind += f" of {counted(len(manifest.shards), 'shard')}, generation {manifest.generation}"
        kind += f", packed from {manifest.source.url}"
    first = f"{of}{kind} ({manifest.layout})"
    sentences = [first[0].upper() + first[1:] + (f", with {counted(labels, 'label')}." if labels else ".")]
    if manifest.settings and manifest.settings.reencoded:
        sentences.append(f"Its samples are re-encoded images: {manifest.settings.reencoded}.")
    if manifest.splits:
        sentences.append(
            f"Splits: {', '.join(f'{name} {format_count(n)}' for name, n in value_counts(store, 'split').items())}."
        )
    return " ".join(sentences)


class _StoreTree:
    """The samples of a store as a Tree, which cannot be listed. Their keys are their numbers in decimal."""

    def __init__(self, store: Store) -> None:
        self._store, self._shape = store, shape_of(store.manifest)

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> NoReturn:  # noqa: ARG002 - as in Tree
        """Refuse: a store is no tree."""
        raise NotADirectoryError(prefix)

    def sizes(self, keys: Sequence[bytes]) -> IndexArray:
        """Return the bytes of samples."""
        sizes: IndexArray = self._store.index.size[_numbers(keys)]
        return sizes

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Return the headers of samples. Pixels have none, so their shape stands for it."""
        if self._shape is not None:
            return [_header(self._shape)] * len(keys)
        return self._each(_numbers(keys), look_quickly)

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Return a hash of each sample; for the beginning of a packed one, the CRC-32C of all of it will do."""
        rows, crc = _numbers(keys), self._store.index.crc32c
        if limit is not None and len(crc):
            return [each.tobytes() for each in crc[rows]]
        found = self._each(rows, lambda data, _: digest_of(bytes(data[:limit])))
        return [b"" if isinstance(each, Fault) else each for each in found]

    def contents(self, keys: Sequence[bytes], sizes: IndexArray) -> Iterator[tuple[int, Found]]:  # noqa: ARG002 - as in Tree
        """Read encoded samples one after the other."""
        for at, row in enumerate(_numbers(keys).tolist()):
            (data,) = self._read(np.array([row]))
            name = display(self._store.index.keys(np.array([row]))[0])
            yield at, DatasetError(name, found=data) if isinstance(data, Fault) else bytes(data)

    def _each(self, rows: IndexArray, see: Callable[[Buffer, str], Result]) -> list[Result | Fault]:
        """Return what is seen of each sample, or why it cannot be read."""
        found: list[Result | Fault] = []
        for part in row_parts(len(rows), _TOGETHER):
            asked = rows[part]
            self._store.announce(asked)
            names = map(display, self._store.index.keys(asked))
            found += [
                each if isinstance(each, Fault) else see(each, name)
                for each, name in zip(self._read(asked), names, strict=True)
            ]
        return found

    def _read(self, rows: IndexArray) -> Sequence[Buffer | Fault]:
        try:
            return [_bytes(each) for each in self._store.read(rows)]
        except TieringError as error:
            if len(rows) == 1:
                return [Fault(f"cannot be read: {error.found}", DAMAGED)]
        return [each for row in rows for each in self._read(row.reshape(1))]


def _numbers(keys: Sequence[bytes]) -> IndexArray:
    return np.array([int(key) for key in keys], np.int64)


def _bytes(image: Buffer | PixelArray) -> Buffer:
    return image if isinstance(image, bytes | memoryview) else image.tobytes()


def _header(shape: PixelShape) -> ImageHeader:
    """Return the header that stands for pixels."""
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    mode = modes.get(shape.channels) if shape.dtype == "uint8" else None
    return ImageHeader(PIXELS, shape.width, shape.height, mode or f"{shape.channels} x {shape.dtype}")
