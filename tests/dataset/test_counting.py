"""A whole tree is counted to the last byte, whatever is in it and however many processes count."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.trees import FIXTURES, put
from tiering.dataset import counting
from tiering.dataset.counting import Totals, count_tree
from tiering.errors import TieringError
from tiering.sources.left_out import LeftOut
from tiering.sources.scan import scan


def counts(left_out: LeftOut) -> dict[str, tuple[int, int]]:
    return {kind: (tally.count, tally.size) for kind, tally in left_out.kinds.items()}


def plain(totals: Totals) -> tuple[object, ...]:
    """What must not depend on who counted."""
    shares = (0, 0.1, 0.5, 1)
    return (
        *(totals.sizes.count, totals.sizes.total, totals.sizes.empty, totals.sizes.quantiles(shares)),
        *(totals.folders, totals.extensions, counts(totals.left_out), totals.odd_names, totals.kept),
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25,000 files in 60 directories on two levels: more than one process counts alone."""
    root = tmp_path_factory.mktemp("large")
    for number in range(60):
        folder = root / f"split{number % 3}" / f"class{number:02d}"
        folder.mkdir(parents=True)
        for index in range(420):
            with open(folder / f"{index:04d}.jpg", "wb") as file:
                file.truncate(number * 1000 + index)
    return root


def test_it_agrees_with_the_walk_that_packing_uses(tmp_path: Path):
    shutil.copytree(FIXTURES, tmp_path / "photos")
    root = tmp_path / "photos"
    put(root, "notes.TXT", b"words")
    put(root, "README", b"more words")
    put(root, "x.a.b", b"xab")
    put(root, "shouting/1.txt", b"a caption")
    put(root, "shouting/download")
    put(root, "shouting/2.jpg_large")
    put(root, "shouting/@eaDir/1.jpg")
    put(root, "shouting/3.heic", b"12")
    put(root, "shouting/4.nef", b"MM\0*raw")
    put(root, "pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    put(root, ".hidden.jpg")
    put(root, ".git/x.jpg")
    put(root, b"caf\xe9/\xff.jpg", b"x")
    put(root, "shouting/1.JPG", b"")
    put(root, "deep/er/still/2.jpeg", b"12")
    (root / "empty").mkdir()
    os.mkfifo(root / "pipe")
    (root / "loop").symlink_to(".")
    (root / "deep" / "up").symlink_to("..")
    (root / "self.jpg").symlink_to("self.jpg")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "link.jpg").symlink_to("shouting/1.JPG")
    (root / "again").symlink_to("shouting")
    walked, totals = scan(root), count_tree(root, keep=10**6)
    assert totals.kept == list(walked.files.select("key", "size").iter_rows())
    assert (totals.sizes.count, totals.sizes.total) == (len(walked.files), walked.files["size"].sum())
    assert counts(totals.left_out) == {kind: (left.count, left.bytes) for kind, left in walked.account.left_out.items()}
    assert counts(totals.left_out) | {"hidden": (2, 0)} == {
        "link in a circle": (2, 0), "broken link": (2, 0), "special file": (1, 0), "hidden": (2, 0),
        "not an image": (3, 18), "left by a tool": (2, 0), "content not fetched": (1, 63),
        "image of a format that is not packed": (2, 14),
    }  # fmt: skip
    assert (totals.left_out.field_files, totals.left_out.field_bytes) == (2, 18)
    assert (walked.account.field_files, walked.account.field_bytes) == (2, 18)
    assert totals.left_out.suffixes == {b"txt": 2}
    assert totals.odd_names == walked.odd_names == 1
    assert totals.extensions["jpeg"] == 1
    assert totals.extensions["jpg_large"] == 2
    assert totals.folders[b"deep/er/still/"] == 1
    assert totals.sizes.empty == 3


def test_processes_change_nothing_but_the_time(large: Path):
    alone, together = (count_tree(large, keep=100, seed=3, processes=count) for count in (1, 3))
    assert plain(alone) == plain(together)
    assert alone.sizes.count == 25_200
    assert alone.sizes.total == 420 * sum(range(60)) * 1000 + 60 * sum(range(420))
    assert len(alone.kept) == 100
    assert count_tree(large, keep=100, seed=4).kept != alone.kept


def test_the_sample_is_spread_over_the_whole_tree(large: Path):
    """Of 60 directories with 420 files each, 2,000 files drawn at random leave none out (chance: 60 x e^-33)."""
    kept = count_tree(large, keep=2000).kept
    assert len({key.rpartition(b"/")[0] for key, _ in kept}) == 60
    # 33 a directory are expected; ten standard deviations away is out of the question.
    assert all(os.stat(large / os.fsdecode(key)).st_size == size for key, size in kept[:50])


def test_one_huge_directory_is_shared_between_processes(tmp_path: Path):
    folder = tmp_path / "flat"
    folder.mkdir()
    # Long names, so that the directory itself grows beyond 1 MiB.
    for index in range(6000):
        with open(folder / f"{'x' * 200}{index:05d}.png", "wb") as file:
            file.truncate(index)
    put(tmp_path, "small/1.jpg")
    # Before another process helps, one counts 20,000 files: so many are beside it.
    for index in range(21_000):
        os.link(tmp_path / "small" / "1.jpg", tmp_path / "small" / f"g{index}.gif")
    totals = count_tree(tmp_path, keep=5, processes=2)
    assert totals.extensions == {"png": 6000, "jpg": 1, "gif": 21_000}
    assert totals.folders == {b"flat/": 6000, b"small/": 21_001}


def test_files_that_go_meanwhile_are_counted_or_named(tmp_path: Path):
    total = 3000
    for index in range(total):
        put(tmp_path, f"c{index % 10}/{index}.jpg", b"1")

    def remove() -> None:
        for index in range(total):
            os.unlink(tmp_path / f"c{index % 10}" / f"{index}.jpg")

    remover = threading.Thread(target=remove)
    remover.start()
    totals = count_tree(tmp_path)
    remover.join()
    assert totals.sizes.count == totals.sizes.total <= total
    assert set(totals.left_out.kinds) <= {"missing file"}


def test_a_root_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(TieringError, match="no such file"):
        count_tree(tmp_path / "nowhere")


def test_an_empty_tree_has_nothing(tmp_path: Path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    totals = count_tree(tmp_path, keep=10)
    assert (totals.sizes.count, totals.kept, totals.left_out.kinds) == (0, [], {})


def test_answers_that_arrive_together_are_all_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Small answers fit into one buffer. The second was taken with the first, and the scan waited for it forever."""
    monkeypatch.setattr(counting, "_ALONE", 1)
    for number in range(300):
        (tmp_path / f"c{number:03}").mkdir()
        (tmp_path / f"c{number:03}" / "a.jpg").write_bytes(b"x" * number)
    assert count_tree(tmp_path, processes=2).sizes.total == sum(range(300))
