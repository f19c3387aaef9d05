"""Images that look whole and cannot be decoded: found when they are asked for, by name, and never in silence."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import tiering
from tests.damage import spoil
from tiering.errors import DatasetError, UsageError
from tiering.testing import tree


@pytest.fixture
def spoilt(some_photos):
    """Photographs, and among them every kind of image that begins and ends well and does not decode."""
    return some_photos, spoil(some_photos)


def listed(path):
    return {line.split("\t")[0] for line in path.read_text().splitlines()[1:]}


@pytest.mark.parametrize("kind", ["lmdb", "zarr"])
def test_the_default_is_quick_and_packs_them_to_the_last_byte(spoilt, tmp_path, kind):
    photos, bad = spoilt
    tiering.convert(photos, tmp_path / "store", kind)
    found = tiering.verify(tmp_path / "store", source=photos)
    assert found.ok
    assert not found.decoded
    store = tiering.open_store(tmp_path / "store")
    packed = {store[i].key: bytes(store[i].image) for i in range(len(store))}
    assert bad.items() <= packed.items()


def test_a_conversion_that_decodes_names_every_one_of_them(spoilt, tmp_path):
    photos, bad = spoilt
    with pytest.raises(DatasetError, match=f"{len(bad)} images that cannot"):
        tiering.convert(photos, tmp_path / "store", "lmdb", check="decode")
    assert listed(tmp_path / "store.partial" / "left-out.tsv") == set(bad)
    manifest = tiering.convert(photos, tmp_path / "store", "lmdb", check="decode", on_error="skip")
    assert manifest.left_out == len(bad)
    assert listed(tmp_path / "store" / "left-out.tsv") == set(bad)
    assert manifest.samples == len(tree(photos)) - len(bad)
    assert tiering.verify(tmp_path / "store", decode=True).ok
    assert sum(len(batch) for batch in tiering.Loader(tiering.open_store(tmp_path / "store"), 16, images="pixels")) > 0


def test_a_conversion_goes_on_only_with_the_same_check(spoilt, tmp_path):
    """Shards that were packed unseen would pass for seen."""
    photos, _ = spoilt
    (photos / "bad" / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DatasetError):
        tiering.convert(photos, tmp_path / "store", "lmdb")
    with pytest.raises(UsageError, match="check quick, now decode"):
        tiering.convert(photos, tmp_path / "store", "lmdb", check="decode", on_error="skip")
    manifest = tiering.convert(photos, tmp_path / "store", "lmdb", check="decode", on_error="skip", resume="never")
    assert manifest.left_out == 9


@pytest.mark.parametrize("kind", ["lmdb", "zarr", "zarr-zstd"])
def test_verify_names_them_and_blames_no_shard(spoilt, tmp_path, kind):
    photos, bad = spoilt
    kind, _, codec = kind.partition("-")
    tiering.convert(photos, tmp_path / "store", kind, codec=codec or "none")
    found = tiering.verify(tmp_path / "store", decode=True)
    assert (found.ok, found.decoded, found.damaged) == (False, True, [])
    assert found.undecodable == found.problem_count == len(bad)
    for key in bad:
        assert any(f"({key}): cannot be decoded: " in problem for problem in found.problems)


def test_verify_tells_bytes_that_changed_from_images_that_never_decoded(spoilt, tmp_path):
    photos, bad = spoilt
    tiering.convert(photos, tmp_path / "store", "zarr", codec="none")
    store = tiering.open_store(tmp_path / "store")
    row = next(i for i in range(len(store)) if store[i].key.endswith("half.png"))
    shard = store.files()[0]
    store.close()
    with shard.open("r+b") as file:
        file.seek(int(store.index.offset[row]) + 30)
        file.write(b"\0\0\0\0")
    found = tiering.verify(tmp_path / "store", decode=True)
    assert found.undecodable == len(bad) - 1
    assert found.damaged == [str(shard.relative_to(tmp_path / "store"))]
    assert sum("does not have" in problem or "do not have" in problem for problem in found.problems) == 1


def test_a_store_of_pixels_has_no_image_to_decode(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "zarr", pixels=tiering.Pixels(16, 24))
    assert tiering.verify(tmp_path / "store", decode=True).ok


def test_a_quick_look_decodes_nothing(photos, tmp_path):
    with pytest.raises(UsageError, match="`decode`"):
        tiering.verify(photos, quick=True, decode=True)


def test_the_command_line_says_whether_pixels_were_decoded(program, spoilt, tmp_path):
    photos, bad = spoilt
    store = tmp_path / "store"
    done = program("convert", photos, store, "--to", "lmdb")
    assert done.returncode == 0
    assert "pixels not decoded (--check decode)" in done.stdout
    found = program("verify", store, "--decode")
    assert found.returncode == 1
    assert all(f"({key}): cannot be decoded" in found.stdout for key in bad)
    assert f"{len(bad)} problems" in found.stdout
    assert "--check decode --on-error skip" in found.stdout
    shutil.rmtree(store)
    done = program("convert", photos, store, "--to", "lmdb", "--check", "decode", "--on-error", "skip")
    assert done.returncode == 0
    assert "not decoded" not in done.stdout
    assert "every CRC-32C right, pixels not decoded (--decode)" in program("verify", store).stdout


@pytest.mark.slow
def test_scripts_learn_how_many_images_cannot_be_decoded(program, spoilt, tmp_path):
    photos, bad = spoilt
    tiering.convert(photos, tmp_path / "store", "lmdb")
    found = json.loads(program("verify", tmp_path / "store", "--decode", "--json").stdout)
    assert (found["ok"], found["decoded"], found["undecodable"]) == (False, True, len(bad))
    tiering.convert(photos, tmp_path / "sound", "lmdb", check="decode", on_error="skip")
    assert "every image decoded" in program("verify", tmp_path / "sound", "--decode").stdout


def test_what_libraries_print_names_no_file_and_is_not_printed(program, tmp_path):
    """libtiff writes to stderr, and Pillow warns, without the name of what they speak of."""
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        path = photos / f"{compression}.tif"
        Image.fromarray(pixels).save(path, compression=compression)
        data = bytearray(path.read_bytes())
        data[1000:1100] = b"\xff" * 100
        path.write_bytes(data)
    Image.fromarray(pixels).save(photos / "metadata.png", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    Image.new("1", (10_000, 9_000)).save(photos / "large.png")
    done = program(
        "convert", photos, tmp_path / "store", "--to", "lmdb", "--check", "decode", "--on-error", "skip", "--workers", 1
    )
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert all("left out is listed in" in line or line.startswith("Next: ") for line in lines), done.stderr
    assert listed(tmp_path / "store" / "left-out.tsv") >= {"tiff_lzw.tif", "tiff_adobe_deflate.tif"}
