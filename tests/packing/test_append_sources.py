"""Append from elsewhere: each source is read as it was told, and verify takes either; what cannot be added is said."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import tiering
from tests.packing.test_account import counts
from tests.trees import picture, put
from tiering.cli.app import app
from tiering.errors import DatasetError, UsageError


@pytest.fixture
def tables(tmp_path):
    """Two tables that do not say how to read them, each in its own words, and images in two more places."""
    for name in ("a/1.jpg", "a/2.jpg"):
        put(tmp_path / "first", name)
    for name in ("b/3.jpg", "b/4.jpg"):
        put(tmp_path / "second", name)
    put(tmp_path, "one/list.csv", b"Id;Bild;Art\n1;a/1.jpg;cat\n2;a/2.jpg;dog\n")
    put(tmp_path, "two/list.csv", b"Photo,Kind\nb/3.jpg,dog\nb/4.jpg,cow\n")
    tiering.convert(
        tiering.TableSource(tmp_path / "one/list.csv", columns="path=Bild,label=Art", root=tmp_path / "first"), tmp_path / "store", "lmdb", workers=1,
    )  # fmt: skip
    return tmp_path


def grow(place):
    return tiering.append(
        tiering.TableSource(place / "two/list.csv", columns="path=Photo,label=Kind", root=place / "second"),
        place / "store",
        workers=1,
    )


def test_a_table_with_columns_of_its_own_is_appended_and_verify_takes_either_table(tables):
    manifest = grow(tables)
    assert (manifest.samples, manifest.labels) == (4, ["cat", "dog", "cow"])
    for name in ("one", "two"):
        found = tiering.verify(tables / "store", source=tables / name / "list.csv")
        assert found.ok, found.problems
        assert found.elsewhere == 2
    assert tiering.append(tables / "one/list.csv", tables / "store", workers=1).samples == 4
    put(tables / "first", "a/5.jpg")
    with (tables / "one/list.csv").open("ab") as file:
        file.write(b"5;a/5.jpg;cat\n")
    assert tiering.append(tables / "one/list.csv", tables / "store", workers=1).samples == 5
    for name, lacking in (("one", 2), ("two", 3)):
        found = tiering.verify(tables / "store", source=tables / name / "list.csv")
        assert (found.ok, found.elsewhere) == (True, lacking), found.problems


def test_damage_is_found_beside_either_source_and_a_source_of_nothing_is_none(tables):
    grow(tables)
    put(tables / "first", "a/1.jpg", picture(99, 99))
    found = tiering.verify(tables / "store", source=tables / "one/list.csv")
    assert [problem.partition(" (")[2] for problem in found.problems] == ["a/1.jpg): differs from the source"]
    assert tiering.verify(tables / "store", source=tables / "two/list.csv").ok
    put(tables, "third/9.jpg")
    problems = tiering.verify(tables / "store", source=tables / "third").problems
    assert "none of the store's 4 samples is in it" in problems[0]


def test_a_table_the_store_does_not_know_is_read_as_one_of_its_own_or_as_it_says_itself(tables):
    put(tables / "first", "a/5.jpg")
    put(tables, "more.csv", b"Bild;Art\na/5.jpg;cow\n")
    manifest = tiering.append(tables / "more.csv", tables / "store", workers=1)
    assert (manifest.samples, manifest.labels) == (3, ["cat", "dog", "cow"])
    put(tables / "first", "a/6.jpg")
    put(tables, "other.csv", b"label,path\ncat,a/6.jpg\n")
    assert tiering.append(tables / "other.csv", tables / "store", workers=1).samples == 4
    put(tables, "odd.csv", b"This,That\ncat,a/6.jpg\n")
    with pytest.raises((DatasetError, UsageError), match="columns"):
        tiering.append(tables / "odd.csv", tables / "store", workers=1)
    with pytest.raises(UsageError, match="a table as the dataset"):
        tiering.append(tiering.TableSource(tables / "first", columns="path=0"), tables / "store")


def test_sync_takes_a_table_as_it_is_told_and_forgets_the_others(tables):
    grow(tables)
    put(tables, "new.csv", b"File;Class;Animal\na/1.jpg;x;cat\nb/9.jpg;y;cow\n")
    put(tables / "first", "b/9.jpg")
    done = CliRunner().invoke(
        app,
        ["append", "--sync", str(tables / "new.csv"), str(tables / "store"), "--columns", "path=File,label=Animal",
         "--root", str(tables / "first"), "--check", "decode", "--workers", "1"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "1 new, 0 changed, 3 vanished, 0 relabelled; 2 samples in all" in done.output
    found = tiering.verify(tables / "store", source=tables / "new.csv")
    assert found.ok, found.problems
    assert found.elsewhere == 0


def test_the_command_line_says_what_verify_did_not_compare(tables):
    grow(tables)
    done = CliRunner().invoke(app, ["verify", str(tables / "store"), "--source", str(tables / "one/list.csv")])
    assert done.exit_code == 0, done.output
    said = done.output.replace("\n", "")
    assert "every byte equal" not in said
    assert f"2 equal to their files in {tables}/one/list.csv, 2 from other sources and not compared" in said


def test_append_decodes_what_it_packs_where_asked(tmp_path):
    put(tmp_path / "photos", "1.jpg")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    whole = picture(64, 64, "PNG")
    put(tmp_path / "photos", "2.png", whole[:60] + bytes(20) + whole[80:])
    words = [str(tmp_path / "photos"), str(tmp_path / "store"), "--workers", "1"]
    done = CliRunner().invoke(app, ["append", *words, "--check", "decode", "--on-error", "skip", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["samples"], said["account"]["left_out"]["damaged"]["count"]) == (1, 1)
    assert tiering.append(tmp_path / "photos", tmp_path / "store", workers=1).samples == 2


def test_masks_that_a_store_holds_are_not_left_out_by_an_append_but_taken_out_by_sync(tmp_path):
    put(tmp_path / "photos", "000.mask.png", picture(8, 8, "PNG"))
    put(tmp_path / "photos", "001.jpg")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    put(tmp_path / "photos", "000.jpg")
    with pytest.raises(
        DatasetError, match=r"1 that it holds as samples \(000\.mask\.png\).*append --sync --images-only"
    ):
        tiering.append(tmp_path / "photos", tmp_path / "store", images_only=True, workers=1)
    assert tiering.verify(tmp_path / "store").ok
    assert tiering.sync(tmp_path / "photos", tmp_path / "store", images_only=True, workers=1).vanished == 1
    found = tiering.verify(tmp_path / "store", source=tmp_path / "photos")
    assert found.ok, found.problems
    assert counts(found.account) == {"sidecar": 1}


def test_masks_that_a_store_holds_as_samples_become_fields_by_sync_and_not_by_append(tmp_path):
    put(tmp_path / "photos", "000.mask.png", picture(8, 8, "PNG"))
    put(tmp_path / "photos", "001.jpg")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    put(tmp_path / "photos", "000.jpg")
    with pytest.raises(DatasetError, match=r"1 that it holds as samples \(000\.mask\.png\).*append --sync /"):
        tiering.append(tmp_path / "photos", tmp_path / "store", workers=1)
    synced = tiering.sync(tmp_path / "photos", tmp_path / "store", workers=1)
    assert (synced.vanished, synced.new) == (1, 1)
    found = tiering.verify(tmp_path / "store", source=tmp_path / "photos")
    assert found.ok, found.problems
    assert sorted(tiering.open_store(tmp_path / "store").fields) == ["label", "mask"]


def test_a_row_that_names_a_directory_is_a_missing_file_to_every_verb(tmp_path):
    put(tmp_path, "k/1.jpg")
    put(tmp_path, "list.csv", b"path,label\nk/1.jpg,a\nk,b\n")
    manifest = tiering.convert(tmp_path / "list.csv", tmp_path / "store", "lmdb", on_error="skip", workers=1)
    for account in (
        manifest.account,
        tiering.profile_dataset(tmp_path / "list.csv").account,
        tiering.profile_dataset(tmp_path / "list.csv", sample="all").account,
        tiering.verify(tmp_path / "store", source=tmp_path / "list.csv").account,
    ):
        assert counts(account) == {"missing file": 1}


def test_rows_of_a_table_of_classes_without_an_image_are_accounted_for_by_every_verb(tmp_path):
    root = tmp_path / "tiny"
    for name in ("train/cat/images/1.jpg", "val/images/v1.jpg"):
        put(root, name)
    put(root, "val/images/v2.jpg", b"junk")
    put(root, "val/val_annotations.txt", b"v1.jpg\tcat\t0\nv2.jpg\tcat\t0\nv3.jpg\tcat\t0\n")
    store, how = tmp_path / "store", {"on_error": "skip", "workers": 1}
    with pytest.raises(DatasetError, match=r"val/v3\.jpg: label without an image, a table of classes names it"):
        tiering.convert(root, store, "lmdb", workers=1)
    known = {"damaged": 1, "label without an image": 1, "not an image": 1}
    assert counts(tiering.convert(root, store, "lmdb", **how).account) == known
    assert counts(tiering.profile_dataset(root).account) == counts(tiering.profile_dataset(root, sample="all").account)
    assert counts(tiering.profile_dataset(root).account) == known
    assert counts(tiering.open_store(root).manifest.account) == {"label without an image": 1, "not an image": 1}
    put(root, "val/images/v4.jpg")
    with (root / "val/val_annotations.txt").open("ab") as file:
        file.write(b"v4.jpg\tcat\t0\nv5.jpg\tcat\t0\n")
    known |= {"label without an image": 2}
    assert counts(tiering.append(root, store, **how).account) == known
    found = tiering.verify(store, source=root)
    assert found.ok, found.problems
    assert counts(found.account) == known
    put(root, "val/images/v3.jpg")
    assert counts(tiering.sync(root, store, **how).manifest.account) == known | {"label without an image": 1}
