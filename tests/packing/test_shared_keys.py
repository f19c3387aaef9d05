"""Files that share a key: convert and append refuse them by a list; profile, info and folders count and name them."""

from __future__ import annotations

import json
import warnings

import pytest
from typer.testing import CliRunner

import tiering
from tests.packing.test_account import webdataset
from tests.sources.trees.test_remote import upload
from tests.trees import picture, put
from tiering.cli.app import app
from tiering.cli.flags import with_flags
from tiering.dataset.counting import count_tree
from tiering.errors import DatasetError
from tiering.sources.account import SharedKeysWarning
from tiering.sources.trees import entries

FILES = ("000.jpg", "000.mask.png", "000.txt", "001.jpg", "a/1.jpg", "a/1.png", "b/2.jpg", "b/3.jpg", "b/3/3.txt")
NAMED = ["000.jpg and 000.mask.png and 000.txt", "a/1.jpg and a/1.png"]
WORDS = "2 keys that several files share (000.jpg and 000.mask.png and 000.txt; a/1.jpg and a/1.png)"


@pytest.fixture
def photos(tmp_path):
    for name in FILES:
        put(tmp_path / "photos", name, b"words" if name.endswith("txt") else None)
    return tmp_path / "photos"


def run(*words):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        done = CliRunner().invoke(app, [*map(str, words)])
    return done.exit_code, done.stdout, done.stderr + "".join(str(each.message) for each in warned)


def test_every_verb_names_the_same_keys_and_the_same_way_out(photos, tmp_path):
    code, _, said = run("convert", photos, tmp_path / "store", "--to", "lmdb", "--workers", "1")
    assert code == 3
    assert WORDS in said
    assert "--images-only" in said
    listed = (tmp_path / "store.partial" / "left-out.tsv").read_text().splitlines()
    assert f"All are listed in {tmp_path}/store.partial/left-out.tsv" in said
    assert sorted(line.split("\t")[0] for line in listed[1:]) == [
        "000.jpg", "000.mask.png", "000.txt", "a/1.jpg", "a/1.png", "b/3/3.txt",
    ]  # fmt: skip
    for words in (("profile", photos), ("profile", photos, "--sample", "all"), ("info", photos)):
        code, shown, said = run(*words)
        assert code == 0
        assert "keys that several files share: 2 (000.jpg and 000.mask.png and 000.txt;" in " ".join(shown.split())
        assert WORDS in said
        assert "--images-only" in with_flags(words[0], said)
        account = json.loads(run(*words, "--json")[1])
        account = account.get("account") or account["dataset"]["account"]
        assert (account["shared_keys"], account["shared_examples"]) == (2, NAMED)
    with pytest.warns(SharedKeysWarning, match="2 keys that several files share"):
        tiering.Loader(tiering.open_store(photos), 2)


def test_with_images_only_the_run_that_was_refused_packs_them_and_its_list_goes(photos, tmp_path):
    with pytest.raises(DatasetError, match="All are listed"):
        tiering.convert(photos, tmp_path / "store", "lmdb", workers=1)
    manifest = tiering.convert(photos, tmp_path / "store", "lmdb", images_only=True, workers=1)
    assert manifest.samples == 6
    assert manifest.account.shared_keys == 2
    assert not (tmp_path / "store.partial").exists()
    assert tiering.verify(tmp_path / "store", source=photos).account.shared_keys == 2
    put(photos, "b/4.jpg")
    assert tiering.append(photos, tmp_path / "store", workers=1).account.shared_keys == 2


