"""One system call for many ranges: it is taken where it is offered, and whoever cannot use it hears so."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

import tiering
from tiering.store import mapped
from tiering.store.advice import will_need


def test_ranges_of_a_map_are_announced_and_others_refused(tmp_path):
    (tmp_path / "file").write_bytes(bytes(64 * mmap.PAGESIZE))
    with (tmp_path / "file").open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    base = np.frombuffer(held, dtype=np.uint8).ctypes.data
    begin = np.array([base, base + 5 * mmap.PAGESIZE], dtype=np.uint64)
    length = np.array([100, 3 * mmap.PAGESIZE], dtype=np.uint64)
    will_need(begin, length)
    assert held[:] == bytes(64 * mmap.PAGESIZE)
    assert will_need(begin + np.uint64(1), length) is False
    assert will_need(np.zeros(2, dtype=np.uint64), length) is False


@pytest.mark.parametrize("offered", [True, False])
def test_announcing_works_with_and_without_it(photos, tmp_path, monkeypatch, offered):
    if not offered:
        monkeypatch.setattr(mapped, "will_need", lambda *_: False)
    tiering.convert(photos, tmp_path / "store", "lmdb")
    store = tiering.open_store(tmp_path / "store")
    store.announce(np.arange(300))
    assert len(store.read(np.arange(300))) == 300
