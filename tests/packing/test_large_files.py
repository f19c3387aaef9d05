"""One huge or sparse file among images: named like any bad file, and no memory or disk is taken for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile

import fsspec
import numpy as np
import pytest

import tiering
from tests.trees import picture, put
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError
from tiering.images.image import LARGEST_BYTES
from tiering.testing import tree

TIB = 1 << 40
SAID = "1,099,511,627,776 bytes: an image may have 1,073,741,824 at most"


def sparse(path, size=TIB):
    """Write an image that begins and ends as one, with a hole in its middle."""
    data = picture()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data[:-2])
        file.truncate(size)
        file.seek(size - 2)
        file.write(data[-2:])


@pytest.fixture
def among(tmp_path):
    for number in range(4):
        put(tmp_path / "photos", f"{number}.png", picture(16 + number, format="PNG"))
    good = tree(tmp_path / "photos")
    sparse(tmp_path / "photos" / "huge.jpg")
    return tmp_path / "photos", good


@pytest.mark.parametrize("kind", ["lmdb", "zarr"])
@pytest.mark.parametrize("on_error", ["fail", "skip", "quarantine"])
def test_a_sparse_file_of_a_tebibyte_is_a_bad_file(among, tmp_path, kind, on_error):
    source, good = among
    if on_error == "fail":
        with pytest.raises(DatasetError) as raised:
            tiering.convert(source, tmp_path / "store", kind)
        assert f"huge.jpg: {SAID}" in str(raised.value)
        return
    manifest = tiering.convert(source, tmp_path / "store", kind, codec="auto", on_error=on_error)
    assert (manifest.samples, manifest.left_out) == (4, 1)
    assert manifest.settings.shard_bytes <= 16 << 20
    assert f"huge.jpg\tdamaged\t{1 << 40}\t{SAID}" in (tmp_path / "store" / "left-out.tsv").read_text()
    assert not (tmp_path / "store" / "quarantine").exists()
    assert tiering.verify(tmp_path / "store", source=source).ok
    os.unlink(source / "huge.jpg")
    tiering.export(tmp_path / "store", tmp_path / "again")
    assert tree(tmp_path / "again") == good


def test_profile_append_and_reading_the_folder_bear_it(among, tmp_path):
    source = among[0]
    sparse(source / "twin.jpg")
    with (source / "black.gif").open("wb") as file:
        file.truncate(TIB)
    found = profile_dataset(source)
    assert found.damaged_count == 3
    assert sum(SAID in line for line in found.damaged) == 3
    folder = tiering.open_store(source)
    with pytest.raises(DatasetError, match="may have"):
        folder.read(np.arange(len(folder)))
    put(tmp_path / "first", "first.png", picture(format="PNG"))
    tiering.convert(tmp_path / "first", tmp_path / "store", "lmdb")
    manifest = tiering.append(source, tmp_path / "store", on_error="skip")
    assert (manifest.samples, manifest.left_out) == (5, 3)


def test_pixels_and_a_table_bear_it(among, tmp_path):
    source, good = among
    manifest = tiering.convert(source, tmp_path / "pixels", "zarr", pixels=tiering.Pixels(8, 8), on_error="skip")
    assert (manifest.samples, manifest.left_out) == (4, 1)
    put(source, "list.csv", b"path\n" + b"\n".join([*good, b"huge.jpg"]) + b"\n")
    manifest = tiering.convert(source / "list.csv", tmp_path / "store", "lmdb", on_error="quarantine")
    assert (manifest.samples, manifest.left_out) == (4, 1)
    assert tiering.verify(tmp_path / "store", source=source / "list.csv").ok


def test_a_huge_member_of_a_tar_is_a_bad_file(tmp_path):
    good = picture(format="PNG")
    with (tmp_path / "photos.tar").open("wb") as file:
        for name, size in (("a.png", len(good)), ("huge.jpg", LARGEST_BYTES + 1), ("b.png", len(good))):
            member = tarfile.TarInfo(name)
            member.size = size
            file.write(member.tobuf(tarfile.GNU_FORMAT))
            if size == len(good):
                file.write(good)
            file.truncate(file.seek(-(-size // 512) * 512 - (len(good) if size == len(good) else 0), os.SEEK_CUR))
        file.write(bytes(1024))
    manifest = tiering.convert(tmp_path / "photos.tar", tmp_path / "store", "lmdb", on_error="quarantine")
    assert (manifest.samples, manifest.left_out) == (2, 1)


def test_a_huge_object_of_a_bucket_is_not_fetched(monkeypatch, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe({"/large/a.png": picture(format="PNG"), "/large/huge.png": picture(20, format="PNG")})
    listed = type(memory).ls
    swell = {"/large/huge.png": TIB}

    def ls(self, path, detail=True, **how):
        found = listed(self, path, detail=True, **how)
        return [each | {"size": swell.get(each["name"], each["size"])} for each in found]

    monkeypatch.setattr(type(memory), "ls", ls)
    manifest = tiering.convert("memory://large", tmp_path / "store", "lmdb", on_error="skip")
    assert (manifest.samples, manifest.left_out) == (1, 1)
    assert SAID in (tmp_path / "store" / "left-out.tsv").read_text()


#: Bytes of private memory in which a worker packs an image of LARGEST_BYTES: docs/converting.md.
BOUND = 5 << 29

WORKER = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[4]), int(sys.argv[4])))
import tiering
manifest = tiering.convert(sys.argv[1], sys.argv[2], sys.argv[3], codec="none", workers=1, on_error="skip")
print(json.dumps([manifest.samples, manifest.image_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lmdb", "zarr"])
def test_a_worker_packs_the_largest_image_in_two_and_a_half_gibibytes(tmp_path, kind):
    sparse(tmp_path / "photos" / "0.jpg", LARGEST_BYTES)
    sparse(tmp_path / "photos" / "1.jpg", LARGEST_BYTES)
    sparse(tmp_path / "photos" / "2.jpg", LARGEST_BYTES + 1)
    words = [sys.executable, "-c", WORKER, tmp_path / "photos", tmp_path / "store", kind, str(BOUND)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    samples, size, peak = json.loads(done.stdout)
    assert (samples, size) == (2, 2 * LARGEST_BYTES)
    assert peak << 10 < BOUND
