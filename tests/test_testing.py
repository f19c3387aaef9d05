"""The checks for stores, readers and sources of others: ours pass, and broken ones fail."""

from __future__ import annotations

import dataclasses
import sys
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

import tiering
from tests.conftest import FIXTURES
from tests.examples import examples
from tiering import testing
from tiering.errors import MachineError
from tiering.sources.source import open_source
from tiering.trace.readers import READERS, fio


def test_our_stores_pass(packed, photos):
    with tiering.open_store(packed) as store:
        testing.check_store(store, photos)


def test_a_folder_passes(photos):
    with tiering.open_store(photos) as store:
        testing.check_store(store, photos)


def test_a_store_that_ignores_the_order_of_indices_fails(photos, monkeypatch):
    with tiering.open_store(photos) as store:
        plain = type(store).read
        monkeypatch.setattr(type(store), "read", lambda self, at, out=None: plain(self, np.sort(at), out))
        with pytest.raises(AssertionError, match="order of indices"):
            testing.check_store(store, photos)


def test_a_store_of_another_directory_fails(photos, some_photos):
    with tiering.open_store(some_photos) as store, pytest.raises(AssertionError, match="missing"):
        testing.check_store(store, photos)


def test_a_reader_passes_on_its_trace():
    others = [reader for reader in READERS if reader is not fio.READER]
    assert testing.check_reader(fio.READER, FIXTURES / "traces/fio-3.iolog", others) > 0


def test_a_reader_that_knows_no_trace_fails():
    deaf = dataclasses.replace(fio.READER, sniff=lambda _: False)
    with pytest.raises(AssertionError, match="does not recognise"):
        testing.check_reader(deaf, FIXTURES / "traces/fio-3.iolog")


def test_a_folder_passes_as_a_source(photos):
    assert testing.check_source(open_source(photos)) == 300


@given(image=testing.images())
@settings(max_examples=examples(20))
def test_drawn_images_can_be_decoded(image):
    with Image.open(BytesIO(image)) as opened:
        assert 1 <= opened.width <= 16


@given(key=testing.keys())
@settings(max_examples=examples(50))
def test_drawn_keys_are_relative_paths(key):
    assert not key.startswith("/")
    assert not {"", ".", ".."} & set(key.split("/"))


@given(at=testing.indices(7))
@settings(max_examples=examples(20))
def test_drawn_indices_are_valid(at):
    assert at.dtype == np.int64
    assert ((at >= 0) & (at < 7)).all()


def test_without_hypothesis_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis.strategies", None)
    with pytest.raises(MachineError, match=r"tiering\[testing\]"):
        testing.images()
