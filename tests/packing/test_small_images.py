"""Small images are packed in batches: the same stores, errors and accounts as one after another."""

from __future__ import annotations

import os
import random

import pytest

import tiering
from tests.trees import picture, put
from tiering.packing import small_images
from tiering.testing import tree

NATIVES = ("images.whole", "system.file_batches", "store.lmdb")


@pytest.fixture
def without_extensions(monkeypatch):
    def switch(*, off):
        for module in NATIVES:
            monkeypatch.setattr(f"tiering.{module}.NATIVE", not off)

    return switch


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """400 images, several batches, and everything that can lie between them."""
    monkeypatch.setattr(small_images, "_BATCH", 100)
    root, drawn, jpeg = tmp_path / "odd", random.Random(1), picture()
    for number in range(350):
        put(root, f"a/{number:04d}.jpg", jpeg[:2] + b"\xff\xfe" + (number + 2).to_bytes(2) + bytes(number) + jpeg[2:])
    for number, kind in enumerate(["PNG", "WEBP", "GIF", "BMP", "TIFF"] * 8):
        put(root, f"b/{drawn.random()}.{kind.lower()}", picture(10 + number, 9, kind))
    put(root, b"b/\xff \n.jpg")
    put(root, "b/large.jpg", jpeg[:2] + b"\xff\xfe\xff\xff" + bytes(65533) + jpeg[2:])
    put(root, "b/cut.jpg", jpeg[:-40])
    put(root, "b/none.png", b"")
    put(root, "b/text.jpg", b"not an image" * 20)
    put(root, "b/padded.jpg", jpeg + b"\0" * 9)
    put(root, "b/by content", jpeg)
    put(root, "b/notes.md", b"# notes")
    put(root, "c/mask/1.jpg")
    (root / "c" / "linked.jpg").symlink_to("../a/0001.jpg")
    (root / "c" / "dead.jpg").symlink_to("nowhere")
    (root / "c" / "circle").symlink_to("..")
    os.mkfifo(root / "c" / "fifo.jpg")
    for name in ("a/0004.jpg", "b/large.jpg", "c/mask/1.jpg"):
        os.utime(root / name, (0, 13_000_000_000))  # in 2381: more ns than 64 bits hold
    return root


@pytest.mark.parametrize(
    ("kind", "codec", "fields"), [("lmdb", "auto", False), ("zarr", "none", False), ("zarr", "zstd:1", True)]
)
def test_the_store_is_the_same_with_and_without_the_extensions(odd, tmp_path, without_extensions, kind, codec, fields):
    if fields:
        for number in range(0, 350, 7):
            # A mask that is no image: the sample is left out as a whole.
            put(odd, f"a/{number:04d}.mask.png", picture(format="PNG") if number % 3 else b"no mask")
    made = {}
    for off in (False, True):
        without_extensions(off=off)
        store = tmp_path / f"store-{off}"
        manifest = tiering.convert(
            odd, store, kind, codec=codec, shards=tiering.Shards(1 << 17), on_error="skip", images_only=not fields
        )
        made[off] = tree(store)
        assert manifest.samples > 300
        assert manifest.left_out >= 3
    assert made[False] == made[True]


def test_few_small_files_between_large_ones_are_read_in_one_go_with_them(tmp_path, monkeypatch):
    """Otherwise the kernel would be told of the next few files only, and a disk would be idle between."""
    for number in range(60):
        put(tmp_path / "mixed", f"{number:02d}.jpg", picture() + bytes((80_000 if number % 3 else 0) + 9))
    parts, read = [], small_images.small_batches

    def noted(source, rows):
        for part in read(source, rows):
            parts.append(part)
            yield part

    monkeypatch.setattr("tiering.packing.shard.small_batches", noted)
    assert tiering.convert(tmp_path / "mixed", tmp_path / "store", "lmdb").samples == 60
    assert parts == [(0, 60)]


@pytest.mark.parametrize("spoil", ["grew", "shrank", "vanished", "a FIFO", "a folder"])
def test_a_file_that_changes_after_the_listing_is_named(odd, tmp_path, monkeypatch, without_extensions, spoil):
    victim = odd / "a" / "0300.jpg"
    read = small_images.small_batches

    def changing(source, rows):
        if victim.is_file() and victim.read_bytes() == before:
            victim.unlink()
            match spoil:
                case "grew":
                    victim.write_bytes(before + b"\0")
                case "shrank":
                    victim.write_bytes(before[:-1])
                case "a FIFO":
                    os.mkfifo(victim)
                case "a folder":
                    victim.mkdir()
        return read(source, rows)

    before, said = victim.read_bytes(), []
    monkeypatch.setattr("tiering.packing.shard.small_batches", changing)
    for off in (False, True):
        if victim.is_dir():
            victim.rmdir()
        victim.unlink(missing_ok=True)
        victim.write_bytes(before)
        without_extensions(off=off)
        store = tmp_path / f"store-{off}"
        tiering.convert(odd, store, "lmdb", on_error="skip", images_only=True)
        (line,) = [line for line in (store / "left-out.tsv").read_text().splitlines() if "a/0300.jpg" in line]
        said.append(line)
    assert said[0] == said[1]
