"""A survey finds each dataset once, counts every byte, and changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.conftest import FIXTURES
from tests.examples import examples
from tiering.dataset import found_datasets
from tiering.dataset.found_datasets import find_datasets
from tiering.errors import InputError, MachineError, UsageError
from tiering.system.access_times import mount_above, mounted

TRACE = FIXTURES / "traces" / "train_loop.strace.gz"


def make(root: Path, names: str, count: int = 12, size: int = 100) -> None:
    """Make files: `names` has a number from 0 in it, such as "train/cat/{}.jpg"."""
    for number in range(count):
        path = root / names.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)


def kinds(found: tiering.Survey, root: Path) -> dict[str, str]:
    return {os.path.relpath(dataset.path, root): dataset.kind for dataset in found.datasets}


def assert_counts_everything(found: tiering.Survey, *roots: Path) -> None:
    paths = [path for root in roots for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert found.files == len(paths)
    assert found.bytes == sum(path.lstat().st_size for path in paths)


def test_every_kind_of_dataset_is_found(tmp_path, photos):
    make(tmp_path, "pets/train/cat/{}.jpg")
    make(tmp_path, "pets/train/dog/{}.jpg", 3)
    make(tmp_path, "pets/val/cat/{}.jpg")
    make(tmp_path, "pets/annotations/{}.json", 2)
    make(tmp_path, "holiday/IMG_{}.JPG")
    make(tmp_path, "web/train-{:05}.tar", size=300_000)
    make(tmp_path, "rows/day={}/part.parquet", size=300_000)
    make(tmp_path, "records/train-{:05}.tfrecord-00000-of-00012", 2, size=600_000)
    make(tmp_path, "volumes/case_{}.npz")
    make(tmp_path, "scans/2024/{:02}/a.tif", 3)
    make(tmp_path, "scans/2025/{:02}/b.tif", 20)
    make(tmp_path, "others.zarr/c/{}/0", 5)
    make(tmp_path, "others.zarr/zarr.json", 1)
    make(tmp_path, "plain-lmdb/data.mdb", 1)
    make(tmp_path, "code/{}.py")
    make(tmp_path, "code/docs/{}.png", 3)
    tiering.convert(photos, tmp_path / "packed" / "photos.lmdb", "lmdb")
    tiering.convert(photos, tmp_path / "packed" / "photos", "zarr")
    found = tiering.survey([tmp_path])
    assert kinds(found, tmp_path) == {
        "pets": "class folders",
        "holiday": "flat folder",
        "web": "tar files",
        "rows": "tables",
        "records": "TFRecord",
        "volumes": "arrays",
        "scans": "nested folders",
        "others.zarr": "Zarr",
        "plain-lmdb": "LMDB",
        "packed/photos.lmdb": "LMDB",
        "packed/photos": "Zarr",
    }
    pets = next(dataset for dataset in found.datasets if dataset.path.endswith("pets"))
    assert (pets.files, pets.images, pets.bytes) == (29, 27, 2900)
    assert (found.outside_files, found.outside_bytes) == (15, 1500)
    assert_counts_everything(found, tmp_path)


def test_folders_of_different_kinds_are_datasets_of_their_own(tmp_path):
    make(tmp_path, "a/{}.jpg")
    make(tmp_path, "b/{}.jpg")
    assert kinds(tiering.survey([tmp_path]), tmp_path) == {".": "class folders"}
    assert kinds(tiering.survey([tmp_path / "a", tmp_path / "b"]), tmp_path) == {"a": "flat folder", "b": "flat folder"}
    make(tmp_path, "c/train-{}.tar", size=200_000)
    assert kinds(tiering.survey([tmp_path]), tmp_path) == {
        "a": "flat folder",
        "b": "flat folder",
        "c": "tar files",
    }


def test_times_are_the_newest_and_a_survey_changes_none(tmp_path):
    make(tmp_path, "{}.jpg")
    for number in range(12):
        os.utime(tmp_path / f"{number}.jpg", (2_000_000 + number, 1_000_000 + number))
    before = {path: path.stat().st_atime_ns for path in tmp_path.iterdir()}
    (dataset,) = tiering.survey([tmp_path]).datasets
    assert (dataset.read, dataset.changed) == (2_000_011, 1_000_011)
    assert {path: path.stat().st_atime_ns for path in tmp_path.iterdir()} == before


def test_roots_below_others_and_links_to_them_count_once(tmp_path):
    make(tmp_path, "data/{}.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "loop").symlink_to(tmp_path)
    (tmp_path / "data" / "broken").symlink_to("nowhere")
    found = tiering.survey([tmp_path, tmp_path / "data", tmp_path / "link", tmp_path])
    assert found.roots == (str(tmp_path),)
    assert (found.files, found.bytes) == (12, 1200)
    assert any("counted once" in note for note in found.notes)
    assert any("Links, which are not followed: 3." in note for note in found.notes)


def test_names_that_are_not_utf8_and_control_characters_are_counted(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9\x1b[2J"
    os.mkdir(folder)
    for number in range(12):
        Path(os.fsdecode(folder + b"/\xff%d\n.jpg" % number)).write_bytes(b"x")
    found = tiering.survey([tmp_path])
    (dataset,) = found.datasets
    assert (dataset.files, dataset.path.rpartition("/")[2]) == (12, "caf\\xe9\x1b[2J")
    assert any("not UTF-8, which traces cannot be joined to: 12." in note for note in found.notes)
    tiering.write_survey(found, tmp_path / "survey.json")
    assert tiering.read_survey(tmp_path / "survey.json") == found


def test_an_unreadable_directory_is_named():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        make(root, "data/{}.jpg")
        make(root, "secret/{}.jpg")
        (root / "secret").chmod(0)
        tiering.survey([root])  # imports everything while the standard library can be read
        user = os.geteuid()
        try:
            if user == 0:
                os.seteuid(65534)  # root reads everything
            found = tiering.survey([root])
        finally:
            os.seteuid(user)
    assert found.unreadable == 1
    assert "secret/ (permission denied)" in found.unreadable_examples[0]
    assert found.files == 12


def test_a_directory_that_vanishes_is_counted_as_unreadable(tmp_path):
    found = find_datasets([os.fsencode(tmp_path / "gone")])
    assert (found.unreadable, found.examples) == (1, [f"{tmp_path}/gone/ (no such file or directory)"])


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_find_the_same(tmp_path, monkeypatch, processes):
    for number in range(60):
        make(tmp_path, f"set{number % 7}/train/class{number}/{{}}.jpg", 4)
        make(tmp_path, f"web{number}/{{}}.tar", 2, size=1_000_000 // 2)
    alone = find_datasets([os.fsencode(tmp_path)], processes=1)
    monkeypatch.setattr(found_datasets, "_ALONE", 1)
    monkeypatch.setattr("tiering.sources.trees.directory_totals.SHARED_BYTES", 1)
    shared = find_datasets([os.fsencode(tmp_path)], processes=processes)
    assert shared.datasets == alone.datasets
    assert shared.outside == alone.outside
    assert len(alone.datasets) == 67


def test_a_scan_that_loses_a_process_names_its_roots(tmp_path, monkeypatch):
    for number in range(5):
        make(tmp_path, f"{number}/{{}}.jpg", 2)
    monkeypatch.setattr(found_datasets, "_ALONE", 0)
    monkeypatch.setattr(found_datasets, "_PROGRAM", "tiering.no_such_program")
    with pytest.raises(MachineError, match=f"^{tmp_path}: a process that scanned part of it has ended"):
        find_datasets([os.fsencode(tmp_path)], processes=2)


words = st.sampled_from(["a", "b", "train", "val", "images", "00", "x.zarr", "day=1"])
files = st.sampled_from(["1.jpg", "2.png", "3.tar", "4.parquet", "5.txt", "zarr.json", "data.mdb", "manifest.json"])


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(st.lists(words, max_size=4), files, st.integers(0, 2_000_000)), max_size=25))
def test_any_tree_is_counted_to_the_last_byte(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("tree")
    for folders, name, size in rows:
        path = root.joinpath(*folders, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)
    found = tiering.survey([root])
    assert_counts_everything(found, root)
    paths = [dataset.path for dataset in found.datasets]
    assert len(set(paths)) == len(paths)
    assert paths == sorted(paths)
    stores = [dataset.path for dataset in found.datasets if dataset.kind == "Zarr"]
    assert not any(path.startswith(f"{store}/") for store in stores for path in paths)


def test_a_trace_is_joined_to_the_datasets_by_path(tmp_path, photos):
    (tmp_path / "data").symlink_to(photos)
    files = sorted(photos.rglob("*.jpg"))
    rows = ["path,size,reads,bytes_read,first,last"]
    sizes = {path.relative_to(photos): path.stat().st_size for path in files}
    # As the program named them: through the link.
    rows += [f"{tmp_path}/data/{path},{size},2,{2 * size},0,60" for path, size in sizes.items()]
    rows.append("/elsewhere/x,10,1,10,0,1")
    (tmp_path / "heat.csv").write_text("\n".join(rows))
    found = tiering.survey([tmp_path / "data"], traces=[tmp_path / "heat.csv"])
    ((heat,), job) = (found.jobs[0].datasets, found.jobs[0])
    assert heat.path == found.datasets[0].path == str(photos.resolve())
    assert (heat.files, heat.reads) == (len(files), 2 * len(files))
    assert heat.bytes_read == 2 * sum(path.stat().st_size for path in files)
    assert (job.elsewhere_files, job.elsewhere_bytes, job.duration) == (1, 10, 60)
    other = tiering.survey([photos], traces=[TRACE]).jobs[0]
    assert (other.datasets, other.elsewhere_files) == ((), 302)


@pytest.mark.parametrize(
    ("roots", "kind", "said"),
    [
        ([], UsageError, "at least one directory"),
        (["nowhere"], InputError, "no such directory"),
        ([__file__], InputError, "expected a directory, found a file"),
        (["s3://bucket/photos"], UsageError, "directories of this machine"),
    ],
)
def test_bad_roots_are_refused(roots, kind, said):
    with pytest.raises(kind, match=said):
        tiering.survey(roots)


@pytest.mark.parametrize("text", ["", "{}", '{"format": "tiering-survey"}', "[1]", "\x00"])
def test_a_file_that_is_no_survey_is_refused(tmp_path, text):
    (tmp_path / "survey.json").write_text(text)
    with pytest.raises(InputError, match="not a survey"):
        tiering.read_survey(tmp_path / "survey.json")


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
24 22 0:30 / /data rw,relatime - nfs4 filer:/data rw
25 22 8:2 / /old rw,noatime - xfs /dev/sdb1 rw
26 22 8:3 / /strict rw - xfs /dev/sdc1 rw
27 22 8:4 / /ro ro,relatime - xfs /dev/sdd1 rw
28 24 8:5 / /data/my\\040disk rw,relatime - xfs /dev/sde1 rw
"""


