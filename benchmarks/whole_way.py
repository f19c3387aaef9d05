"""The whole way over a directory, with every promise checked: profile, convert, verify, export, two epochs.

Usage: python benchmarks/whole_way.py DATASET [WORKPLACE]
"""

from __future__ import annotations

import filecmp
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import tiering
from tiering.packing.export import export


def main() -> None:
    dataset = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
        began = time.perf_counter()
        profile = tiering.profile_dataset(dataset)
        said(f"profile: {profile.files:,} files, {profile.bytes:,} bytes, {profile.layout}", began)
        for kind in ("lmdb", "zarr"):
            check(dataset, Path(place), kind, profile.files)


def check(dataset: Path, place: Path, kind: str, files: int) -> None:
    began = time.perf_counter()
    manifest = tiering.convert(dataset, place / kind, kind)
    said(f"{kind}: convert: {manifest.samples:,} samples, {len(manifest.shards)} shards", began)
    began = time.perf_counter()
    found = tiering.verify(place / kind, source=dataset)
    assert found.ok, found.problems
    said(f"{kind}: verify --source: {found.problem_count} problems", began)
    began = time.perf_counter()
    exported = place / f"{kind}-exported"
    assert export(place / kind, exported) == files
    different = sum(
        not filecmp.cmp(path, dataset / path.relative_to(exported), shallow=False) for path in all_of(exported)
    )
    assert different == 0
    said(f"{kind}: export: {files:,} files, {different} differ from the source", began)
    began = time.perf_counter()
    store = tiering.open_store(place / kind)
    orders = [served(store, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (0, 0))]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(files))
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[0], orders[2])
    said(f"{kind}: 3 epochs: every sample once; (0, 0) differs from (0, 1) and equals (0, 0)", began)


def all_of(root: Path) -> list[Path]:
    return [Path(directory) / name for directory, _, names in os.walk(root) for name in names]


def served(store: tiering.Store, seed: int, epoch: int) -> np.ndarray:
    loader = tiering.Loader(store, 256, seed=seed)
    loader.set_epoch(epoch)
    found = []
    for batch in loader:
        assert [len(image) for image in batch.images] == store.index.size[batch.indices].tolist()
        found.append(batch.indices)
    return np.concatenate(found)


def said(what: str, began: float) -> None:
    print(f"{what} ({time.perf_counter() - began:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
