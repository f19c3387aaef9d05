"""Stores of pixels that keep 16 bits, floating-point numbers and any number of bands."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import tiering
from tests.examples import examples
from tests.images.deep import noise, npy, saved
from tests.trees import put
from tiering.errors import DatasetError, StoreError, TieringError, UsageError
from tiering.images.npy import decode_npy
from tiering.measure.bench import bench
from tiering.store.manifest import _crc
from tiering.testing import assert_every_sample_once

CODECS = ("none", "lz4", "zstd", "gzip", "blosc-lz4", "blosc-lz4-shuffle", "blosc-zstd-noshuffle", "auto")
SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 8))


def arrays(root: Path, sides: tuple[int, ...], dtype: str, count: int = 20) -> dict[str, np.ndarray]:
    """Write .npy files in two class folders, and return what is in them by key."""
    found = {f"{'ab'[number % 2]}/{number}.npy": noise(sides, dtype, number) for number in range(count)}
    for key, pixels in found.items():
        put(root, key, npy(pixels))
    return found


def check(store, found: dict[str, np.ndarray]) -> None:
    assert len(store) == len(found)
    for i in range(len(store)):
        sample = store[i]
        expected = found[sample.key]
        expected = expected if expected.ndim == 3 else expected[:, :, None]
        assert sample.image.dtype == expected.dtype
        assert np.array_equal(sample.image, expected, equal_nan=expected.dtype.kind == "f")


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sides=SIDES,
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    codec=st.sampled_from(CODECS),
    flat=st.booleans(),
    count=st.integers(1, 12),
    shard=st.sampled_from([None, 500]),
)
def test_every_number_comes_back_from_store_plain_zarr_loader_and_export(sides, dtype, codec, flat, count, shard):
    sides = sides[:2] if flat else sides
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        found = arrays(root / "arrays", sides, dtype, count)
        pixels = tiering.Pixels(dtype=None if dtype == "uint8" else dtype)
        how = {"pixels": pixels, "codec": codec, "shards": tiering.Shards(shard)}
        manifest = tiering.convert(root / "arrays", root / "store", "zarr", **how)
        assert manifest.image_bytes == count * np.empty(sides, dtype).nbytes
        with tiering.open_store(root / "store") as store:
            check(store, found)
            group = zarr.open_group(root / "store", mode="r")
            rows = group["index/offset"][:] // store[0].image.nbytes
            assert group["images"].dtype == np.dtype(dtype)
            assert np.array_equal(group["images"].oindex[rows], store.read(np.arange(count)), equal_nan=dtype[0] == "f")
            for batch in tiering.Loader(store, 5, seed=1):
                assert batch.images.dtype == np.dtype(dtype)
                for image, key in zip(batch.images, batch.keys, strict=True):
                    assert np.array_equal(image.reshape(sides), found[key], equal_nan=dtype[0] == "f")
            sound = tiering.verify(root / "store", source=root / "arrays")
            assert sound.problems == []
        tiering.export(root / "store", root / "again")
        files = [path for path in (root / "again").rglob("*") if path.is_file()]
        assert len(files) == count
        again = tiering.convert(root / "again", root / "second", "zarr", **how)
        assert again.image_bytes == manifest.image_bytes
        with tiering.open_store(root / "second") as second:
            for i in range(count):
                key = second[i].key.removesuffix(".png")
                assert np.array_equal(second[i].image.reshape(sides), found[key], equal_nan=dtype[0] == "f")


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("codec", ["none", "blosc-zstd-shuffle"])
def test_a_cache_a_rank_and_a_bench_take_deep_pixels(tmp_path, dtype, codec):
    found = arrays(tmp_path / "arrays", (6, 5, 4), dtype, 60)
    tiering.convert(tmp_path / "arrays", tmp_path / "store", "zarr", pixels=tiering.Pixels(dtype=dtype), codec=codec)
    with tiering.cached(tmp_path / "store", 1 << 20, tmp_path / "cache") as store:
        for _ in range(2):
            check(store, found)
            assert_every_sample_once([tiering.Loader(store, 7, seed=3)], 0, 60)
    (measured,) = bench([tmp_path / "store"], epochs=2)
    assert measured.samples == 60


def test_append_and_sync_add_arrays_and_refuse_other_types(tmp_path):
    found = arrays(tmp_path / "arrays", (6, 5), "uint16")
    tiering.convert(tmp_path / "arrays", tmp_path / "store", "zarr", pixels=tiering.Pixels(dtype="uint16"))
    for key in ("b/new.npy", "a/0.npy"):
        found[key] = noise((6, 5), "uint16", 77)
        put(tmp_path / "arrays", key, npy(found[key]))
    done = tiering.sync(tmp_path / "arrays", tmp_path / "store")
    assert (done.new, done.changed, done.vanished) == (1, 1, 0)
    assert done.manifest.format_version == 3
    with tiering.open_store(tmp_path / "store") as store:
        check(store, found)
    put(tmp_path / "arrays", "a/float.npy", npy(noise((6, 5), "float32")))
    with pytest.raises(DatasetError, match=r"float\.npy"):
        tiering.append(tmp_path / "arrays", tmp_path / "store")
    tiering.append(tmp_path / "arrays", tmp_path / "store", on_error="skip")
    assert tiering.verify(tmp_path / "store", source=tmp_path / "arrays").problems == []


def test_a_damaged_shard_of_deep_pixels_is_found_and_repaired(tmp_path):
    arrays(tmp_path / "arrays", (30, 20, 5), "float32", 30)
    tiering.convert(
        tmp_path / "arrays", tmp_path / "store", "zarr", pixels=tiering.Pixels(dtype="float32"), codec="none"
    )
    shard = tmp_path / "store" / tiering.open_store(tmp_path / "store").manifest.shards[0].name
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    assert tiering.verify(tmp_path / "store").problems
    tiering.repair(tmp_path / "store", source=tmp_path / "arrays")
    assert tiering.verify(tmp_path / "store").problems == []


def test_a_killed_conversion_of_deep_pixels_resumes_to_the_same_bytes(tmp_path):
    arrays(tmp_path / "arrays", (30, 20, 5), "uint16", 60)
    how = {"pixels": tiering.Pixels(dtype="uint16"), "shards": tiering.Shards(40_000), "codec": "blosc-lz4"}
    manifest = tiering.convert(tmp_path / "arrays", tmp_path / "whole", "zarr", **how)

    def kill(samples, _, __):
        if samples > 20:
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        tiering.convert(tmp_path / "arrays", tmp_path / "cut", "zarr", progress=kill, workers=1, **how)
    assert (
        tiering.convert(tmp_path / "arrays", tmp_path / "cut", "zarr", resume="only", **how).shards == manifest.shards
    )


# What becomes of deep images without being asked for them.

GREY16 = Image.fromarray(noise((12, 16), "uint16"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_refused_unless_dtype_says_what_becomes_of_them(tmp_path, kind, program):
    pixels = np.asarray(GREY16)
    for number in range(3):
        put(tmp_path / "photos", f"{number}.{kind.lower()}", saved(GREY16, kind))
    with pytest.raises(DatasetError, match=r"uint16 pixels in 3 images.*`dtype` uint16.*`dtype` uint8"):
        tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", pixels=tiering.Pixels())
    done = program("convert", tmp_path / "photos", tmp_path / "store", "--to", "zarr", "--pixels")
    assert done.returncode == 3
    assert "--dtype uint16" in done.stderr
    assert not (tmp_path / "store").exists()
    for dtype, expected in (("uint16", pixels), ("float32", pixels.astype("f4")), ("uint8", pixels >> 8)):
        done = program("convert", tmp_path / "photos", tmp_path / dtype, "--to", "zarr", "--dtype", dtype)
        assert done.returncode == 0, done.stderr
        with tiering.open_store(tmp_path / dtype) as store:
            assert store[0].image.dtype == np.dtype(dtype)
            assert np.array_equal(store[0].image[:, :, 0], expected)
        assert tiering.verify(tmp_path / dtype, source=tmp_path / "photos").problems == []


def test_a_deep_image_among_others_is_a_bad_image_and_never_narrowed_in_silence(tmp_path):
    for number in range(5):
        put(tmp_path / "photos", f"{number}.png", saved(Image.fromarray(noise((12, 16), "uint8", number)), "PNG"))
    tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", pixels=tiering.Pixels())
    put(tmp_path / "photos", "deep.png", saved(GREY16, "PNG"))
    with pytest.raises(DatasetError, match=r"deep\.png.*uint16 pixels"):
        tiering.append(tmp_path / "photos", tmp_path / "store")
    with pytest.raises(DatasetError, match="uint8 pixels in 5 images, uint16 pixels in 1 image"):
        tiering.convert(tmp_path / "photos", tmp_path / "other", "zarr", pixels=tiering.Pixels())
    with pytest.raises(DatasetError, match="uint8 pixels in a store of uint16"):
        tiering.convert(tmp_path / "photos", tmp_path / "other", "zarr", pixels=tiering.Pixels(dtype="uint16"))
    tiering.convert(tmp_path / "photos", tmp_path / "narrow", "zarr", pixels=tiering.Pixels(dtype="uint8"))
    tiering.append(tmp_path / "photos", tmp_path / "narrow")


def test_a_store_of_an_earlier_version_that_narrowed_16_bits_still_agrees_with_its_source(tmp_path):
    for number in range(3):
        put(tmp_path / "photos", f"{number}.png", saved(Image.fromarray(noise((12, 16), "uint16", number)), "PNG"))
    tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", pixels=tiering.Pixels(dtype="uint8"))
    _rewrite(tmp_path / "store", lambda pixels: pixels.pop("narrowed"), version=2)
    assert tiering.verify(tmp_path / "store", source=tmp_path / "photos").problems == []
    done = tiering.sync(tmp_path / "photos", tmp_path / "store")
    assert (done.new, done.changed) == (0, 0)
    put(tmp_path / "photos", "new.png", saved(GREY16, "PNG"))
    with pytest.raises(DatasetError, match=r"new\.png"):
        tiering.append(tmp_path / "photos", tmp_path / "store")


def _rewrite(store: Path, change, version: int) -> None:
    """Change the pixels of a manifest, as another version would have written them."""
    content = json.loads((store / "manifest.json").read_text())
    content.pop("crc32c")
    change(content["settings"]["pixels"])
    content["format_version"] = version
    (store / "manifest.json").write_text(json.dumps(content | {"crc32c": _crc(content)}))


def test_a_store_names_a_format_that_versions_without_deep_pixels_refuse(tmp_path):
    put(tmp_path / "photos", "1.png", saved(Image.fromarray(noise((12, 16, 3), "uint8")), "PNG"))
    tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", pixels=tiering.Pixels())
    assert json.loads((tmp_path / "store" / "manifest.json").read_text())["format_version"] == 3
    _rewrite(tmp_path / "store", lambda pixels: pixels.update(dtype="int64"), version=3)
    with pytest.raises(StoreError, match=r"settings\.pixels\.dtype"):
        tiering.open_store(tmp_path / "store")
    _rewrite(tmp_path / "store", lambda pixels: [pixels.pop(name) for name in ("dtype", "narrowed")], version=2)
    with tiering.open_store(tmp_path / "store") as store:
        assert store[0].image.dtype == np.uint8
    put(tmp_path / "photos", "2.png", saved(Image.fromarray(noise((12, 16, 3), "uint8", 2)), "PNG"))
    tiering.append(tmp_path / "photos", tmp_path / "store")
    assert json.loads((tmp_path / "store" / "manifest.json").read_text())["format_version"] == 3
    assert tiering.verify(tmp_path / "store", source=tmp_path / "photos").problems == []


# Folders of arrays.


def test_arrays_are_samples_only_where_there_is_no_image(tmp_path):
    found = arrays(tmp_path / "arrays", (6, 5), "float32", 6)
    manifest = tiering.convert(tmp_path / "arrays", tmp_path / "s", "zarr", pixels=tiering.Pixels(dtype="float32"))
    assert manifest.samples == len(found)
    assert manifest.labels == ["a", "b"]
    assert manifest.account.left_out == {}
    put(tmp_path / "arrays", "b/photo.png")
    with pytest.raises(DatasetError, match="uint8"):
        tiering.convert(tmp_path / "arrays", tmp_path / "t", "zarr", pixels=tiering.Pixels(dtype="uint16"))
    manifest = tiering.convert(tmp_path / "arrays", tmp_path / "u", "lmdb")
    assert (manifest.samples, manifest.account.left_out["not an image"].count) == (1, 6)


def test_arrays_are_not_packed_as_files(tmp_path, program):
    arrays(tmp_path / "arrays", (6, 5), "float32", 6)
    for kind in ("lmdb", "zarr"):
        done = program("convert", tmp_path / "arrays", tmp_path / "store", "--to", kind)
        assert done.returncode == 2
        assert "arrays in .npy files" in done.stderr
        assert "--pixels" in done.stderr
        assert not (tmp_path / "store").exists()


def test_commands_that_know_only_images_name_the_one_that_takes_arrays(tmp_path, program):
    arrays(tmp_path / "arrays", (6, 5), "uint8", 6)
    for verb in ("profile", "info"):
        done = program(verb, tmp_path / "arrays")
        assert done.returncode == 3
        assert "--to zarr --pixels" in done.stderr


def test_a_table_may_list_arrays(tmp_path):
    found = arrays(tmp_path / "arrays", (6, 5, 2), "uint16", 6)
    (tmp_path / "arrays/list.csv").write_text("path,label\n" + "".join(f"{key},x\n" for key in found))
    how = {"pixels": tiering.Pixels(dtype="uint16")}
    tiering.convert(tmp_path / "arrays/list.csv", tmp_path / "store", "zarr", **how)
    check(tiering.open_store(tmp_path / "store"), found)


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_arrays_of_many_sizes_are_resized_in_their_own_numbers(tmp_path, resize):
    for number, sides in enumerate([(30, 40), (20, 20), (50, 10)]):
        put(tmp_path / "arrays", f"{number}.npy", npy(np.full((*sides, 5), 40_000 + number, np.uint16)))
    pixels = tiering.Pixels(16, 16, resize, dtype="uint16")
    tiering.convert(tmp_path / "arrays", tmp_path / "store", "zarr", pixels=pixels)
    with tiering.open_store(tmp_path / "store") as store:
        for i in range(3):
            sample = store[i]
            values = {0, 40_000 + int(sample.key[0])} if resize == "pad" else {40_000 + int(sample.key[0])}
            assert set(np.unique(sample.image).tolist()) <= values
            assert sample.image.max() == 40_000 + int(sample.key[0])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<u2', 'fortran_order'", "damaged header"),
        (npy(noise((3, 4), "uint16"))[:-1], "asks for"),
        (npy(noise((3, 4), "uint16")) + b"x", "asks for"),
        (npy(noise((3,), "uint16")), r"of shape \(3,\)"),
        (npy(noise((1, 2, 3, 4), "uint16")), r"of shape \(1, 2, 3, 4\)"),
        (npy(np.zeros((3, 4), complex)), "complex128"),
        (npy(np.zeros((3, 0))), r"of shape \(3, 0\)"),
        (npy(np.zeros((3, 4), "M8[s]")), "datetime64"),
        (npy(np.zeros((3, 4), "U2")), "<U2"),
        (npy(np.zeros((3, 4), [("a", "u1")])), "of shape"),
    ],
)
def test_an_array_that_is_none_of_pixels_is_refused(content, expected):
    with pytest.raises(DatasetError, match=expected):
        decode_npy(content, "x.npy")


def test_an_array_is_never_unpickled():
    file = npy_of_objects()
    with pytest.raises(DatasetError, match="object"):
        decode_npy(file, "x.npy")


def npy_of_objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([[print, 1], [2, 3]], dtype=object), allow_pickle=True)
    return file.getvalue()


def test_a_header_that_claims_a_huge_array_is_refused_before_memory_is_asked_for():
    huge = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (90000, 90000), }".ljust(117)
        + b"\n"
    )
    with pytest.raises(DatasetError, match="too many pixels"):
        decode_npy(huge, "x.npy")


@given(sides=SIDES, dtype=st.sampled_from(["uint8", ">u2", "<i4", ">f8", "bool", "float16"]), fortran=st.booleans())
def test_arrays_of_any_order_are_read(sides, dtype, fortran):
    pixels = noise(sides, "uint8").astype(dtype)
    pixels = np.asfortranarray(pixels) if fortran else pixels
    assert np.array_equal(decode_npy(npy(pixels), "x"), pixels)


@given(st.binary(max_size=200))
def test_any_bytes_after_the_mark_are_an_error_or_an_array(rest):
    with contextlib.suppress(TieringError):
        assert decode_npy(b"\x93NUMPY" + rest, "x").ndim == 3


@pytest.mark.parametrize(("parameter", "value"), [("channels", 0), ("channels", 65_536), ("dtype", "int8")])
def test_what_pixels_cannot_be_is_bad_usage(parameter, value):
    with pytest.raises(UsageError, match=parameter):
        tiering.Pixels(**{parameter: value})
