"""Stores, caches and loaders say what they are, and close at the end of a `with` block."""

from __future__ import annotations

import pytest

import tiering


def test_stores_and_caches_say_what_they_are(packed, photos, tmp_path):
    kind = tiering.open_store(packed).manifest.kind
    with tiering.open_store(packed) as store:
        assert repr(store).endswith(f"({str(packed)!r}, {kind}, 300 samples)")
    with tiering.open_store(photos) as folder:
        assert repr(folder) == f"FolderStore({str(photos)!r}, folder, 300 samples)"
    with tiering.cached(photos, "4MB", tmp_path / "cache") as cache:
        assert repr(cache) == f"CachedStore({folder!r}, CacheDirectory({str(tmp_path / 'cache')!r}, 4 MB), memory=None)"


def test_a_loader_of_a_path_closes_the_store_that_it_opened(packed, monkeypatch):
    closed = []
    with tiering.Loader(packed, 50) as loader:
        monkeypatch.setattr(loader.store, "close", lambda: closed.append(True))
        assert sum(len(batch) for batch in loader) == 300
        assert repr(loader).startswith(f"Loader({loader.store!r}, batch_size=50, shuffle='global', seed=0, Ranks(")
    assert closed == [True]


def test_a_loader_leaves_a_store_open_that_was_handed_in(packed, monkeypatch):
    store = tiering.open_store(packed)
    monkeypatch.setattr(store, "close", lambda: pytest.fail("closed"))
    with tiering.Loader(store, 50):
        pass


def test_a_chosen_epoch_is_the_one_that_is_served(packed):
    one, other = tiering.Loader(packed, 50, seed=4), tiering.Loader(packed, 50, seed=4, shuffle="global")
    other.set_epoch(3)
    assert [batch.indices.tolist() for batch in one.epoch(3)] == [batch.indices.tolist() for batch in other]
    assert one.current_epoch == 4
