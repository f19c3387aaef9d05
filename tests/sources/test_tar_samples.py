"""Tar files are datasets as WebDataset lays them out: members that share a name are a sample."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from collections import ChainMap
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.trees import put
from tiering.errors import DatasetError
from tiering.sources.account import Ledger
from tiering.sources.source import open_source, read_samples
from tiering.sources.tar_samples import split_of


def pack(path: Path, members: list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT, mtime: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind, errors="surrogateescape") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            tar.addfile(info, io.BytesIO(data))
    return path


def listed(place: Path) -> pl.DataFrame:
    return pl.concat(list(open_source(place).batches()))


def contents(place: Path, field: str = "") -> dict[bytes, bytes]:
    """Return the bytes of each image, or of a field of each sample that has it, by their keys."""
    prefix = f"field:{field}:" if field else ""
    samples = listed(place).filter(pl.col(f"{prefix}key").is_not_null())
    columns = (samples[prefix + name].to_numpy() for name in ("file", "offset", "size"))
    keys = samples[f"{prefix}key"].to_list()
    return dict(zip(keys, read_samples(open_source(place), keys, *columns), strict=True))


def test_an_image_is_a_sample_and_cls_is_its_label(tmp_path):
    members = [
        ("./0001.jpg", b"one"), ("./0001.cls", b" 007\n"), ("./0001.json", b'{"label": 3}'),
        ("sub.dir/0002.cls", b"cat"), ("sub.dir/0002.PNG", b"two"),
        ("0003.seg.png", b"three"), ("0003.jpg", b"four"), ("0003.cls", "Käse".encode()),
        ("0004.jpg", b"five"), ("0005.txt", b"no image"),
    ]  # fmt: skip
    path = pack(tmp_path / "photos.tar", members)
    samples = listed(path)
    assert samples.select("key", "label").rows() == [
        (b"0001.jpg", "007"), (b"sub.dir/0002.PNG", "cat"), (b"0003.jpg", "Käse"), (b"0004.jpg", None),
    ]  # fmt: skip
    assert samples["size"].to_list() == [3, 3, 4, 4]
    assert samples["split"].null_count() == 4
    assert list(contents(path).values()) == [b"one", b"two", b"four", b"five"]


def test_names_with_dots_have_the_labels_of_their_own_names(tmp_path):
    members = [("a/22.05.jpg", b"x"), ("a/22.05.cls", b"3"), ("a/22.06.cls", b"4"), ("a/22.06.jpg", b"y")]
    assert listed(pack(tmp_path / "dots.tar", members)).select("key", "label").rows() == [
        (b"a/22.05.jpg", "3"), (b"a/22.06.jpg", "4"),
    ]  # fmt: skip


def test_a_label_that_no_image_uses_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"found 22\.07\.cls, which is the label of no image"):
        listed(pack(tmp_path / "dots.tar", [("22.05.jpg", b"x"), ("22.07.cls", b"3")]))


def test_frames_are_samples_in_a_tar_as_in_a_directory_however_many_share_the_first_dot(tmp_path, monkeypatch):
    frames = [(f"f.{number:04d}.{end}", data) for number in range(1200) for end, data in (("cls", b"1"), ("png", b"x"))]
    ledger = Ledger()
    samples = pl.concat(list(open_source(pack(tmp_path / "frames.tar", frames)).batches(ledger)))
    assert samples["label"].to_list() == ["1"] * 1200
    assert not ledger.left_out.field_files
    masks = [(f"f.{number:04d}.{end}", b"x") for number in range(1200) for end in ("mask.png", "png", "txt")]
    samples = pl.concat(list(open_source(pack(tmp_path / "masks.tar", masks)).batches(ledger)))
    assert samples["field:mask:key"].to_list() == [f"f.{number:04d}.mask.png".encode() for number in range(1200)]
    assert ledger.left_out.field_files == 2400
    monkeypatch.setattr("tiering.sources.tar_groups.MOST_MEMBERS", 100)
    with pytest.raises(DatasetError, match="more of f, the name up to its first dot"):
        listed(pack(tmp_path / "captions.tar", [(f"f.{number}.a", b"x") for number in range(102)]))


def test_several_tars_are_one_dataset_in_order_of_name_with_their_splits(tmp_path):
    for name in ("val_0", "train-1", "train-0", "more"):
        pack(tmp_path / f"{name}.tar", [("1.jpg", name.encode()), ("0.jpg", b"")])
    samples = listed(tmp_path)
    assert samples.select("key", "split", "file").rows()[::2] == [
        (b"more/1.jpg", None, 0), (b"train-0/1.jpg", "train", 1), (b"train-1/1.jpg", "train", 2),
        (b"val_0/1.jpg", "val", 3),
    ]  # fmt: skip
    found = contents(tmp_path)
    assert found[b"train-1/1.jpg"] == b"train-1"
    assert found[b"train-1/0.jpg"] == b""


def test_names_of_splits_are_whole_words():
    names = ("train-0000.tar", "Validation.tar", "test_1.tar", "training0.tar", "trainset.tar", "0-train.tar", "x.tar")
    assert [split_of(name) for name in names] == ["train", "validation", "test", "training", None, None, None]


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_long_and_odd_names_are_kept_byte_for_byte(tmp_path, kind):
    names = ["a" * 150 + "/" + "b" * 180 + ".jpg", "c/ä.jpg", os.fsdecode(b"caf\xe9.jpg"), "ends\n.jpg"]
    path = pack(tmp_path / "odd.tar", [(name, name[:5].encode("utf-8", "replace")) for name in names], kind)
    assert listed(path)["key"].to_list() == [os.fsencode(name) for name in names]


@settings(max_examples=examples(30))
@given(st.dictionaries(st.text("ab/.é" + "x" * 3, min_size=1, max_size=130), st.binary(max_size=2000), max_size=8))
def test_any_tar_gives_its_images_back(tmp_path_factory, members):
    wanted = {f"n{name.replace('/.', '/').replace('..', '.').strip('/')}.jpg": data for name, data in members.items()}
    wanted = {name: data for name, data in wanted.items() if "//" not in name and "/." not in name}
    path = pack(tmp_path_factory.mktemp("tar") / "any.tar", list(wanted.items()))
    if not wanted:
        with pytest.raises(DatasetError, match="found an empty tar file"):
            listed(path)
    else:
        fields = {name.split(":")[1] for name in listed(path).columns if ":" in name}
        found = [contents(path), *(contents(path, field) for field in fields)]
        assert dict(ChainMap(*found)) == {name.encode(): data for name, data in wanted.items()}


def test_tars_of_gnu_tar_are_read(tmp_path):
    put(tmp_path, "cat/1.jpg", b"one")
    put(tmp_path, "cat/" + "d" * 120 + ".jpg", b"two")
    subprocess.run(["tar", "--sort=name", "-cf", "photos.tar", "./cat"], cwd=tmp_path, check=True)
    assert sorted(contents(tmp_path / "photos.tar").items()) == [
        (b"cat/1.jpg", b"one"),
        (b"cat/" + b"d" * 120 + b".jpg", b"two"),
    ]


def test_links_are_the_members_that_they_name_hidden_ones_and_devices_are_left_out(tmp_path):
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("._1.jpg", "cat/._1.jpg", ".cache/2.jpg", "1.jpg"):
            tar.addfile(tarfile.TarInfo(name))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"{kind!r}.jpg")
            info.type, info.linkname = kind, "1.jpg"
            tar.addfile(info)
    ledger = Ledger()
    keys = pl.concat(list(open_source(path).batches(ledger)))["key"].to_list()
    assert keys == [b"1.jpg", b"b'2'.jpg", b"b'1'.jpg"]
    assert {kind: tally.count for kind, tally in ledger.left_out.kinds.items()} == {"hidden": 3, "special file": 2}


def test_a_version_changes_with_the_member_and_with_the_tar(tmp_path):
    path = pack(tmp_path / "photos.tar", [("1.jpg", b"1")], mtime=1)
    os.utime(path, (1, 1))
    first = listed(path)["version"]
    assert first.equals(listed(path)["version"])
    pack(path, [("1.jpg", b"1")], mtime=2)
    os.utime(path, (1, 1))
    second = listed(path)["version"]
    os.utime(path, (1, 2))
    assert len({first[0], second[0], listed(path)["version"][0]}) == 3
    assert first[0] >= 0


def test_members_of_a_sample_that_lie_apart_are_refused(tmp_path):
    path = pack(tmp_path / "a.tar", [("1.jpg", b""), ("2.jpg", b""), ("1.cls", b"x"), ("2.cls", b"y")])
    with pytest.raises(DatasetError, match="sort=name"):
        listed(path)


def test_a_name_that_occurs_twice_is_refused(tmp_path):
    path = pack(tmp_path / "a.tar", [("1.jpg", b"a"), ("2.jpg", b"b"), ("./1.jpg", b"c")])
    with pytest.raises(DatasetError, match=r"found 1\.jpg twice"):
        listed(path)


def test_names_that_lead_out_of_the_tar_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"\.\./1\.jpg"):
        listed(pack(tmp_path / "a.tar", [("cat/../../1.jpg", b"")]))
    assert listed(pack(tmp_path / "b.tar", [("/abs/1.jpg", b"")]))["key"].to_list() == [b"abs/1.jpg"]


def test_a_tar_without_images_says_so(tmp_path):
    with pytest.raises(DatasetError, match="found none"):
        listed(pack(tmp_path / "a.tar", [("1.txt", b"")]))
    with pytest.raises(DatasetError, match="found an empty tar file"):
        listed(pack(tmp_path / "b.tar", []))


def test_a_tar_cut_anywhere_is_refused_with_the_byte(tmp_path):
    path = pack(tmp_path / "a.tar", [("1.jpg", b"x" * 600), ("2.jpg", b"y" * 600), ("p" * 120 + ".jpg", b"z")])
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0")) + 511 & ~511
    for cut in [*range(1, end, 97), *range(512, end + 1, 512)]:
        path.write_bytes(whole[:cut])
        with pytest.raises(DatasetError, match=f"truncated one: it ends at byte {cut:,}"):
            listed(path)


def test_a_damaged_header_is_refused_with_the_byte(tmp_path):
    path = pack(tmp_path / "a.tar", [("1.jpg", b"x"), ("2.jpg", b"y")])
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="no valid header at byte 1,024"):
        listed(path)


def test_what_is_no_tar_is_refused(tmp_path):
    for data, said in ((b"", "empty"), (b"text" * 300, "header"), (gzip.compress(b"x"), "compressed by gzip")):
        with pytest.raises(DatasetError, match=said):
            listed(put(tmp_path, "a.tar", data))


@pytest.mark.slow
def test_a_listing_holds_no_member_of_a_large_tar(tmp_path):
    # In a process of its own: the most memory that a process ever had is all that the system tells.
    script = (
        "import resource, sys\nfrom tiering.sources.source import open_source\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "batches = open_source(sys.argv[1]).batches(); next(batches); before = most()\n"
        "n = sum(map(len, batches)); print(n, most() - before)"
    )
    path = pack(tmp_path / "many.tar", [(f"{number:06d}.jpg", b"") for number in range(150_000)])
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    n, kib = map(int, done.stdout.split())
    assert n == 100_000
    assert kib < 60_000, "a TarInfo takes over 1 KiB"