def test_append_lists_them_and_goes_on_when_they_are_gone(tmp_path):
    put(tmp_path / "photos", "1.jpg")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    put(tmp_path / "photos", "2.jpg")
    put(tmp_path / "photos", "2.png")
    listed = tmp_path / "store" / ".tiering" / "left-out.tsv"
    with pytest.raises(DatasetError, match=f"All are listed in {listed}"):
        tiering.append(tmp_path / "photos", tmp_path / "store", workers=1)
    assert [line.split("\t")[0] for line in listed.read_text().splitlines()[1:]] == ["2.jpg", "2.png"]
    (tmp_path / "photos" / "2.png").unlink()
    assert tiering.append(tmp_path / "photos", tmp_path / "store", workers=1).samples == 2
    assert tiering.verify(tmp_path / "store", source=tmp_path / "photos").ok
    assert not listed.exists()


def test_a_mask_beside_a_broken_link_is_not_listed(tmp_path):
    put(tmp_path / "photos", "1.jpg")
    (tmp_path / "photos" / "1.txt").symlink_to("nowhere")
    manifest = tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", on_error="skip", workers=1)
    assert (manifest.samples, manifest.account.shared_keys) == (1, 0)
    assert "1.jpg" not in (tmp_path / "store" / "left-out.tsv").read_text()


def test_a_description_of_images_in_other_directories_is_one_for_convert_and_append(tmp_path):
    put(tmp_path / "photos", "a/1.jpg")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    put(tmp_path / "photos", "metadata.csv", b"file_name,text\na/1.jpg,a cat\n")
    put(tmp_path / "photos", "a/2.jpg")
    said = r"metadata\.csv and the images that it describes"
    for pack in (
        lambda **how: tiering.convert(tmp_path / "photos", tmp_path / "new", "lmdb", workers=1, **how),
        lambda **how: tiering.append(tmp_path / "photos", tmp_path / "store", workers=1, **how),
    ):
        with pytest.raises(DatasetError, match=said):
            pack()
        manifest = pack(images_only=True)
        assert (manifest.samples, manifest.account.count("sidecar")) == (2, 1)
    with pytest.warns(SharedKeysWarning, match=said):
        tiering.open_store(tmp_path / "photos")


@pytest.mark.parametrize("kind", ["tar", "bucket"])
def test_elsewhere_they_are_counted_as_well(tmp_path, s3, kind):
    place = webdataset(tmp_path / "shard.tar")
    if kind == "bucket":
        place = f"{s3}/photos"
        upload(tmp_path / "shard", place)
    account = tiering.profile_dataset(place).account
    assert account.shared_keys == 3
    assert account.shared_examples[0].startswith("000.")
    if kind == "bucket":
        with pytest.warns(SharedKeysWarning, match="3 keys"):
            tiering.open_store(place)


@pytest.mark.parametrize("shared", [1 << 20, 0], ids=["whole", "in parts"])
def test_a_large_directory_counted_by_several_processes_has_as_many(tmp_path, monkeypatch, shared):
    monkeypatch.setattr(entries, "SHARED_BYTES", shared)
    for number in range(300):
        put(tmp_path, f"{number:03d}.jpg", b"1")
    put(tmp_path, "299.png", b"1")
    found = count_tree(tmp_path, processes=2)
    assert (found.sizes.count, found.left_out.shared.count) == (301, 1)
    assert found.left_out.shared.examples == ["299.jpg and 299.png"]


def test_a_sampled_profile_estimates_them(tmp_path):
    for folder in range(60):
        for number in range(20):
            put(tmp_path, f"c{folder}/{number}.jpg", b"1")
        put(tmp_path, f"c{folder}/7.mask.png", b"1")
    profile = tiering.profile_dataset(tmp_path, sample=100)
    estimate = profile.estimates["shared keys"]
    assert round(estimate.low) <= 60 <= round(estimate.high)
    assert profile.account.shared_keys == round(estimate.value)


def test_images_of_their_own_keys_warn_of_nothing(tmp_path):
    for name in ("22.jpg", "22.05.jpg", "photo.jpg", "photo.jpg.1", "a.png"):
        put(tmp_path / "photos", name, picture())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiering.open_store(tmp_path / "photos")
    assert tiering.profile_dataset(tmp_path / "photos").account.shared_keys == 0
