"""Bad input on the command line: one clear line, the documented exit code, and nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from tests import warm
from tests.conftest import PROGRAM

GARBAGE = bytes(range(256)) * 40


def fails(done, code, *words):
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert done.stdout == ""


def _empty(place, photos):
    place.mkdir()


def _no_images(place, photos):
    place.mkdir()
    (place / "notes.txt").write_text("nothing to see")


def _missing(place, photos):
    pass


def _a_file(place, photos):
    place.write_text("a file")


@pytest.mark.parametrize("make", [_empty, _no_images, _missing, _a_file])
@pytest.mark.parametrize("verb", [["profile"], ["recommend"], ["convert", "--to", "lmdb"], ["convert", "--to", "zarr"]])
def test_a_dataset_that_is_none(program, photos, tmp_path, make, verb):
    make(tmp_path / "photos", photos)
    output = [tmp_path / "out"] if verb[0] == "convert" else []
    before = sorted(os.listdir(tmp_path))
    fails(program(verb[0], tmp_path / "photos", *output, *verb[1:]), 3, "photos")
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("kind", ["lmdb", pytest.param("zarr", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("contents", "words"), [(b"", "zero"), (GARBAGE, "image"), ("cut", "truncated")])
def test_an_image_that_is_none(program, some_photos, tmp_path, kind, contents, words):
    victim = min(some_photos.rglob("*.jpg"))
    victim.write_bytes(victim.read_bytes()[:-50] if contents == "cut" else contents)
    done = program("convert", some_photos, tmp_path / "out", "--to", kind)
    fails(done, 3, words, victim.name)
    assert program("profile", some_photos).returncode == 0
    # What was packed is kept for a conversion that leaves the image out; nothing opens it before.
    assert sorted(os.listdir(tmp_path)) == ["out.partial", "photos"]
    assert program("verify", tmp_path / "out.partial").returncode == 3
    assert program("convert", some_photos, tmp_path / "out", "--to", kind, "--on-error", "skip").returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["out", "photos"]


def test_an_unreadable_file_is_named(program, some_photos, tmp_path, without_privilege):
    victim = min(some_photos.rglob("*.jpg"))
    victim.chmod(0)
    done = program("convert", some_photos, tmp_path / "out", "--to", "lmdb", prefix=without_privilege)
    fails(done, 3, victim.name, "permission denied")


@pytest.mark.parametrize("kind", [pytest.param("lmdb", marks=pytest.mark.slow), "zarr"])
def test_a_fifo_a_loop_and_an_odd_name_do_not_stop_a_conversion(program, some_photos, tmp_path, kind):
    os.mkfifo(some_photos / "pipe.jpg")
    (some_photos / "loop").symlink_to(some_photos, target_is_directory=True)
    image = min(some_photos.rglob("*.jpg"))
    shutil.copy(os.fsencode(image), os.fsencode(some_photos) + b"/caf\xe9.jpg")
    count = sum(1 for path in some_photos.rglob("*.*") if path.is_file())
    done = program("convert", some_photos, tmp_path / "out", "--to", kind)
    assert done.returncode == 0, done.stderr
    assert f"{count:,} samples" in done.stdout
    checked = program("verify", tmp_path / "out", "--source", some_photos)
    assert checked.returncode == 0, checked.stdout
    shown = program("profile", some_photos)
    assert shown.returncode == 0
    assert "FIFO" in shown.stdout + shown.stderr
    assert "not UTF-8" in shown.stderr


def test_an_existing_output_is_a_usage_error(program, photos, tmp_path):
    assert program("convert", photos, tmp_path / "out", "--to", "lmdb").returncode == 0
    fails(program("convert", photos, tmp_path / "out", "--to", "lmdb"), 2, "--overwrite")
    assert program("convert", photos, tmp_path / "out", "--to", "zarr", "--overwrite").returncode == 0


@pytest.mark.parametrize("verb", ["verify", "info", "bench", "export"])
def test_an_unfinished_store_is_opened_by_no_verb(program, photos, tmp_path, verb):
    program("convert", photos, tmp_path / "store", "--to", "lmdb")
    (tmp_path / "store" / "manifest.json").unlink()
    more = [tmp_path / "out"] if verb == "export" else []
    done = program(verb, tmp_path / "store", *more)
    assert done.returncode == 3
    assert "not a finished store" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_verify_of_a_damaged_store_answers_no(program, photos, tmp_path):
    program("convert", photos, tmp_path / "store", "--to", "lmdb")
    shard = tmp_path / "store" / "shard-00000.mdb"
    with shard.open("r+b") as file:
        file.seek(shard.stat().st_size // 2)
        file.write(b"damage")
    done = program("verify", tmp_path / "store")
    assert done.returncode == 1
    assert "CRC-32C" in done.stdout


@pytest.mark.parametrize("verb", ["classify", "profile"])
@pytest.mark.parametrize("contents", [b"", GARBAGE, b"hello\nworld\n" * 100, b'{"format": "other"}'])
def test_garbage_is_no_trace(program, photos, tmp_path, verb, contents):
    trace = tmp_path / "trace"
    trace.write_bytes(contents)
    words = [photos, "--trace", trace] if verb == "profile" else [trace]
    fails(program(verb, *words), 3, str(trace))


@pytest.mark.parametrize(
    ("kib", "kind"),
    [
        *((40, "lmdb"), (300, "zarr"), (1200, "lmdb")),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in ((40, "zarr"), (300, "lmdb"), (1200, "zarr"))),
    ],
)
def test_a_full_disk_leaves_nothing(photos, in_small_tmpfs, tmp_path, kind, kib):
    done = in_small_tmpfs(kib, [PROGRAM, "convert", photos, "small/store", "--to", kind])
    fails(done, 4, "no space left on device")
    assert (tmp_path / "left").read_text() == ""


def test_interrupted_by_the_user_leaves_nothing(photos, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(photos, source / "0")
    for number in range(1, 30):
        shutil.copytree(source / "0", source / str(number), copy_function=os.link)
    with warm.start("convert", source, tmp_path / "store", "--to", "lmdb", own_session=True) as process:
        while not (tmp_path / "store.partial").exists():
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.strip().splitlines()[-1].startswith("Interrupted")
    assert sorted(os.listdir(tmp_path)) == ["source"]
