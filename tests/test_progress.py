"""Progress: what a callback is told of the listing of a source, and of the work that follows."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import fsspec
import pytest

import tiering


class Shown:
    """A callback that shows more than numbers, as the command line's does: it notes what it would show."""

    def __init__(self) -> None:
        self.listed: list[tuple[int, str]] = []
        self.calls = 0

    def __call__(self, done: int, of: int, size: int) -> None:
        assert self.listed, "the listing comes first"
        self.calls += 1

    def step(self, doing: str, unit: str) -> None:
        raise AssertionError("packing is one step")

    @contextmanager
    def listing(self, listed: Callable[[], int], unit: str) -> Iterator[None]:
        assert listed() == 0
        yield
        self.listed.append((listed(), unit))


@pytest.fixture
def store(few_photos, tmp_path):
    tiering.convert(few_photos, tmp_path / "store", "lmdb", workers=1)
    return tmp_path / "store"


def test_a_plain_function_hears_nothing_of_the_listing(few_photos, tmp_path):
    calls = []
    tiering.convert(few_photos, tmp_path / "store", "lmdb", workers=1, progress=lambda *call: calls.append(call))
    assert calls[0] == (0, 40, 0)
    assert calls[-1][:2] == (40, 40)


def test_every_verb_that_lists_a_source_counts_its_files(few_photos, store, tmp_path):
    shown = Shown()
    tiering.convert(few_photos, tmp_path / "other", "zarr", workers=1, progress=shown)
    tiering.append(few_photos, store, workers=1, progress=shown)
    tiering.sync(few_photos, store, workers=1, progress=shown)
    verification = tiering.verify(store, source=few_photos, progress=shown)
    assert verification.ok
    assert shown.listed == [(40, "files")] * 4
    assert shown.calls


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "table", "bucket", "masks"])
def test_every_kind_of_source_is_counted(kind, few_photos, store, tmp_path):
    source, expected = tmp_path / "source", (40, "files")
    if kind in ("webdataset", "parquet"):
        tiering.export(store, source, kind)
        expected = (40, "samples")
    elif kind == "table":
        names = [path.relative_to(few_photos) for path in sorted(few_photos.rglob("*.*"))]
        (tmp_path / "table.csv").write_text("path\n" + "".join(f"{name}\n" for name in names))
        source = tiering.TableSource(tmp_path / "table.csv", root=few_photos)
    elif kind == "bucket":
        source = f"memory://{uuid.uuid4().hex}"
        fsspec.filesystem("memory").put(str(few_photos), source, recursive=True)
    else:
        source.mkdir()
        image = next(few_photos.rglob("*.jpg")).read_bytes()
        for number in range(20):
            (source / f"{number}.jpg").write_bytes(image)
            (source / f"{number}.txt").write_text("a caption")
    shown = Shown()
    tiering.convert(source, tmp_path / "made", "lmdb", workers=1, progress=shown)
    assert shown.listed == [expected]