def test_mounts_say_which_reads_they_record():
    mounts = mounted(MOUNTS)
    found = {each.point: each.access_times for each in mounts}
    assert found == {
        "/": "once a day",
        "/proc": "each read",
        "/data": "by the server",
        "/old": "not kept",
        "/strict": "each read",
        "/ro": "not kept",
        "/data/my disk": "once a day",
    }
    assert mount_above("/data/my disk/x", mounts).point == "/data/my disk"
    assert mount_above("/database", mounts).point == "/"
    assert mounted("nonsense\n\n- -\n") == []


def test_mounts_below_a_root_are_named_and_those_of_the_kernel_skipped():
    found = tiering.survey(["/dev"])
    assert any("/dev/shm (tmpfs)" in note for note in found.notes)
    assert any("not entered: /dev/" in note for note in found.notes)


def test_memory_holds_no_file(tmp_path):
    """Memory grows with the number of datasets, not with the number of files."""
    for folder in range(20):
        (tmp_path / f"c{folder}").mkdir()
        for number in range(1000):
            os.close(os.open(tmp_path / f"c{folder}" / f"{number}.jpg", os.O_CREAT | os.O_WRONLY))
    code = f"""
import resource, os
from tiering.dataset.found_datasets import find_datasets
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = find_datasets([{os.fsencode(tmp_path)!r}], processes=1)
assert found.datasets[0].totals.files == 20_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 6 * 1024  # KiB; the names and sizes of all files take 15 MiB


def test_a_survey_knows_when_it_was_taken(tmp_path):
    make(tmp_path, "{}.jpg")
    assert abs(tiering.survey([tmp_path]).taken - time.time()) < 60
