"""Stores of re-encoded images: each sample says what it was made from, and everything else is as for originals."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import time

import google_crc32c
import numpy as np
import pytest
from distributed import LocalCluster
from PIL import Image

import tiering
from tests import warm
from tests.trees import put
from tiering.errors import DatasetError, StoreError, UsageError
from tiering.images.encoder_build import encoder_build
from tiering.images.image import decode
from tiering.images.reencoding import reencode
from tiering.storage.location import Location
from tiering.store.layout import MANIFEST
from tiering.store.manifest import encode_manifest, read_manifest
from tiering.testing import tree

SMALL = tiering.Reencoded(max_side=100, quality=80)
SHARD = 60_000


@pytest.fixture(scope="module")
def sixty(photos, tmp_path_factory):
    """Sixty of the photographs; never written to."""
    root = tmp_path_factory.mktemp("sixty") / "photos"
    for name in sorted(os.listdir(photos))[:2]:
        shutil.copytree(photos / name, root / name)
    return root


@pytest.fixture(scope="module", params=["lmdb", "zarr-zstd"])
def store(request, sixty, tmp_path_factory):
    """They, re-encoded; never written to."""
    kind, _, codec = request.param.partition("-")
    made = tmp_path_factory.mktemp("reencoded") / "store"
    tiering.convert(sixty, made, kind, encode=SMALL, codec=codec or "auto", shards=tiering.Shards(SHARD), workers=1)
    return made


@pytest.fixture
def copy(store, tmp_path):
    """A copy of a store that a test may change."""
    return shutil.copytree(store, tmp_path / "store")


def rewrite(store, **update):
    """Write the manifest with other values."""
    manifest = read_manifest(Location.of(store))
    (store / MANIFEST).write_bytes(encode_manifest(manifest.model_copy(update=update)))


def made_by(store, build):
    shards = [shard.model_copy(update={"encoder": build}) for shard in read_manifest(Location.of(store)).shards]
    rewrite(store, shards=shards)


def test_each_sample_is_smaller_and_says_what_it_was_made_from(store, sixty):
    opened = tiering.open_store(store)
    assert len(opened) == 60
    for sample in opened:
        original = (sixty / sample.key).read_bytes()
        assert bytes(sample.image) == reencode(original, sample.key, SMALL)
        height, width = decode(original).shape[:2]
        assert (sample["original_width"], sample["original_height"]) == (width, height)
        assert sample["original_bytes"] == len(original)
        assert sample["original_crc32c"] == google_crc32c.value(original)
    manifest = opened.manifest
    assert manifest.image_bytes < 0.7 * manifest.account.packed_bytes
    assert manifest.settings.reencoded.how == SMALL
    assert {shard.encoder for shard in manifest.shards} == {encoder_build("jpeg")}
    assert len(manifest.shards) > 3
    document = json.loads((store / MANIFEST).read_text())
    assert document["format_version"] == 4
    found = tiering.verify(store, source=sixty, decode=True)
    assert found.ok, found.problems
    assert (found.reencoded, found.alike) == (True, 0)


def test_stores_of_originals_are_written_as_before(sixty, tmp_path):
    tiering.convert(sixty, tmp_path / "store", "lmdb")
    document = json.loads((tmp_path / "store" / MANIFEST).read_text())
    assert document["format_version"] == 3
    assert "reencoded" not in document["settings"]
    assert all("encoder" not in shard for shard in document["shards"])


def test_the_command_line_makes_shows_and_checks_one(program, sixty, tmp_path):
    done = program("convert", sixty, tmp_path / "store", "--to", "zarr", "--short-side", 50, "--format", "webp")
    assert done.returncode == 0, done.stderr
    assert "not decoded" not in done.stdout
    shown = program("info", tmp_path / "store").stdout
    assert "re-encoded images: WebP of quality 90, shorter side at most 50 pixels, upright, sRGB, without" in shown
    assert encoder_build("webp")[:40] in shown
    assert "original_crc32c" in shown
    found = program("verify", tmp_path / "store", "--source", sixty)
    assert found.returncode == 0
    assert "every sample made again, and equal to what its file gives" in found.stdout
    assert "re-encoded images: WebP of quality 90" in tiering.profile_store(tmp_path / "store").arrangement
    tiering.export(tmp_path / "store", tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.suffix != ".parquet" and path.is_file()]
    assert len(files) == 60
    assert all(path.name.endswith((".jpg.webp", ".png.webp")) and Image.open(path).format == "WEBP" for path in files)
    both = program("convert", sixty, tmp_path / "no", "--to", "zarr", "--short-side", 50, "--max-side", 50)
    assert both.returncode == 2
    assert "--max-side: takes one limit, this or --short-side, not both" in both.stderr.replace("\n", " ")


def test_append_sync_remove_and_purge_keep_what_samples_were_made_from(store, sixty, tmp_path):
    photos, made = shutil.copytree(sixty, tmp_path / "photos"), shutil.copytree(store, tmp_path / "store")
    names = sorted(path.relative_to(photos) for path in photos.rglob("*.jpg"))
    put(photos, "flower-9/new.png", b"")
    Image.new("RGB", (300, 200), "red").save(photos / "flower-9/new.png")
    grown = tiering.append(photos, made)
    assert grown.samples == 61
    assert not any(field.nullable for field in grown.fields)
    assert tiering.verify(made, source=photos).ok
    # A file of another size is refused, one of other bytes found by sync.
    changed = bytearray((photos / names[0]).read_bytes())
    (photos / names[0]).write_bytes(changed + b"\0")
    with pytest.raises(DatasetError, match="with a size different from that in the store"):
        tiering.append(photos, made)
    changed[-3] ^= 1
    (photos / names[0]).write_bytes(changed)
    (photos / names[1]).unlink()
    synced = tiering.sync(photos, made)
    assert (synced.changed, synced.vanished, synced.new) == (1, 1, 0)
    assert tiering.verify(made, source=photos).ok
    tiering.remove(made, [str(names[2])], purge=True)
    (photos / names[2]).unlink()
    assert tiering.verify(made, source=photos).ok
    manifest = tiering.open_store(made).manifest
    assert {shard.encoder for shard in manifest.shards} == {encoder_build("jpeg")}
    assert manifest.samples == 59
    assert manifest.account.packed_bytes == sum(path.stat().st_size for path in photos.rglob("*.*"))


def test_a_damaged_shard_is_packed_again_to_the_same_bytes(copy, sixty):
    before = tree(copy)
    shard = copy / tiering.open_store(copy).manifest.shards[1].name
    shard.write_bytes(shard.read_bytes()[::-1])
    assert len(tiering.verify(copy).damaged) == 1
    assert len(tiering.repair(copy, source=sixty)) == 1
    assert tree(copy) == before


def test_a_shard_of_another_encoder_is_repaired_if_it_comes_out_the_same(copy, sixty):
    made_by(copy, "another build")
    shard = copy / tiering.open_store(copy).manifest.shards[1].name
    whole = shard.read_bytes()
    shard.write_bytes(whole[::-1])
    tiering.repair(copy, source=sixty)
    assert shard.read_bytes() == whole
    # It does not if the other encoder made other bytes.
    encoding = tiering.open_store(copy).manifest.settings.reencoded.model_copy(update={"quality": 70})
    rewrite(copy, settings=tiering.open_store(copy).manifest.settings.model_copy(update={"reencoded": encoding}))
    shard.write_bytes(whole[::-1])
    with pytest.raises(StoreError, match=r"another encoder, tiering-1.*; with the one that packed it, another"):
        tiering.repair(copy, source=sixty)


def test_verify_finds_an_original_that_is_another_file_now(copy, sixty, tmp_path):
    photos = shutil.copytree(sixty, tmp_path / "photos")
    changed = min(photos.rglob("*.jpg"))
    data = bytearray(changed.read_bytes())
    data[-3] ^= 1
    changed.write_bytes(data)
    found = tiering.verify(copy, source=photos)
    assert len(found.problems) == 1
    assert changed.name in found.problems[0]
    assert "another file than the one that it was made from" in found.problems[0]


@pytest.mark.parametrize("build", [None, "another build"])
def test_verify_finds_samples_that_their_originals_do_not_give(sixty, tmp_path, build):
    """Samples were made with another quality than the manifest says: only another encoder may be a little off."""
    photos = tmp_path / "photos"
    shutil.copytree(sixty, photos)
    for quality, alike in ((79, True), (10, False)):
        store = tmp_path / f"store-{quality}"
        how = tiering.Reencoded(max_side=100, quality=quality)
        settings = tiering.convert(photos, store, "lmdb", encode=how, workers=1).settings
        encoding = settings.reencoded.model_copy(update={"quality": 80})
        rewrite(store, settings=settings.model_copy(update={"reencoded": encoding}))
        if build is not None:
            made_by(store, build)
        found = tiering.verify(store, source=photos)
        if build is not None and alike:
            assert found.ok
            assert found.alike > 40  # the others were kept as they are
        else:
            assert found.problem_count > 40
            assert found.alike == 0
            assert found.problems[0].endswith("differs from what its original gives")


def test_pictures_of_all_kinds_and_their_fields(tmp_path):
    photo = Image.effect_noise((120, 80), 60)
    made = {
        "grey.png": (photo, {}),
        "colour.bmp": (photo.convert("RGB"), {}),
        "cmyk.jpg": (photo.convert("CMYK"), {}),
        "alpha.png": (photo.convert("RGBA"), {}),
        "deep.png": (Image.fromarray(np.asarray(photo).astype(np.uint16) << 8), {}),
        "film.gif": (photo.convert("P"), {"save_all": True, "append_images": [photo.convert("P")]}),
        "one.png": (Image.new("1", (1, 1)), {}),
    }
    for name, (image, options) in made.items():
        written = io.BytesIO()
        image.save(written, {"jpg": "JPEG"}.get(name[-3:], name[-3:].upper()), **options)
        put(tmp_path / "photos", name, written.getvalue())
        put(tmp_path / "photos", name[:-4] + ".txt", name.encode())
    put(tmp_path / "photos", "broken.jpg", b"\xff\xd8\xff nothing")
    with pytest.raises(DatasetError, match="broken"):
        tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", encode=tiering.Reencoded(60))
    manifest = tiering.convert(
        tmp_path / "photos", tmp_path / "store", "lmdb", encode=tiering.Reencoded(60), on_error="skip"
    )
    assert (manifest.samples, manifest.left_out) == (len(made), 1)
    store = tiering.open_store(tmp_path / "store")
    for sample in store:
        image = Image.open(io.BytesIO(sample.image))
        assert (image.format, max(image.size)) == ("JPEG", 1 if sample.key == "one.png" else 60)
        assert image.mode == ("L" if sample.key in ("grey.png", "deep.png", "one.png", "film.gif") else "RGB")
        assert sample["txt"] == sample.key
    assert tiering.verify(tmp_path / "store", source=tmp_path / "photos").ok


def test_masks_keep_their_size_and_are_cropped_with_the_smaller_images(tmp_path):
    blocks = np.kron(np.arange(1, 13).reshape(3, 4) * 20, np.ones((100, 100))).astype(np.uint8)
    for number in range(4):
        for name, image in (("jpg", Image.fromarray(blocks).convert("RGB")), ("mask.png", Image.fromarray(blocks))):
            written = io.BytesIO()
            image.save(written, "JPEG" if name == "jpg" else "PNG", quality=95)
            put(tmp_path / "photos", f"{number}.{name}", written.getvalue())
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", encode=tiering.Reencoded(97))
    store = tiering.open_store(tmp_path / "store")
    assert Image.open(io.BytesIO(store[0].image)).size == (97, 73)
    assert Image.open(io.BytesIO(store[0]["mask"])).size == (400, 300)
    crop = tiering.RandomResizedCrop(64, flip=0.5, layout="NHWC", interpolation="nearest")
    for batch in tiering.Loader(store, 4, images=crop, fields=("mask",)):
        assert set(np.unique(batch["mask"])) <= set(range(20, 260, 20))
        off = np.abs(batch["mask"].astype(int) - batch.images[..., 0]) > 10
        assert off.mean() < 0.1  # along the edges of blocks


def test_a_graphic_that_grows_still_fits_into_the_shards_of_zarr(tmp_path):
    for number in range(40):
        written = io.BytesIO()
        image = Image.new("1", (200, 200))
        image.paste(1, (number, 3 * number, 100 + number, 199))
        image.save(written, "PNG")
        put(tmp_path / "photos", f"{number}.png", written.getvalue())
    manifest = tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", encode=tiering.Reencoded())
    assert manifest.image_bytes > 2 * manifest.account.packed_bytes
    assert tiering.verify(tmp_path / "store", source=tmp_path / "photos").ok


def test_what_cannot_be_made_is_refused(sixty, tmp_path):
    with pytest.raises(UsageError, match="takes re-encoded images or pixels, not both"):
        tiering.convert(sixty, tmp_path / "no", "zarr", encode=SMALL, pixels=tiering.Pixels(8, 8))
    # No shard can be larger than its array says.
    big = tmp_path / "big"
    Image.effect_noise((400, 400), 90).save(put(big, "noise.png", b""))
    with pytest.raises(DatasetError, match="expected re-encoded images of at most 5,000 bytes"):
        tiering.convert(big, tmp_path / "no", "zarr", encode=tiering.Reencoded(), shards=tiering.Shards(5_000))
    assert tiering.convert(big, tmp_path / "yes", "lmdb", encode=tiering.Reencoded(), shards=tiering.Shards(5_000))
    # A field may not have the name of what re-encoding writes.
    put(big, "noise.original_bytes.txt", b"mine")
    with pytest.raises(UsageError, match=r"field original_bytes.*: expected another name"):
        tiering.convert(big, tmp_path / "no", "lmdb", encode=SMALL)


def test_an_unfinished_conversion_goes_on_with_the_same_settings_only(sixty, tmp_path):
    def stop(samples, of, size):
        if samples > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiering.convert(
            sixty, tmp_path / "store", "lmdb", encode=SMALL, shards=tiering.Shards(SHARD), workers=1, progress=stop
        )
    other = tiering.Reencoded(max_side=100, quality=81)
    with pytest.raises(UsageError, match=r"quality=80.*, now .*quality=81"):
        tiering.convert(sixty, tmp_path / "store", "lmdb", encode=other, shards=tiering.Shards(SHARD))
    with pytest.raises(UsageError, match=r"reencoded .*, now None"):
        tiering.convert(sixty, tmp_path / "store", "lmdb", shards=tiering.Shards(SHARD))
    tiering.convert(sixty, tmp_path / "store", "lmdb", encode=SMALL, shards=tiering.Shards(SHARD))
    assert tiering.verify(tmp_path / "store", source=sixty).ok


@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_any_moment_and_run_again_the_store_is_the_same(photos, sixty, tmp_path, times):
    photos, workers = (sixty, "1") if times < 50 else (photos, "2")
    dice, kills = random.Random(times), 0
    tiering.convert(photos, tmp_path / "whole", "zarr", encode=SMALL, shards=tiering.Shards(20_000))
    whole, store = tree(tmp_path / "whole"), tmp_path / "store"
    words = ["convert", photos, store, "--to", "zarr", "--max-side", "100", "--quality", "80",
             "--shard-size", "20kB", "--workers", workers]  # fmt: skip
    notes = tmp_path / "store.partial" / ".tiering"
    while kills < times:
        wanted = len(list(notes.glob("*.npz"))) + dice.randint(1, 4)
        with warm.start(*words, own_session=True) as process:
            # However slow the machine is: struck while it packs.
            while process.poll() is None and len(list(notes.glob("*.npz"))) < wanted:
                time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.02))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
        # It may have been killed after it gave the store its name, but before it removed its notes.
        if store.exists() and not (store / ".tiering").exists():
            assert tree(store) == whole
            shutil.rmtree(store)
    assert warm.run(*words).returncode == 0
    assert tree(store) == whole
    assert sorted(os.listdir(tmp_path)) == ["store", "whole"]


@pytest.mark.parametrize("store", ["lmdb"], indirect=True)
def test_a_dask_cluster_makes_the_same_store(store, sixty, tmp_path):
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        tiering.convert(
            sixty, tmp_path / "store", "lmdb", encode=SMALL, shards=tiering.Shards(SHARD),
            workers=tiering.Dask(cluster.scheduler_address),
        )  # fmt: skip
    assert tree(tmp_path / "store") == tree(store)


def test_a_bucket_holds_the_same_store(sixty, s3, tmp_path):
    options = {"encode": SMALL, "shards": tiering.Shards(5 * SHARD)}
    there = tiering.convert(sixty, f"{s3}/store", "lmdb", **options)
    assert there == tiering.convert(sixty, tmp_path / "here", "lmdb", **options)
    found = tiering.verify(f"{s3}/store", source=sixty)
    assert (found.ok, found.alike) == (True, 0)
