"""Stores of pixels from raw arrays: files of numbers without a header, whose shape the caller gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.images.deep import noise, npy
from tests.packing.test_depth import SIDES, check
from tests.sources.test_tar_samples import pack
from tests.trees import picture, put
from tiering.errors import DatasetError, UsageError
from tiering.sources.trees.remote import connect

SHAPE = tiering.Pixels(6, 5, channels=2, dtype="uint16")


def raw(root: Path, sides: tuple[int, ...], dtype: str, count: int = 8) -> dict[str, np.ndarray]:
    """Write raw arrays in two class folders, and return what is in them by key."""
    ends = ("raw", "bin", "RAW")
    found = {f"{'ab'[n % 2]}/{n}.{ends[n % 3]}": noise(sides, dtype, n) for n in range(count)}
    for key, pixels in found.items():
        put(root, key, pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
    return found


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sides=SIDES,
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    codec=st.sampled_from(["none", "zstd", "auto"]),
    count=st.integers(1, 7),
)
def test_every_number_comes_back_from_store_and_export_and_the_source_verifies(sides, dtype, codec, count):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        found = raw(root / "arrays", sides, dtype, count)
        pixels = tiering.Pixels(sides[0], sides[1], channels=sides[2], dtype=dtype)
        manifest = tiering.convert(root / "arrays", root / "store", "zarr", pixels=pixels, codec=codec)
        assert (manifest.samples, manifest.account.left_out) == (count, {})
        with tiering.open_store(root / "store") as store:
            check(store, found)
        assert tiering.verify(root / "store", source=root / "arrays").problems == []
        tiering.export(root / "store", root / "again")
        assert sum(path.is_file() for path in (root / "again").rglob("*")) == count


@pytest.mark.parametrize(
    "first", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\xff\x0a", b"\0\0\0\0\0\0\0\4", b"IIU\0"]
)
def test_numbers_that_begin_like_an_image_are_numbers(tmp_path, first):
    data = first + bytes(120 - len(first))
    put(tmp_path / "arrays", "0.raw", data)
    pack(tmp_path / "some.tar", [("0.raw", data)])
    for source in ("arrays", "some.tar"):
        tiering.convert(tmp_path / source, tmp_path / f"{source}.zarr", "zarr", pixels=SHAPE)
        with tiering.open_store(tmp_path / f"{source}.zarr") as store:
            assert store[0].image.tobytes() == data


def test_raw_arrays_in_a_bucket_are_taken_without_a_look(s3):
    system, path = connect(s3)
    found = {
        f"a/{n}.raw": np.frombuffer(b"\xff\xd8\xff" + bytes([n]) + bytes(116), "<u2").reshape(6, 5, 2) for n in range(3)
    }
    for key, pixels in found.items():
        system.pipe_file(f"{path}/{key}", pixels.tobytes())
    tiering.convert(s3, f"{s3}-store", "zarr", pixels=SHAPE, workers=1)
    with tiering.open_store(f"{s3}-store") as store:
        check(store, found)


def test_a_file_of_another_size_is_named_with_its_size_and_the_expected_one(tmp_path):
    found = raw(tmp_path / "arrays", (6, 5, 2), "uint16")
    put(tmp_path / "arrays", "a/short.raw", bytes(119))
    with pytest.raises(DatasetError, match=r"a/short\.raw.*119 bytes.*6x5.*120") as caught:
        tiering.convert(tmp_path / "arrays", tmp_path / "store", "zarr", pixels=SHAPE)
    assert caught.value.exit_code == 3
    manifest = tiering.convert(tmp_path / "arrays", tmp_path / "store", "zarr", pixels=SHAPE, on_error="skip")
    assert (manifest.samples, manifest.account.count("damaged")) == (len(found), 1)
    assert tiering.verify(tmp_path / "store", source=tmp_path / "arrays").problems == []


def test_arrays_that_are_all_of_another_size_are_all_named(tmp_path):
    raw(tmp_path / "arrays", (6, 5, 1), "uint16")
    with pytest.raises(DatasetError, match=r"60 bytes.*120"):
        tiering.convert(tmp_path / "arrays", tmp_path / "store", "zarr", pixels=SHAPE)
    assert not (tmp_path / "store").exists()


def test_append_and_sync_take_raw_arrays_of_the_shape_of_the_store(tmp_path):
    found = raw(tmp_path / "arrays", (6, 5, 2), "uint16")
    tiering.convert(tmp_path / "arrays", tmp_path / "store", "zarr", pixels=SHAPE)
    for key in ("b/new.raw", "a/0.raw"):
        found[key] = noise((6, 5, 2), "uint16", 77)
        put(tmp_path / "arrays", key, found[key].tobytes())
    done = tiering.sync(tmp_path / "arrays", tmp_path / "store")
    assert (done.new, done.changed, done.vanished) == (1, 1, 0)
    found["a/last.npy"] = noise((6, 5, 2), "uint16", 78)
    put(tmp_path / "arrays", "a/last.npy", npy(found["a/last.npy"]))
    tiering.append(tmp_path / "arrays", tmp_path / "store")
    with tiering.open_store(tmp_path / "store") as store:
        check(store, found)
    put(tmp_path / "arrays", "a/long.bin", bytes(121))
    with pytest.raises(DatasetError, match=r"a/long\.bin.*121 bytes.*120"):
        tiering.append(tmp_path / "arrays", tmp_path / "store")


def test_a_damaged_shard_of_raw_arrays_is_repaired(tmp_path):
    found = raw(tmp_path / "arrays", (6, 5, 2), "uint16")
    manifest = tiering.convert(tmp_path / "arrays", tmp_path / "store", "zarr", pixels=SHAPE)
    path = tmp_path / "store" / manifest.shards[0].name
    path.write_bytes(bytes(len(path.read_bytes())))
    tiering.repair(tmp_path / "store", source=tmp_path / "arrays")
    with tiering.open_store(tmp_path / "store") as store:
        check(store, found)


def test_raw_arrays_in_tars_are_samples_with_labels_and_fields(tmp_path):
    found = {f"{n}.raw": noise((6, 5, 2), "uint16", n) for n in range(6)}
    members = [
        member
        for key, pixels in found.items()
        for member in ((key, pixels.tobytes()), (key.replace("raw", "cls"), b"cat"), (key.replace("raw", "txt"), b"a"))
    ]
    pack(tmp_path / "all.tar", members)
    manifest = tiering.convert(tmp_path / "all.tar", tmp_path / "store", "zarr", pixels=SHAPE)
    assert (manifest.labels, [field.name for field in manifest.fields]) == (["cat"], ["txt"])
    with tiering.open_store(tmp_path / "store") as store:
        check(store, found)
    assert tiering.verify(tmp_path / "store", source=tmp_path / "all.tar").problems == []


def test_raw_files_among_images_are_left_out(tmp_path):
    raw(tmp_path / "mixed", (6, 5, 3), "uint8")
    put(tmp_path / "mixed", "z/photo.png", picture(5, 6))
    manifest = tiering.convert(
        tmp_path / "mixed", tmp_path / "store", "zarr", pixels=tiering.Pixels(6, 5, channels=3, dtype="uint8")
    )
    assert manifest.account.count("not an image") == 8


@pytest.mark.parametrize(
    "flags", [["--pixels"], ["--resize", "6x5"], ["--resize", "6x5", "--dtype", "uint16"], ["--channels", "2"]]
)
def test_without_a_whole_shape_the_flags_that_give_it_are_named(tmp_path, program, flags):
    raw(tmp_path / "arrays", (6, 5, 2), "uint16")
    done = program("convert", tmp_path / "arrays", tmp_path / "store", "--to", "zarr", *flags)
    assert done.returncode == 3
    assert "--resize HxW --channels N --dtype TYPE" in done.stderr
    assert not (tmp_path / "store").exists()


def test_profile_names_the_command_that_takes_raw_arrays_and_it_takes_them(tmp_path, program):
    found = raw(tmp_path / "arrays", (6, 5, 2), "uint16")
    done = program("profile", tmp_path / "arrays")
    assert done.returncode == 3
    assert "--resize HxW --channels N --dtype TYPE" in done.stderr
    flags = ("--resize", "6x5", "--channels", "2", "--dtype", "uint16")
    done = program("convert", tmp_path / "arrays", tmp_path / "store", "--to", "zarr", *flags)
    assert done.returncode == 0, done.stderr
    with tiering.open_store(tmp_path / "store") as store:
        check(store, found)
    done = program("verify", tmp_path / "store", "--source", tmp_path / "arrays")
    assert done.returncode == 0, done.stderr


def test_a_raw_image_of_a_camera_is_named_as_one(tmp_path):
    raw(tmp_path / "arrays", (6, 5, 2), "uint16")
    put(tmp_path / "arrays", "a/P1000001.RAW", b"IIU\0" + bytes(500))
    with pytest.raises(DatasetError, match=r"P1000001\.RAW.*a camera's raw image"):
        tiering.convert(tmp_path / "arrays", tmp_path / "store", "zarr", pixels=SHAPE)


def test_a_tar_of_npy_arrays_is_packed_with_labels_and_fields(tmp_path):
    found = {f"{n}.npy": noise((6, 5), "uint8", n) for n in range(6)}
    members = [
        member
        for key, pixels in found.items()
        for member in (
            (key, npy(pixels)), (key.replace("npy", "cls"), b"3"), (key.replace("npy", "depth.npy"), npy(pixels[:2])),
            (key.replace("npy", "json"), b'{"age": 30}'),
        )
    ]  # fmt: skip
    pack(tmp_path / "tars/train-0.tar", members[:12])
    pack(tmp_path / "tars/train-1.tar", members[12:])
    keyed = {f"train-{n // 3}/{n}.npy": found[f"{n}.npy"] for n in range(6)}
    manifest = tiering.convert(tmp_path / "tars", tmp_path / "store", "zarr", pixels=tiering.Pixels())
    assert (manifest.labels, manifest.splits) == (["3"], ["train"])
    assert {field.name: field.kind for field in manifest.fields} == {"depth": "array", "json": "json"}
    with tiering.open_store(tmp_path / "store") as store:
        check(store, keyed)
        assert store[0].fields["json"] == {"age": 30}
    assert tiering.verify(tmp_path / "store", source=tmp_path / "tars").problems == []
    with pytest.raises(UsageError, match=r"arrays in \.npy files"):
        tiering.convert(tmp_path / "tars", tmp_path / "files", "lmdb")


def test_arrays_in_a_tar_with_images_stay_fields_or_are_left_out(tmp_path):
    pack(
        tmp_path / "some.tar",
        [("0.npy", npy(noise((6, 5), "uint8"))), ("1.jpg", picture()), ("1.npy", npy(noise((2, 2), "uint8")))],
    )
    manifest = tiering.convert(tmp_path / "some.tar", tmp_path / "store", "zarr", pixels=tiering.Pixels())
    assert (manifest.samples, [field.name for field in manifest.fields]) == (1, ["npy"])
    assert manifest.account.count("not an image") == 1


def test_profile_of_a_tar_of_arrays_names_the_command_that_takes_them(tmp_path, program):
    pack(tmp_path / "some.tar", [("0.npy", npy(noise((6, 5), "uint8")))])
    done = program("profile", tmp_path / "some.tar")
    assert done.returncode == 3
    assert "--to zarr --pixels" in done.stderr
