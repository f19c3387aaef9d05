"""Whatever lies in a source is packed, or left out, counted and named: the same in every verb."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pillow_heif
import pytest

import tiering
from tests.s3 import FaultyProxy, s3_environment
from tests.sources.trees.test_remote import upload
from tests.trees import picture, put
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError, MachineError
from tiering.sources.account import Account, Ledger
from tiering.sources.source import open_source
from tiering.sources.trees.remote import connect

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"

#: A file of each kind that can be left out, and some that are packed under names of no image.
ODD = {
    "cat/1.jpg": None,
    "cat/2.jpg_large": None,
    "cat/3.jpg.1": None,
    "cat/download": None,
    "cat/4.avif": picture(40, 30, "AVIF"),
    "cat/5.tga": picture(40, 30, "TGA"),
    "cat/cut.jpg": picture(64, 64)[:-40],
    "cat/empty.jpg": b"",
    "cat/pointer.jpg": LFS,
    "cat/annex.jpg": b"/annex/objects/SHA256E-s3--aa.jpg\n",
    "cat/raw.nef": b"MM\0*\0\0\0\x08 a camera's",
    "cat/drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "cat/.hidden.jpg": None,
    "cat/.git/config": b"[core]",
    "cat/@eaDir/1.jpg": None,
    "dog/images.dvc": b"outs:\n- md5: aa.dir\n  path: images\n",
    "dog/there.dvc": b"outs:\n- md5: aa\n  path: 1.png\n",
    "dog/1.png": picture(40, 30, "PNG"),
    "array/zarr.json": b'{"zarr_format": 3}',
    "array/c/0": None,
    "README.md": b"words",
    "LICENSE": b"",
}
PACKED = {"cat/1.jpg", "cat/2.jpg_large", "cat/3.jpg.1", "cat/download", "cat/4.avif", "cat/5.tga", "dog/1.png"}
KINDS = {
    "damaged": 2,
    "content not fetched": 3,
    "image of a format that is not packed": 2,
    "hidden": 2,
    "left by a tool": 1,
    "broken link": 2,
    "special file": 2,
    "link in a circle": 1,
    "Zarr store": 1,
    "not an image": 3,
}


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    root = tmp_path / "odd"
    for key, data in ODD.items():
        put(root, key, data)
    (root / "dog" / "unfetched.jpg").symlink_to("../.git/annex/objects/9.jpg")
    (root / "dog" / "itself.jpg").symlink_to("itself.jpg")
    (root / "dog" / "up").symlink_to("..")
    os.mkfifo(root / "dog" / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(root / "dog" / "socket"))
    return root


def counts(account: Account | None) -> dict[str, int]:
    assert account is not None
    return {name: kind.count for name, kind in account.left_out.items()}


@pytest.mark.parametrize("kind", ["lmdb", "zarr"])
def test_convert_verify_append_and_profile_carry_the_same_account_of_a_tree_of_odd_files(odd, tmp_path, kind):
    store = tmp_path / "store"
    with pytest.raises(DatasetError) as raised:
        tiering.convert(odd, store, kind, workers=1)
    for name in (
        "cat/cut.jpg: a truncated JPEG",
        "dog/unfetched.jpg: broken link",
        "cat/pointer.jpg: a git-lfs pointer",
    ):
        assert name in str(raised.value)
    assert "9 files that cannot" in str(raised.value)
    listed = (tmp_path / "store.partial" / "left-out.tsv").read_text().splitlines()
    assert listed[0] == "key\tkind\tbytes\treason"
    manifest = tiering.convert(odd, store, kind, workers=1, on_error="skip")
    assert counts(manifest.account) == KINDS
    assert manifest.account.packed == manifest.samples == len(PACKED)
    assert manifest.account.met == len(PACKED) + sum(KINDS.values()) == len(listed) - 1 + len(PACKED)
    assert manifest.left_out == 9
    assert sorted((store / "left-out.tsv").read_text().splitlines()) == sorted(listed)
    packed = {os.fsdecode(key) for key in tiering.open_store(store).index.keys(np.arange(len(PACKED)))}
    assert packed == PACKED
    found = tiering.verify(store, source=odd)
    assert found.ok, found.problems
    assert found.account.model_copy(update={"left_out": {}}) == manifest.account.model_copy(update={"left_out": {}})
    assert counts(found.account) == KINDS
    assert counts(profile_dataset(odd, sample="all").account) == KINDS
    assert counts(tiering.append(odd, store, on_error="skip").account) == KINDS


def test_a_profile_of_all_has_the_account_that_convert_writes(odd, tmp_path):
    """Rare formats are decoded for it, and masks are fields."""
    for name, data in {
        **{
            f"cut{kind}.{kind.lower()}": picture(64, 64, kind)[:700]
            for kind in ("BMP", "GIF", "TIFF", "WEBP", "TGA", "PPM")
        },
        "7.jpg": picture(),
        "7.mask.png": picture(20, 20, "PNG"),
        "7.txt": b"words",
        "lfs.tga": LFS,
        "lfs.exr": LFS,
    }.items():
        put(odd, f"more/{name}", data)
    manifest = tiering.convert(odd, tmp_path / "store", "lmdb", workers=1, on_error="skip")
    found = profile_dataset(odd, sample="all")
    assert counts(found.account)["damaged"] >= 6
    assert counts(found.account)["content not fetched"] == 5
    names = {"met", "met_bytes", "packed", "packed_bytes", "field_files", "field_bytes"}
    assert found.account.model_dump(include=names) == manifest.account.model_dump(include=names)
    sizes = [{kind: (left.count, left.bytes) for kind, left in account.left_out.items()}
             for account in (found.account, manifest.account)]  # fmt: skip
    assert sizes[0] == sizes[1]


def test_an_account_that_rests_on_a_sample_of_headers_says_about_with_intervals(program, tmp_path):
    for number in range(40):
        put(tmp_path, f"{number}.jpg", picture() if number % 2 else b"cut")
    said = program("profile", tmp_path, "--probes", "10").stdout
    assert "about 40 files met" in said
    assert re.search(r"damaged: \d+ \(\d+ to \d+\)", said)
    assert (
        "  account      40 files met: 20 to pack, 20 left out" in program("profile", tmp_path, "--sample", "all").stdout
    )


def test_a_sampled_profile_counts_images_by_content_with_an_interval(tmp_path):
    for folder in range(80):
        for number in range(20):
            put(tmp_path, f"c{folder:02}/{number}.jpg")
        for number in range(2 + folder % 3):
            put(tmp_path, f"c{folder:02}/photo{number}")
    true = sum(2 + folder % 3 for folder in range(80))
    profile = profile_dataset(tmp_path, sample=100)
    estimate = profile.estimates["images by content"]
    assert estimate.low <= true <= estimate.high
    assert not estimate.exact
    assert any(note.startswith("About ") and f"({round(estimate.low)} to " in note for note in profile.notes)
    assert profile.account.packed > profile.files


def test_a_sampled_profile_estimates_the_account_with_intervals(tmp_path):
    for folder in range(60):
        for number in range(20):
            put(tmp_path, f"c{folder}/{number}.jpg", b"1")
        for number in range(10):
            put(tmp_path, f"c{folder}/{number}.xml", b"12345")
        put(tmp_path, f"c{folder}/notes.txt", b"12")
    profile = profile_dataset(tmp_path, sample=100)
    account = profile.account
    assert account.met == account.packed + account.field_files + sum(counts(account).values())
    for name, true in (("field files", 600), ("left out not an image", 60)):
        estimate = profile.estimates[name]
        assert round(estimate.low) <= true <= round(estimate.high)
    counted = profile_dataset(tmp_path, sample="all").account
    assert (counted.met, counted.field_files, counted.field_bytes) == (60 * 31, 600, 3000)


def test_a_directory_that_may_not_be_read_is_an_error_and_named(program, without_privilege, tmp_path):
    root = tmp_path / "photos"
    for folder in ("cat", "dog", "eel"):
        put(root, f"{folder}/1.jpg")
    (root / "dog").chmod(0)
    command = ("convert", root, tmp_path / "store", "--to", "lmdb")
    done = program(*command, prefix=without_privilege)
    assert done.returncode == 3
    assert "dog/: unreadable directory" in done.stderr
    skipped = program(*command, "--on-error", "skip", prefix=without_privilege)
    assert skipped.returncode == 0, skipped.stderr
    assert "unreadable directory: 1 (dog/" in skipped.stdout
    found = program("verify", tmp_path / "store", "--source", root, prefix=without_privilege)
    assert "every sample equal to its file" in found.stdout
    assert "every byte equal" not in found.stdout
    assert "unreadable directory: 1 (dog/" in found.stdout
    assert "unreadable directory: 1 (dog/" in program("info", tmp_path / "store").stdout
    (root / "dog").chmod(0o755)
    assert (
        "dog/1.jpg: in the source but not in the store"
        in program("verify", tmp_path / "store", "--source", root).stdout
    )


def test_verify_names_what_a_store_does_not_account_for(tmp_path):
    root = tmp_path / "photos"
    put(root, "cat/1.jpg")
    tiering.convert(root, tmp_path / "store", "lmdb")
    (root / "cat" / "2.jpg").symlink_to("nowhere.jpg")
    put(root, "cat/3.gif", picture(4, 4, "GIF"))
    found = tiering.verify(tmp_path / "store", source=root)
    assert not found.ok
    assert sorted(found.problems) == [
        "cat/2.jpg: broken link, no such file or directory: the store does not account for it",
        "cat/3.gif: in the source but not in the store",
    ]
    assert counts(found.account) == {"broken link": 1, "not in the store": 1}


def test_an_append_of_nothing_but_broken_links_fails_and_names_them(tmp_path):
    root = tmp_path / "photos"
    put(root, "cat/1.jpg")
    tiering.convert(root, tmp_path / "store", "lmdb")
    (root / "cat" / "2.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(DatasetError, match=r"cat/2\.jpg: broken link"):
        tiering.append(root, tmp_path / "store")
    assert "cat/2.jpg\tbroken link" in (tmp_path / "store" / ".tiering" / "left-out.tsv").read_text()
    manifest = tiering.append(root, tmp_path / "store", on_error="skip")
    assert (manifest.samples, manifest.generation, counts(manifest.account)) == (1, 2, {"broken link": 1})
    assert tiering.append(root, tmp_path / "store", on_error="skip") == manifest
    assert tiering.verify(tmp_path / "store", source=root).ok
    files = ["index", "index-2", "left-out-2.tsv", "manifest.json", "manifests", "shard-00000.mdb"]
    assert sorted(os.listdir(tmp_path / "store")) == files


def test_an_append_from_elsewhere_adds_to_the_account_and_mended_images_leave_it(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    put(first, "cat/1.jpg")
    put(first, "cat/2.jpg", b"junk")
    put(first, "notes.txt", b"words")
    tiering.convert(first, tmp_path / "store", "lmdb", on_error="skip")
    put(second, "cat/2.jpg")
    put(second, "cat/3.jpg", b"")
    put(second, "more.txt", b"more")
    manifest = tiering.append(second, tmp_path / "store", on_error="skip")
    assert counts(manifest.account) == {"damaged": 1, "not an image": 2}
    lines = (tmp_path / "store" / "left-out-2.tsv").read_text().splitlines()
    assert not (tmp_path / "store" / "left-out.tsv").exists()
    assert sorted(line.split("\t")[0] for line in lines[1:]) == ["cat/3.jpg", "more.txt", "notes.txt"]
    assert manifest.account.packed_bytes == sum((root / key).stat().st_size for root, key in (
        (first, "cat/1.jpg"), (second, "cat/2.jpg")))  # fmt: skip
    assert tiering.verify(tmp_path / "store").ok


def test_a_packed_image_that_is_a_broken_link_now_is_not_left_out(tmp_path):
    root = tmp_path / "photos"
    put(root, "c/1.png")
    put(root, "c/2.png")
    tiering.convert(root, tmp_path / "store", "lmdb", workers=1)
    (root / "c" / "2.png").unlink()
    (root / "c" / "2.png").symlink_to("nowhere.png")
    (root / "c" / "4.png").symlink_to("nowhere.png")
    put(root, "c/3.png")
    account = tiering.append(root, tmp_path / "store", on_error="skip", workers=1).account
    assert (account.met, account.packed, counts(account)) == (4, 3, {"broken link": 1})
    listed = (tmp_path / "store" / "left-out-2.tsv").read_text().splitlines()[1:]
    assert [each.split("\t")[0] for each in listed] == ["c/4.png"]


def test_a_second_append_from_elsewhere_leaves_the_first_source_in_the_account(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    put(first, "cat/1.jpg")
    put(first, "cat/bad.jpg", b"junk")
    tiering.convert(first, tmp_path / "store", "lmdb", on_error="skip", workers=1)
    put(second, "dog/1.jpg")
    put(second, "dog/notes.txt", b"words")
    for number in (2, 3):
        put(second, f"dog/{number}.jpg")
        manifest = tiering.append(second, tmp_path / "store", workers=1)
        assert counts(manifest.account) == {"damaged": 1, "not an image": 1}
        assert manifest.account.met == manifest.samples + 2
    put(first, "cat/bad.jpg")
    manifest = tiering.append(first, tmp_path / "store", workers=1)
    assert counts(manifest.account) == {"not an image": 1}


def test_an_append_that_fails_before_its_manifest_is_completed_by_the_next(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    put(first, "cat/1.jpg")
    put(first, "cat/bad.jpg", b"junk")
    tiering.convert(first, tmp_path / "store", "lmdb", on_error="skip", workers=1)
    put(second, "dog/1.jpg")
    put(second, "dog/bad.jpg", b"junk")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tiering.packing.finish.index_writer", full)
        with pytest.raises(MachineError, match="no space left"):
            tiering.append(second, tmp_path / "store", on_error="skip", workers=1)
    assert tiering.verify(tmp_path / "store").ok
    manifest = tiering.append(second, tmp_path / "store", on_error="skip", workers=1)
    assert (manifest.samples, counts(manifest.account)) == (2, {"damaged": 2})
    assert tiering.verify(tmp_path / "store").ok
    assert [name for name in os.listdir(tmp_path / "store") if "left-out" in name] == ["left-out-2.tsv"]


def webdataset(path: Path, *, sidecars: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    members = [("jpg", picture()), ("cls", b"1")]
    if sidecars:
        members += [("mask.png", picture(8, 8, "PNG")), ("txt", b"a cat"), ("json", b"{}")]
    source = path.with_suffix("")
    for number in range(3):
        for extension, data in members:
            put(source, f"{number:03d}.{extension}", data)
    with tarfile.open(path, "w") as tar:
        for name in sorted(os.listdir(source)):
            tar.add(source / name, name)
    return path


@pytest.mark.parametrize("packed", [True, False], ids=["tar", "folder"])
def test_masks_and_captions_are_fields_and_images_only_leaves_them_out(tmp_path, packed):
    source = webdataset(tmp_path / "shard.tar")
    source = source if packed else source.with_suffix("")
    account = tiering.convert(source, tmp_path / "store", "lmdb").account
    assert (account.packed, account.field_files) == ((3, 9) if packed else (3, 12))
    assert counts(account) == ({"label file": 3} if packed else {})
    assert account.met == 15
    assert account == profile_dataset(source).account
    manifest = tiering.convert(source, tmp_path / "images", "lmdb", images_only=True)
    assert manifest.samples == 3
    assert counts(manifest.account) == ({"label file": 3, "sidecar": 9} if packed else {"sidecar": 12})
    found = tiering.verify(tmp_path / "images", source=source)
    assert found.ok, found.problems
    assert tiering.append(source, tmp_path / "images").samples == 3, "a store stays what it was made as"


def test_one_of_several_images_of_one_name_is_the_sample_and_numbers_belong_to_names(tmp_path):
    for name in ("a/1.jpg", "a/1.png"):
        put(tmp_path / "pairs", name)
    account = tiering.convert(tmp_path / "pairs", tmp_path / "store", "lmdb").account
    assert (account.packed, account.field_files) == (1, 1)
    assert tiering.convert(tmp_path / "pairs", tmp_path / "images", "lmdb", images_only=True).samples == 2
    for name in ("22.jpg", "22.05.jpg", "22.06.jpg", "photo.jpg", "photo.jpg.1", "photo.jpg.png"):
        put(tmp_path / "numbers", name)
    assert tiering.convert(tmp_path / "numbers", tmp_path / "other", "lmdb").samples == 6


def linked(path: Path) -> Path:
    """A tar with hard and symbolic links, before and after what they name, and two that name nothing."""
    with tarfile.open(path, "w") as tar:

        def add(name: str, kind: bytes, target: str) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)

        add("b/early.jpg", tarfile.SYMTYPE, "../a/1.jpg")
        put(path.parent, "1.jpg")
        tar.add(path.parent / "1.jpg", "a/1.jpg")
        add("a/2.jpg", tarfile.LNKTYPE, "a/1.jpg")
        add("a/3.jpg", tarfile.SYMTYPE, "2.jpg")
        add("b/gone.jpg", tarfile.SYMTYPE, "nowhere.jpg")
        add("b/out.jpg", tarfile.SYMTYPE, "../../etc/passwd")
        add("b/round.jpg", tarfile.SYMTYPE, "round.jpg")
    return path


def test_links_in_a_tar_are_the_members_that_they_name_and_others_are_errors(tmp_path):
    path = linked(tmp_path / "x.tar")
    with pytest.raises(DatasetError) as raised:
        tiering.convert(path, tmp_path / "store", "lmdb")
    assert "3 files that cannot" in str(raised.value)
    assert "b/gone.jpg: link in a tar, it names b/nowhere.jpg, but no file has that name" in str(raised.value)
    assert "b/out.jpg: link in a tar, it leads out of the tar" in str(raised.value)
    manifest = tiering.convert(path, tmp_path / "store", "lmdb", on_error="skip")
    assert (manifest.samples, manifest.labels, counts(manifest.account)) == (4, ["a", "b"], {"link in a tar": 3})
    image = (tmp_path / "1.jpg").read_bytes()
    assert {bytes(sample) for sample in tiering.open_store(tmp_path / "store").read(np.arange(4))} == {image}
    assert tiering.verify(tmp_path / "store", source=path).ok


def test_a_member_is_an_image_by_its_content_and_a_label_without_one_is_named(tmp_path):
    source = tmp_path / "x"
    for name, data in {"0.jpg": None, "0.cls": b"1", "1.avif": picture(8, 8, "AVIF"), "1.cls": b"2", "2.img": None,
                       "2.cls": b"3", "3.npy": b"\x93NUMPY", "3.cls": b"4", "README": b"words"}.items():  # fmt: skip
        put(source, name, data)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in sorted(os.listdir(source)):
            tar.add(source / name, name)
    with pytest.raises(DatasetError, match=r"3\.cls: label without an image"):
        tiering.convert(tmp_path / "x.tar", tmp_path / "store", "lmdb")
    manifest = tiering.convert(tmp_path / "x.tar", tmp_path / "store", "lmdb", on_error="skip")
    assert (manifest.samples, manifest.labels) == (3, ["1", "2", "3"])
    assert counts(manifest.account) == {"label without an image": 1, "label file": 3, "not an image": 2}
    assert counts(profile_dataset(tmp_path / "x.tar").account) == counts(manifest.account)


def test_what_lies_beside_tar_files_is_accounted_for(tmp_path):
    root = tmp_path / "shards"
    webdataset(root / "train-0.tar", sidecars=False)
    shutil.rmtree(root / "train-0")
    put(root, "README.md", b"words")
    put(root, "meta/index.json", b"{}")
    manifest = tiering.convert(root, tmp_path / "store", "lmdb")
    assert counts(manifest.account) == {"label file": 3, "not an image": 2}


def test_a_decoder_that_is_an_extra_is_named(tmp_path, monkeypatch):
    pillow_heif.register_heif_opener()
    heic = picture(40, 30, "HEIF")
    put(tmp_path / "photos", "cat/1.jpg")
    put(tmp_path / "photos", "dog/1.heic", heic)
    manifest = tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    assert manifest.samples == 2
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("tiering.images.decoders._registered", set())
    with pytest.raises(DatasetError, match=r"dog/1\.heic: a HEIC image, .*pip install 'tiering\[heif\]'"):
        tiering.convert(tmp_path / "photos", tmp_path / "other", "lmdb", workers=1)


def test_the_command_line_tells_and_writes_the_account(program, tmp_path):
    root = tmp_path / "photos"
    put(root, "cat/1.jpg")
    put(root, "cat/1.txt", b"a cat")
    put(root, ".DS_Store", b"12")
    done = program("convert", root, tmp_path / "images", "--to", "lmdb", "--images-only")
    assert "3 files met: 1 packed, 2 left out" in done.stdout
    assert "  sidecar: 1, 5 B (cat/1.txt)" in done.stdout
    done = program("convert", root, tmp_path / "store", "--to", "lmdb")
    assert "3 files met: 1 packed, 1 as their fields, 1 left out" in done.stdout
    assert "left-out.tsv" in done.stderr
    document = json.loads(program("info", tmp_path / "store", "--json").stdout)
    assert document["account"]["met"] == 3
    verified = json.loads(program("verify", tmp_path / "store", "--source", root, "--json").stdout)
    assert verified["account"] == document["account"]
    profiled = json.loads(program("profile", root, "--json").stdout)["dataset"]["account"]
    assert profiled == document["account"]


def test_a_tree_in_a_bucket_has_the_same_account(s3, tmp_path):
    for key, data in ODD.items():
        put(tmp_path / "odd", key, data)
    upload(tmp_path / "odd", s3)
    manifest = tiering.convert(s3, tmp_path / "store", "lmdb", workers=1, on_error="skip")
    here = tiering.convert(tmp_path / "odd", tmp_path / "here", "lmdb", workers=1, on_error="skip")
    # A pointer of DVC is compared with what lies beside it on a disk only.
    local = counts(here.account) | {"content not fetched": 2, "not an image": 4}
    assert counts(manifest.account) == local == counts(profile_dataset(s3, sample="all").account)
    assert (manifest.account.met, manifest.account.met_bytes) == (here.account.met, here.account.met_bytes)


def test_only_files_whose_name_leaves_it_open_are_read_in_a_bucket(s3, s3_endpoint, tmp_path):
    for number in range(40):
        put(tmp_path, f"photos/c/{number:02}.jpg")
        put(tmp_path, f"photos/c/{number:02}.json", b"{}")
    for name in ("a", "b.1", "c.jpg_large"):
        put(tmp_path, f"photos/c/{name}")
    upload(tmp_path / "photos", s3)
    with FaultyProxy(s3_endpoint, share=0, seed=1) as proxy, s3_environment(proxy.endpoint):
        ledger = Ledger()
        assert sum(map(len, open_source(s3).batches(ledger))) == 43
        assert proxy.requests < 20
    assert ledger.left_out.field_files == 40


def test_a_sample_of_a_bucket_looks_into_some_files_whose_name_says_nothing(s3, tmp_path):
    for number in range(20):
        put(tmp_path, f"photos/c/{number}.jpg")
        put(tmp_path, f"photos/c/photo{number}")
    put(tmp_path, "photos/c/pointer", LFS)
    upload(tmp_path / "photos", s3)
    here, there = (profile_dataset(place, sample=100) for place in (tmp_path / "photos", s3))
    assert here.account == there.account
    assert (there.account.packed, counts(there.account)) == (40, {"content not fetched": 1})


def test_a_key_of_a_bucket_to_which_no_path_leads_is_named(s3, tmp_path):
    system, path = connect(s3)
    for key in ("cats//1.jpg", "cats/2.jpg"):
        system.pipe(f"{path}/{key}", picture())
    system.pipe(f"{path}/cats/", b"")  # how some tools make a directory
    with pytest.raises(DatasetError, match="cats//: name that is no path"):
        tiering.convert(s3, tmp_path / "store", "lmdb", workers=1)
    account = profile_dataset(s3, sample="all").account
    assert (account.packed, counts(account)) == (1, {"name that is no path": 1})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lmdb", "zarr"])
def test_what_is_counted_apart_is_what_every_verb_accounts_for(tmp_path, without_privilege, kind):
    command = [sys.executable, "-m", "benchmarks.torture", tmp_path / "tree", "--work", tmp_path, "--to", kind]
    done = subprocess.run([*without_privilege, *command, "--make"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unreadable directory: 1" in done.stdout
