"""Images that cannot be packed: all named at the end, left out, or put aside; and nothing else is lost."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest

import tiering
from tiering.errors import DatasetError, StoreError
from tiering.testing import tree

KINDS = ["lmdb", "zarr"]


def _bomb():
    """A PNG of a few bytes that claims to be 60,000 pixels on a side."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [head, b"IDAT" + zlib.compress(b""), b"IEND"]
    made = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    made.seek(0, io.SEEK_END)
    for chunk in chunks:
        made.write(struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    return made.getvalue()


BAD = {
    "zero bytes": lambda image: b"",
    "no known image format": lambda image: b"not an image at all",
    "truncated": lambda image: image[:-100],
    "too many pixels": lambda image: _bomb(),
}


def spoil(photos):
    """Spoil one photograph in each way; return their keys, sorted."""
    victims = sorted(photos.rglob("*.jpg"))[: len(BAD)]
    for victim, bad in zip(victims, BAD.values(), strict=True):
        victim.write_bytes(bad(victim.read_bytes()))
    return [os.fsencode(victim.relative_to(photos)) for victim in victims]


@pytest.mark.parametrize("kind", KINDS)
def test_all_bad_images_are_named_at_the_end_and_no_store_opens(some_photos, tmp_path, kind):
    keys = spoil(some_photos)
    with pytest.raises(DatasetError) as raised:
        tiering.convert(some_photos, tmp_path / "store", kind, shards=tiering.Shards(200_000))
    assert f"{len(BAD)} images" in str(raised.value)
    for key, reason in zip(keys, BAD, strict=True):
        assert f"{key.decode()}: " in str(raised.value)
        assert reason in str(raised.value)
    listed = (tmp_path / "store.partial" / "left-out.tsv").read_text().splitlines()
    assert sorted(line.split("\t")[0] for line in listed[1:]) == sorted(key.decode() for key in keys)
    for name in ("store", "store.partial"):
        with pytest.raises(StoreError):
            tiering.open_store(tmp_path / name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("on_error", ["skip", "quarantine"])
def test_bad_images_can_be_left_out_after_all_without_packing_again(some_photos, tmp_path, kind, on_error):
    keys = spoil(some_photos)
    spoiled = {key: (some_photos / os.fsdecode(key)).read_bytes() for key in keys}
    before = tree(some_photos)
    with pytest.raises(DatasetError):
        tiering.convert(some_photos, tmp_path / "store", kind, shards=tiering.Shards(200_000))
    packed = {path: path.stat().st_mtime_ns for path in (tmp_path / "store.partial").rglob("*.mdb")}
    manifest = tiering.convert(some_photos, tmp_path / "store", kind, shards=tiering.Shards(200_000), on_error=on_error)
    assert all((tmp_path / "store" / path.name).stat().st_mtime_ns == time for path, time in packed.items())
    assert manifest.left_out == len(keys)
    assert manifest.samples == len(before) - len(keys)
    assert tree(some_photos) == before
    store = tiering.open_store(tmp_path / "store")
    held = dict(
        zip(store.index.keys(np.arange(len(store))), map(bytes, store.read(np.arange(len(store)))), strict=True)
    )
    assert held == {key: image for key, image in before.items() if key not in keys}
    found = tiering.verify(tmp_path / "store", source=some_photos)
    assert found.ok, found.problems
    if on_error == "quarantine":
        assert tree(tmp_path / "store" / "quarantine") == spoiled
    else:
        assert not (tmp_path / "store" / "quarantine").exists()


def test_mended_images_are_the_answer_to_being_told_to_mend_them(some_photos, tmp_path):
    good = tree(some_photos)
    keys = spoil(some_photos)
    with pytest.raises(DatasetError):
        tiering.convert(some_photos, tmp_path / "store", "lmdb")
    for key in keys:
        (some_photos / os.fsdecode(key)).write_bytes(good[key])
    assert tiering.convert(some_photos, tmp_path / "store", "lmdb").samples == len(good)
    assert sorted(os.listdir(tmp_path)) == ["photos", "store"]


def test_a_dataset_of_nothing_but_bad_images_makes_no_store(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(b"junk")
    with pytest.raises(DatasetError, match="no image can be packed"):
        tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", on_error="skip")
    assert not (tmp_path / "store").exists()


def test_an_image_under_a_wrong_extension_is_packed_as_it_is(some_photos, tmp_path):
    png = next(some_photos.rglob("*.png"))
    png.rename(png.with_suffix(".jpg"))
    tiering.convert(some_photos, tmp_path / "store", "lmdb")
    assert tiering.verify(tmp_path / "store", source=some_photos).ok


def test_files_that_grow_shrink_or_vanish_under_the_packer_are_bad_files(some_photos, tmp_path, monkeypatch):
    victims = sorted(some_photos.rglob("*.jpg"))[:3]

    def meddle(samples, of, size):
        for victim, change in zip(victims, (b"more", b"", None), strict=True):
            if change is None:
                victim.unlink(missing_ok=True)
            else:
                victim.write_bytes(victim.read_bytes() + change if change else b"short")

    # The first shard's progress report is the moment: the listing is made, and the other shards are not packed yet.
    store = tmp_path / "store"
    tiering.convert(some_photos, store, "lmdb", shards=tiering.Shards(20_000))
    order = tiering.open_store(store).index.keys(np.arange(sum(1 for _ in some_photos.rglob("*.*"))))
    victims = [some_photos / os.fsdecode(key) for key in order[-3:]]
    with pytest.raises(DatasetError) as raised:
        tiering.convert(
            some_photos, tmp_path / "again", "lmdb", shards=tiering.Shards(20_000), workers=1, progress=meddle
        )
    assert "3 images" in str(raised.value)
    assert str(raised.value).count("changed while it was being packed") == 2
    assert "no such file" in str(raised.value)
