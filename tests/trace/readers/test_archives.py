"""The compressed directory of a job's logs is read as it is, and nothing in it leads elsewhere or fills the disk."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import polars as pl
import pytest

from tiering.errors import TraceError
from tiering.trace.readers import archives, read_trace

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"
GOOD = b'7 1.1 openat(AT_FDCWD, "/d/a", O_RDONLY) = 3\n7 1.2 read(3, "abc", 10) = 10\n'


def tarred(to, *members, mode="w:gz"):
    """Write members, each a name or a TarInfo, with the lines of a trace."""
    with tarfile.open(to, mode) as archive:
        for member in members:
            entry = tarfile.TarInfo(member) if isinstance(member, str) else member
            entry.size = len(GOOD) if entry.isreg() else 0
            archive.addfile(entry, io.BytesIO(GOOD) if entry.isreg() else None)
    return to


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where archives are unpacked; nothing may be left there."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("kind", ["tar", "gztar", "xztar", "zip"])
def test_a_packed_directory_gives_the_events_of_the_directory(tmp_path, scratch, kind):
    packed = Path(shutil.make_archive(str(tmp_path / "dlio"), kind, TRACES, "dlio"))
    trace, plain = read_trace(packed), read_trace(TRACES / "dlio")
    events = pl.concat(trace.batches)
    assert events.equals(pl.concat(plain.batches))
    assert (trace.path, trace.format, trace.notes) == (packed, plain.format, plain.notes)


def test_an_archive_that_is_never_read_leaves_nothing(tmp_path, scratch):
    trace = read_trace(tarred(tmp_path / "a.tgz", "log.7"))
    assert len(list(scratch.iterdir())) == 1
    del trace


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\nb", "x/" * 3000 + "y"])
def test_a_name_that_leads_elsewhere_refuses_the_archive(tmp_path, scratch, name):
    with pytest.raises(TraceError, match=r"a\.tgz: .* Unpack it yourself"):
        read_trace(tarred(tmp_path / "a.tgz", name))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), GOOD)
    with pytest.raises(TraceError):
        read_trace(tmp_path / "a.zip")


def test_links_and_devices_are_never_made(tmp_path, scratch):
    link, hard, device = (tarfile.TarInfo(f"special.{number}") for number in range(3))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "log.7"
    device.type = tarfile.CHRTYPE
    through = tarfile.TarInfo("special.0/log.8")
    events = pl.concat(read_trace(tarred(tmp_path / "a.tgz", "log.7", link, hard, device, through)).batches)
    assert sorted(events["op"]) == ["open", "open", "read", "read"]


def test_more_files_or_bytes_than_logs_can_have_are_refused(tmp_path, scratch, monkeypatch):
    packed = tarred(tmp_path / "a.tgz", *(f"log.{number}" for number in range(4)))
    monkeypatch.setattr(archives, "MEMBERS", 3)
    with pytest.raises(TraceError, match="it holds more than 3 files"):
        read_trace(packed)
    monkeypatch.setattr(archives, "MEMBERS", 4)
    monkeypatch.setattr(archives, "TOTAL", len(GOOD) * 3)
    with pytest.raises(TraceError, match="it unpacks to more than"):
        read_trace(packed)


def test_a_damaged_archive_is_refused_and_one_without_a_trace_says_so(tmp_path, scratch):
    packed = tarred(tmp_path / "a.tgz", *(f"log.{number}" for number in range(50)))
    content = packed.read_bytes()
    packed.write_bytes(content[: len(content) // 2])
    with pytest.raises(TraceError):
        read_trace(packed)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    with pytest.raises(TraceError, match="a directory without a trace"):
        read_trace(tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("logs/log.7.gz", gzip.compress(GOOD)[:-12])
    with pytest.raises(TraceError, match=r"c\.zip/logs/log\.7\.gz: .*broken compressed data"):
        read_trace(tmp_path / "c.zip")


def test_a_tar_whose_last_member_is_a_zip_is_read_as_the_tar(tmp_path, scratch):
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        archive.writestr("old.8", GOOD * 5)
    with tarfile.open(tarred(tmp_path / "a.tar", "log.7", mode="w"), "a") as archive:
        archive.add(tmp_path / "old.zip", "old.zip")
    assert len(pl.concat(read_trace(tmp_path / "a.tar").batches)) == 2


@pytest.mark.parametrize("damage", ["checksum", "cut in a header", "cut before a header", "no end"])
def test_a_tar_that_breaks_off_after_its_first_member_is_refused(tmp_path, scratch, damage):
    packed = tarred(tmp_path / "a.tar", "log.7", "log.8", mode="w")
    content = bytearray(packed.read_bytes())
    content[1024 + 10] ^= 0xFF if damage == "checksum" else 0
    cut = {"cut in a header": 1024 + 100, "cut before a header": 1024, "no end": 2048}.get(damage)
    packed.write_bytes(content[:cut])
    with pytest.raises(TraceError, match=r"a\.tar: .*cannot be unpacked"):
        read_trace(packed)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_headers_are_never_held_without_a_limit(tmp_path, scratch, kind):
    packed = tarred(tmp_path / "a.tar", "log.7", mode="w")
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = kind, 32 << 20
    content = packed.read_bytes()
    bomb = long.tobuf(tarfile.GNU_FORMAT) + bytes(long.size)
    for place in (0, 1024):
        with gzip.open(packed, "wb", compresslevel=1) as file:
            file.write(content[:place] + bomb + content[place:])
        tracemalloc.start()
        with pytest.raises(TraceError, match="bytes of headers"):
            read_trace(packed)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
        tracemalloc.stop()


def test_members_that_are_no_files_count(tmp_path, scratch, monkeypatch):
    monkeypatch.setattr(archives, "MEMBERS", 3)
    links = [tarfile.TarInfo(f"link.{number}") for number in range(4)]
    for link in links:
        link.type, link.linkname = tarfile.SYMTYPE, "log.7"
    with pytest.raises(TraceError, match="more than 3 files"):
        read_trace(tarred(tmp_path / "a.tgz", *links))


def test_damage_names_the_member(tmp_path, scratch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("logs/log.7", GOOD.replace(b"7 1.", b"1.") + b"what?\n" + GOOD.replace(b"7 1.", b"1."))
    with pytest.raises(TraceError, match=r"a\.zip/logs/log\.7, line 3"):
        list(read_trace(tmp_path / "a.zip").batches)


def test_what_holds_no_trace_is_counted_and_named(tmp_path, scratch):
    logs = tmp_path / "logs"
    (logs / "deep").mkdir(parents=True)
    (logs / "log.7").write_bytes(GOOD)
    (logs / "README.md").write_text("Nothing here.\n")
    (logs / "deep" / "empty").write_bytes(b"")
    (logs / "blank").write_bytes(b"\n")
    (logs / "link").symlink_to("nowhere")
    (logs / "elsewhere").symlink_to(tmp_path)
    said = "5 of 6 files hold no trace and were left out: README.md, blank, deep/empty, elsewhere, link."
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", logs))
    for place in (logs, packed):
        trace = read_trace(place)
        assert len(pl.concat(trace.batches)) == 2
        assert trace.notes == [said]
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        archive.writestr("log.7", GOOD)
        for number in range(9):
            archive.writestr(f"more{number}", "nothing")
    (note,) = read_trace(tmp_path / "many.zip").notes
    assert note.startswith("9 of 10 files hold no trace")
    assert note.endswith("more0, more1, more2, more3, more4 and 4 more.")


def test_a_pipe_is_refused_before_its_beginning_is_lost(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TraceError, match=r"can be read only once.* Write it to a file first"):
        read_trace(tmp_path / "pipe")
