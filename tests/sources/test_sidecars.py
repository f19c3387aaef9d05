"""Files beside an image are its fields, in folders and in tars: which they are, of which kind, and where they lie."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.sources.test_tar_samples import contents, pack
from tests.sources.trees.test_remote import upload
from tests.trees import picture, put
from tiering.errors import DatasetError
from tiering.sources.account import Account, Ledger
from tiering.sources.fields import FIELD_NAME
from tiering.sources.found_field import RESERVED
from tiering.sources.sidecars import FieldNames, suffix_kind
from tiering.sources.source import open_source

#: What WebDataset and its users write, with the fields that they are.
FILES = {
    "mask.png": ("mask", "image"),
    "seg.png": ("seg", "image"),
    "txt": ("txt", "string"),
    "caption": ("caption", "string"),
    "json": ("json", "json"),
    "npy": ("npy", "array"),
    "cls2": ("cls2", "integer"),
    "id": ("id", "integer"),
    "xml": ("xml", "bytes"),
    "pth": ("pth", "bytes"),
    "depth.exr": ("depth", "bytes"),
    "png": ("png", "image"),
}


def announced(place: Path | str, **how: bool | None) -> tuple[pl.DataFrame, Ledger]:
    ledger = Ledger(**how)
    return pl.concat(list(open_source(place).batches(ledger)), how="diagonal"), ledger


def names_of(*suffixes: str) -> dict[str, str | None]:
    names = FieldNames(Ledger())
    return {suffix: names.name(suffix.encode("utf-8", "surrogateescape")) for suffix in suffixes}


@pytest.mark.parametrize("kind", ["folder", "tar", "bucket"])
def test_the_suffix_of_a_file_is_its_field(tmp_path, s3, kind):
    members = [(f"d/00{number}.{end}", f"{end} {number}".encode()) for number in (1, 2) for end in ("jpg", *FILES)]
    for name, data in members:
        put(tmp_path / "photos", name, data)
    place: Path | str = tmp_path / "photos"
    if kind == "tar":
        place = pack(tmp_path / "photos.tar", sorted(members))
    elif kind == "bucket":
        upload(tmp_path / "photos", s3)
        place = s3
    samples, ledger = announced(place)
    assert samples["key"].to_list() == [b"d/001.jpg", b"d/002.jpg"]
    assert {found.suffix: (found.name, found.kind) for found in ledger.fields.values()} == FILES
    for end, (name, _) in FILES.items():
        assert samples[f"field:{name}:key"].to_list() == [f"d/001.{end}".encode(), f"d/002.{end}".encode()]
        assert samples[f"field:{name}:size"].to_list() == [len(f"{end} 1")] * 2
        assert (samples[f"field:{name}:file"] == (0 if kind == "tar" else -1)).all()
        if kind == "tar":
            assert contents(Path(place), name)[f"d/002.{end}".encode()] == f"{end} 2".encode()
    account = Account.of(2, int(samples["size"].sum()), ledger.left_out)
    assert (account.met, account.field_files, account.left_out) == (26, 24, {})
    assert account.met_bytes == sum(len(data) for _, data in members)


def test_names_of_fields_leave_out_the_ending_and_are_never_taken():
    assert names_of("mask.png", "mask.jpg", "MASK.PNG") == dict.fromkeys(("mask.png", "mask.jpg", "MASK.PNG"), "mask")
    assert names_of("depth.png", "depth.npy", "depth") == {
        "depth.png": "depth", "depth.npy": "depth_npy", "depth": "depth_2",
    }  # fmt: skip
    assert names_of("jpg.json", "json", "image.png", "label") == {
        "jpg.json": "json", "json": "json", "image.png": "image_2", "label": "label_2",
    }  # fmt: skip
    assert names_of("a b.txt", "ä.txt", "\udcff.txt", "x\n.txt", "") == {
        "a b.txt": "a_b", "ä.txt": "field", "\udcff.txt": None, "x\n.txt": None, "": None,
    }  # fmt: skip


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=12), max_size=30))
def test_any_suffixes_have_names_that_fields_may_have_and_one_kind_each(suffixes):
    kinds: dict[str, str] = {}
    for suffix, name in names_of(*suffixes).items():
        if name is not None:
            assert FIELD_NAME.fullmatch(name)
            assert name not in RESERVED
            assert kinds.setdefault(name, suffix_kind(suffix.encode())) == suffix_kind(suffix.encode())


def test_a_field_that_some_samples_lack_is_null_and_one_that_comes_later_has_its_own_frame(tmp_path, monkeypatch):
    monkeypatch.setattr("tiering.sources.trees.walk.BATCH", 2)
    for number in range(5):
        put(tmp_path, f"{number}.jpg", b"x")
    put(tmp_path, "3.txt", b"three")
    put(tmp_path, "4.txt", b"four")
    frames = list(open_source(tmp_path).batches(Ledger()))
    assert ["field:txt:key" in frame for frame in frames] == [False, True, True]
    assert frames[1]["field:txt:key"].to_list() == [None, b"3.txt"]


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_two_files_for_one_field_are_refused(tmp_path, kind):
    members = [("1.jpg", b"x"), ("1.mask.jpg", b"x"), ("1.mask.png", b"x")]
    for name, data in members:
        put(tmp_path / "photos", name, data)
    place = pack(tmp_path / "photos.tar", members) if kind == "tar" else tmp_path / "photos"
    with pytest.raises(
        DatasetError, match=r"1\.jpg: expected one file for the field mask, found two: 1\.mask\.jpg and"
    ):
        announced(place)
    assert announced(place, images_only=True)[0]["key"].to_list() == [b"1.jpg"]


def test_more_suffixes_than_fields_are_meant_to_be_are_refused(tmp_path):
    put(tmp_path, "cat.jpg", b"x")
    for number in range(70):
        put(tmp_path, f"cat.n{number}.png", b"x")
    with pytest.raises(DatasetError, match="at most 64 kinds of files beside images"):
        announced(tmp_path)
    assert len(announced(tmp_path, images_only=True)[0]) == 1


@pytest.mark.parametrize("kind", ["folder", "tar", "bucket"])
def test_files_of_no_image_and_of_an_image_that_is_left_out_are_named(tmp_path, s3, kind):
    members = [
        ("1.jpg", picture()), ("1.txt", b"one"), ("2.txt", b"an orphan"), ("3.nef", b"MM\0*raw"), ("3.txt", b"three"),
        (b"4.\xff", b"odd"), ("4.jpg", picture()),
    ]  # fmt: skip
    for name, data in members:
        put(tmp_path / "photos", name, data)
    place: Path | str = tmp_path / "photos"
    if kind == "tar":
        named = [(name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"), d) for name, d in members]
        place = pack(tmp_path / "photos.tar", named)
    elif kind == "bucket":
        (tmp_path / "photos" / "4.\udcff").rename(tmp_path / "photos" / ("4." + "x" * 101))
        upload(tmp_path / "photos", s3)
        place = s3
    samples, ledger = announced(place)
    assert samples["key"].to_list() == [b"1.jpg", b"4.jpg"]
    account = Account.of(2, int(samples["size"].sum()), ledger.left_out)
    assert (account.met, account.field_files) == (7, 1)
    left = {name: kind.examples for name, kind in account.left_out.items()}
    odd = "4." + "x" * 101 if kind == "bucket" else "4.\\xff"
    assert f"{odd} (its name cannot be that of a field)" in left["sidecar"]
    named = [example for examples in left.values() for example in examples]
    assert all(any(example.startswith(name) for example in named) for name in ("2.txt", "3.nef", "3.txt"))


def test_a_pointer_beside_an_image_is_an_error_and_an_image_by_content_is_a_sample(tmp_path):
    put(tmp_path, "1.jpg")
    put(tmp_path, "1.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n")
    put(tmp_path, "1.jpg_large")
    (tmp_path / "1.txt").symlink_to("nowhere")
    put(tmp_path, "1.bin", b"bytes")
    samples, ledger = announced(tmp_path)
    assert samples["key"].to_list() == [b"1.jpg", b"1.jpg_large"]
    assert list(ledger.fields) == ["bin"]
    counts = {kind: tally.count for kind, tally in ledger.left_out.kinds.items()}
    assert counts == {"content not fetched": 1, "broken link": 1}


def test_members_of_a_tar_that_lie_apart_from_their_image_are_refused(tmp_path):
    apart = [("1.jpg", b"x"), ("2.jpg", b"y"), ("1.txt", b"one"), ("2.txt", b"two")]
    with pytest.raises(DatasetError, match=r"found [12]\.txt apart from its image.*sort=name"):
        announced(pack(tmp_path / "apart.tar", apart))
    assert len(announced(pack(tmp_path / "apart.tar", apart), images_only=True)[0]) == 2
    announced(pack(tmp_path / "fine.tar", [("README.txt", b"x"), *sorted(apart)]))


names = st.sampled_from(["a", "b", "a.1", "ab", "B"])
ends = st.sampled_from(["jpg", "png", "txt", "mask.png", "jpg.json", "npy", "2.txt", "x"])


@settings(max_examples=examples(60))
@given(st.sets(st.tuples(names, ends).map(".".join), min_size=1, max_size=16))
def test_every_file_is_met_once_and_folders_and_tars_agree(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("any")
    files |= {"z.jpg"}
    members = [(name, name.encode()) for name in sorted(files)]
    for name, data in members:
        put(root / "photos", name, data)
    try:
        samples, ledger = announced(root / "photos")
    except DatasetError as error:
        assert "one file for the field" in error.expected  # noqa: PT017 - either is right
        return
    assert len(samples) + ledger.left_out.field_files + ledger.left_out.count() == len(files)
    packed, _ = announced(pack(root / "photos.tar", members))
    columns = [name for name in samples.columns if name == "key" or name.endswith((":key", ":size"))]
    assert packed.select(sorted(columns)).rows() == samples.select(sorted(columns)).rows()
