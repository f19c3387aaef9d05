"""The slot table finds published units and no others, and reports full buckets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.cache.slot_table import SlotTable, table_bytes


def table(directory: Path, units: int, room: int, key: int = 7) -> SlotTable:
    path = directory / "slots"
    path.unlink(missing_ok=True)
    path.write_bytes(bytes(table_bytes(units, room)))
    return SlotTable(path, key)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("slots")


@given(
    units=st.integers(1, 5000),
    room=st.integers(1, 300),
    chosen=st.lists(st.tuples(st.integers(0, 4999), st.integers(0, 900), st.integers(0, 2**30), st.integers(0, 9))),
)
def test_finds_published_units_and_no_others(directory, units, room, chosen):
    slots = table(directory, units, room)
    expected: dict[int, tuple[int, int, int]] = {}
    for number, extent, offset, crc in chosen:
        unit = number % units
        if unit in expected and crc < 5:
            slots.withdraw(unit)
            del expected[unit]
        elif unit not in expected and slots.has_free(unit):
            assert slots.publish(unit, extent, offset, crc)
            expected[unit] = extent, offset, crc
    found = slots.find(np.arange(units))
    assert {
        unit: (int(found.extent[unit]), int(found.offset[unit]), int(found.crc[unit]))
        for unit in np.flatnonzero(found.extent >= 0).tolist()
    } == expected
    assert len(set(found.slot[list(expected)].tolist())) == len(expected)
    slots.close()


def test_a_full_bucket_accepts_a_unit_only_after_one_is_withdrawn(tmp_path):
    slots = table(tmp_path, 1000, 2)
    assert len(slots) == 8
    assert all(slots.publish(unit, 0, 64 * unit, 1) for unit in range(8))
    assert not slots.has_free(8)
    assert not slots.publish(8, 0, 0, 1)
    slots.withdraw(3)
    assert slots.publish(8, 0, 0, 1)


def test_a_filling_finds_nothing_of_an_earlier_one(tmp_path):
    first = table(tmp_path, 100, 100)
    for unit in range(100):
        first.publish(unit, 0, unit, 1)
    second = SlotTable(tmp_path / "slots", 0x9D2C5680)
    assert (second.find(np.arange(100)).extent == -1).all()
