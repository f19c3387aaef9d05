"""Checks that every store, loader, trace reader and source must pass, and strategies for Hypothesis.

Call them from the tests of your own `Store`, reader or source. A check raises AssertionError with what it found.
The strategies need Hypothesis: pip install 'tiering[testing]'. The checks do not.

Example:
    >>> from tiering.testing import check_store  # doctest: +SKIP
    >>> check_store(MyStore("photos.mine"), "photos/")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tiering.errors import MachineError, needs_package
from tiering.serve.loader import Loader
from tiering.sources.source import SOURCE_SCHEMA, Source
from tiering.store.protocol import Store
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.readers.base import Damage, Reader


def tree(root: str | os.PathLike[str]) -> dict[bytes, bytes]:
    """Read every file below a directory.

    Args:
        root: A local directory.

    Returns:
        The contents of each file, by its path relative to `root` as bytes.
    """
    found = {}
    base = os.fsencode(root)
    for directory, _, names in os.walk(base):
        for name in names:
            path = os.path.join(directory, name)  # noqa: PTH118 - names that are not UTF-8
            found[os.path.relpath(path, base)] = Path(os.fsdecode(path)).read_bytes()
    return found


def assert_holds_exactly(store: Store, root: str | os.PathLike[str]) -> None:
    """Check that a store of encoded images has the keys and bytes of a directory, in any order.

    Args:
        store: An open store.
        root: The directory of images that it was made from.
    """
    everything = np.arange(len(store))
    encoded: Any = store.read(everything)
    images = dict(zip(store.index.keys(everything), map(bytes, encoded), strict=True))
    _require(len(images) == len(store), f"{len(store) - len(images)} keys occur twice")
    _same(images, tree(root))


def check_store(store: Store, root: str | os.PathLike[str]) -> None:
    """Check everything that a store of encoded images must do. It stays open.

    It has the bytes of the directory; single samples equal those read together; order and repetition of indices are
    kept; numbers outside raise IndexError and masks TypeError; announcing has no visible effect.

    Args:
        store: An open store of at least one sample.
        root: The directory of images that it was made from.
    """
    assert_holds_exactly(store, root)
    n = len(store)
    everything = np.arange(n)
    together: Any = store.read(everything)
    backwards: Any = store.read(everything[::-1])
    _require(list(map(bytes, backwards)) == list(map(bytes, together))[::-1], "order of indices is not kept")
    twice: Any = store.read(np.array([0, n - 1, 0]))
    wanted = [bytes(together[at]) for at in (0, n - 1, 0)]
    _require(list(map(bytes, twice)) == wanted, "repeated indices are not kept")
    store.announce(everything)
    for at in sorted({0, n // 2, n - 1}):
        sample: Any = store[at]
        _require(bytes(sample.image) == bytes(together[at]), f"sample {at} differs when it is read alone")
        _require(os.fsencode(sample.key) == store.index.keys(np.array([at]))[0], f"sample {at} has another key")
    last: Any = store[-1]
    _require(bytes(last.image) == bytes(together[n - 1]), "store[-1] is not the last sample")
    _raises(IndexError, lambda: store[n], "store[len(store)]")
    _raises(IndexError, lambda: store.read(np.array([-1])), "read([-1])")
    _raises(IndexError, lambda: store.read(np.array([n])), "read([len(store)])")
    _raises(TypeError, lambda: store.read(np.ones(n, dtype=np.bool_)), "read() of a mask")
    _check_ranges(store, together)


def check_reader(reader: Reader, path: str | os.PathLike[str], others: Sequence[Reader] = ()) -> int:
    """Check a reader of a trace format on one trace.

    It recognises the trace by its first bytes, no reader of `others` does, it gives batches in the event schema, and
    all events can happen.

    Args:
        reader: The reader.
        path: An undamaged, uncompressed trace of its format.
        others: Readers that must not take this trace.

    Returns:
        The number of events.
    """
    trace = Path(path)
    head = trace.read_bytes()[: 1 << 16]
    _require(reader.sniff(head), f"{reader.name} does not recognise {trace}")
    _require(not reader.sniff(b""), f"{reader.name} takes an empty file")
    taken = [other.name for other in others if other.sniff(head)]
    _require(not taken, f"{trace} is taken by {taken}, too")
    damage = Damage(trace, reader.name)
    events = 0
    for batch in reader.read(trace, damage):
        _require(dict(batch.schema) == dict(EVENT_SCHEMA), f"a batch has the schema {batch.schema}")
        _require(bool((batch["size"] >= 0).all()), "an event has a negative size")
        _require(bool((batch["offset"].drop_nulls() >= 0).all()), "an event has a negative offset")
        events += len(batch)
    _require(events > 0, "the trace has no events")
    _require(damage.skipped == 0, f"{damage.skipped} lines were left out")
    return events


def check_source(source: Source) -> int:
    """Check a source: its columns, that every key occurs once, and that two listings are equal.

    Args:
        source: An opened source.

    Returns:
        The number of samples.
    """
    keys: list[list[bytes]] = []
    for _ in range(2):
        found: list[bytes] = []
        for batch in source.batches():
            _require(dict(batch.schema) == dict(SOURCE_SCHEMA), f"a batch has the schema {batch.schema}")
            found.extend(batch["key"].to_list())
        keys.append(found)
    _require(keys[0] == keys[1], "two listings differ")
    _require(len(set(keys[0])) == len(keys[0]), "a key occurs twice")
    if source.kind == "folder":
        _require(all(one < other for one, other in pairwise(keys[0])), "the keys of a folder are not sorted")
    return len(keys[0])


def served(loader: Loader, epoch: int) -> list[int]:
    """Run one epoch of a loader.

    Args:
        loader: The loader.
        epoch: Number of the epoch, from 0.

    Returns:
        The indices that it serves, in order.
    """
    loader.set_epoch(epoch)
    return [index for batch in loader for index in batch.indices.tolist()]


def assert_every_sample_once(loaders: list[Loader], epoch: int, samples: int) -> None:
    """Check that the loaders of all ranks together serve every sample exactly once, padding aside.

    Args:
        loaders: One loader for each rank.
        epoch: Number of the epoch, from 0.
        samples: Samples in the store.
    """
    batches = [batch for loader in loaders for batch in loader.epoch(epoch)]
    everything = sorted(index for batch in batches for index in batch.indices[: len(batch) - batch.padding].tolist())
    _same(dict(enumerate(everything)), dict(enumerate(range(samples))))


def keys() -> Any:
    """Return a Hypothesis strategy of keys: relative POSIX paths as str, some not UTF-8 on disk.

    Raises:
        MachineError: If Hypothesis is not installed.
    """
    st = _strategies()
    part = st.binary(min_size=1, max_size=12).map(lambda name: os.fsdecode(name.translate(None, b"/\0")))
    usable = part.filter(lambda name: name not in {"", ".", ".."})
    return st.lists(usable, min_size=1, max_size=3).map("/".join)


def images() -> Any:
    """Return a Hypothesis strategy of small PNG images as bytes, grey or in colour, of 1 to 16 pixels a side.

    Raises:
        MachineError: If Hypothesis is not installed.
    """
    st = _strategies()
    sides = st.integers(1, 16)
    return st.builds(_png, sides, sides, st.sampled_from((1, 3)), st.integers(0, 2**32 - 1))


def indices(samples: int, most: int = 64) -> Any:
    """Return a Hypothesis strategy of valid indices of a store, as int64 arrays; order and repetition are free.

    Args:
        samples: Samples in the store, at least 1.
        most: Largest number of indices.

    Raises:
        MachineError: If Hypothesis is not installed.
    """
    st = _strategies()
    numbers = st.lists(st.integers(0, samples - 1), max_size=most)
    return numbers.map(lambda found: np.array(found, dtype=np.int64))


def _png(width: int, height: int, channels: int, seed: int) -> bytes:
    from io import BytesIO  # noqa: PLC0415 - only strategies need it

    from PIL import Image  # noqa: PLC0415

    shape = (height, width) if channels == 1 else (height, width, channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _strategies() -> Any:
    try:
        return importlib.import_module("hypothesis.strategies")
    except ImportError as error:
        raise MachineError(
            "tiering.testing", rule=needs_package("Hypothesis", error),
            action="pip install 'tiering[testing]'",
        ) from error  # fmt: skip


def _check_ranges(store: Store, images: Any) -> None:
    """Check that byte ranges, if a store has any, hold the samples."""
    ranges = store.byte_ranges(np.arange(len(store)))
    files = store.files()
    if ranges is None or not files:
        return
    for at in sorted({0, len(store) - 1}):
        with files[int(ranges.file[at])].open("rb") as file:
            file.seek(int(ranges.offset[at]))
            found = file.read(int(ranges.size[at]))
        _require(found == bytes(images[at]), f"the byte range of sample {at} holds something else")


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise AssertionError(found)


def _same(found: dict[Any, Any], wanted: dict[Any, Any]) -> None:
    if found != wanted:
        lacking, more = wanted.keys() - found.keys(), found.keys() - wanted.keys()
        differ = [key for key in found.keys() & wanted.keys() if found[key] != wanted[key]]
        raise AssertionError(f"missing: {list(lacking)[:5]}; unexpected: {list(more)[:5]}; different: {differ[:5]}")


def _raises(kind: type[Exception], act: Any, what: str) -> None:
    try:
        act()
    except kind:
        return
    raise AssertionError(f"{what} does not raise {kind.__name__}")
