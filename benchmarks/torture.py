"""Any tree of odd files: packed + left out = all files met, to the last one, in convert, verify, profile and manifest.

python -m benchmarks.torture DIR [--make] [--to lmdb|zarr] [--work WORKDIR]

DIR: any directory, tar file or directory of tar files; it is only read. --make: make DIR first, with every kind of file
that can be left out, as far as this user may make it. What is there is counted apart, with os.walk and tarfile and none
of tiering: a file, a link or a special file counts once, and so does a directory that nobody looks into (hidden ones,
@eaDir, __MACOSX, Zarr stores, those that may not be read, and links to a directory that they lie in). Then DIR is
converted, with --images-only where files share a key, appended to its own store, verified against DIR, and profiled.
Each says what it met, and that has to be the number counted apart, and so its bytes. The profile has to leave out of
each kind what the conversion does. Exits with 1 where it is not.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import socket
import stat
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

import tiering
from tiering.dataset.profile import profile_dataset
from tiering.sources.account import Account
from tiering.storage.location import Location
from tiering.store.manifest import read_manifest

_UNLOOKED = ("@eaDir", "__MACOSX", ".ipynb_checkpoints")
_ZARR = ("zarr.json", ".zgroup", ".zarray")
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".jp2", ".avif")


def is_store(directory: str, names: list[str]) -> bool:
    """Tell a Zarr store, which holds metadata and no images beside it, from a directory with a stray file."""
    for mark in _ZARR:
        try:
            found = json.loads(Path(directory, mark).read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and "zarr_format" in found:
            return not any(name.lower().endswith(_IMAGES) for name in names)
    return False


def entries(directory: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[str, int]]:
    """Yield path and bytes of all that counts below a directory."""
    about = os.stat(directory)
    identity = (about.st_dev, about.st_ino)
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        yield directory, 0
        return
    if identity in above or is_store(directory, names):
        yield directory, 0
        return
    for name in names:
        path = os.path.join(directory, name)
        try:
            found = os.stat(path)
        except OSError:
            yield path, os.lstat(path).st_size if name.startswith(".") else 0
            continue
        if stat.S_ISDIR(found.st_mode):
            if name.startswith(".") or name in _UNLOOKED:
                yield path, 0
            else:
                yield from entries(path, (*above, identity))
        elif name.startswith("."):
            yield path, os.lstat(path).st_size
        else:
            yield path, found.st_size if stat.S_ISREG(found.st_mode) else 0


def members(path: str) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of all that counts in a tar file; of a link, those of what it leads to."""
    with tarfile.open(path) as tar:
        sizes = {os.path.normpath(member.name): member for member in tar if not member.isdir()}
        for name, member in sizes.items():
            end, seen = member, 0
            while end is not None and (end.issym() or end.islnk()) and seen < 40:
                base = "" if end.islnk() else os.path.dirname(end.name)
                end, seen = sizes.get(os.path.normpath(os.path.join(base, end.linkname))), seen + 1
            hidden = any(part.startswith(".") or part in _UNLOOKED for part in name.split("/"))
            yield name, member.size if hidden else end.size if end is not None and end.isreg() else 0


def truth(place: Path) -> tuple[int, int]:
    """Count all that is there, and its bytes."""
    if place.is_file():
        rows = list(members(str(place)))
    else:
        rows = list(entries(str(place)))
        tars = [path for path, _ in rows if path.endswith(".tar") and os.path.dirname(path) == str(place)]
        if tiering_reads_tars(place):
            rows = [row for row in rows if row[0] not in tars] + [row for path in tars for row in members(path)]
    return len(rows), sum(size for _, size in rows)


def tiering_reads_tars(place: Path) -> bool:
    """Tell whether a directory is one of tar files; nothing else here asks tiering what a directory is."""
    from tiering.sources.source import open_source  # noqa: PLC0415

    return open_source(place).kind == "tar"


def accounts(place: Path, work: Path, kind: str) -> Iterator[tuple[str, Account | None]]:
    """Yield what each verb says of the place."""
    store = work / f"torture.{kind}"
    manifest = tiering.convert(place, store, kind, on_error="skip")
    yield "convert", manifest.account
    yield "manifest", read_manifest(Location.of(store)).account
    lines = (store / "left-out.tsv").read_bytes().count(b"\n") - 1 if (store / "left-out.tsv").exists() else 0
    named = sum(left.count for left in manifest.account.left_out.values()) if manifest.account else -1
    print(f"left-out.tsv names {lines:,} of {named:,} that are left out")
    if lines != named:
        yield "left-out.tsv", None
    found = tiering.verify(store, source=place)
    print(*found.problems[:10], sep="\n")
    yield "verify", found.account if found.ok else None
    yield "append", tiering.append(place, store, on_error="skip").account
    yield "profile", profile_dataset(place, sample="all").account


def by_kind(account: Account | None) -> dict[str, tuple[int, int]]:
    """Return number and bytes of what is packed, and of each kind that is left out."""
    if account is None:
        return {}
    kinds = {kind: (left.count, left.bytes) for kind, left in account.left_out.items()}
    fields = (account.field_files, account.field_bytes)
    return {"packed": (account.packed, account.packed_bytes), "fields": fields} | kinds


def make(place: Path) -> None:
    """Make a tree with every kind of file."""

    def put(name: str | bytes, data: bytes) -> None:
        path = Path(os.fsdecode(os.fsencode(place) + b"/" + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def image(kind: str, side: int = 20) -> bytes:
        file = io.BytesIO()
        Image.linear_gradient("L").resize((side, side)).convert("RGB").save(file, kind)
        return file.getvalue()

    formats = (
        "JPEG",
        "PNG",
        "WEBP",
        "GIF",
        "BMP",
        "TIFF",
        "PPM",
        "JPEG2000",
        "AVIF",
        "TGA",
        "DDS",
        "QOI",
        "PCX",
        "SGI",
    )
    extensions = {"JPEG2000": "jp2"}
    for number, kind in enumerate(formats):
        put(f"formats/{number}.{extensions.get(kind, kind.lower())}", image(kind))
        put(f"cut/{number}.{extensions.get(kind, kind.lower())}", image(kind)[:60])
        put(f"unnamed/{number}", image(kind))
    photo = image("JPEG")
    for name in (
        "a.jpg_large",
        "b.jpg.1",
        "c.txt.jpg",
        "D.JPEG",
        b"caf\xe9\xff.jpg",
        "tab\tline\n.jpg",
        "[x]*?.jpg",
        "-f.jpg",
    ):
        put(b"names/" + os.fsencode(name), photo)
    for extension, data in (("txt", b"a cat"), ("json", b"{}"), ("mask.png", image("PNG")), ("png", image("PNG"))):
        put("pairs/0.jpg", photo)
        put(f"pairs/0.{extension}", data)
    put("pairs/metadata.jsonl", b"{}")
    put("pointers/lfs.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
    put("pointers/annex.jpg", b"/annex/objects/SHA256E-s1--2.jpg\n")
    put("pointers/text.jpg", b"../.git/annex/objects/xx/yy/MD5E-s1--2.jpg")
    put("pointers/set.dvc", b"outs:\n- md5: 1.dir\n  path: set\n")
    unpacked = {
        "raw.nef": b"MM\0*",
        "raw.cr3": b"\0\0\0\x18ftypcrx ",
        "drawing.svg": b"<svg/>",
        "x.exr": b"v/1\x01",
        "scan.dcm": b"\0" * 128 + b"DICM",
        "a.heic": b"\0\0\0\x18ftypheic",
        "b.jxl": b"\xff\x0a",
    }
    for name, data in unpacked.items():
        put(f"unpacked/{name}", data)
    put("empty/zero.jpg", b"")
    put("empty/zero", b"")
    put("text/page.jpg", b"<html>not found</html>")
    put("text/README.md", b"words")
    for name in (
        ".hidden.jpg",
        ".DS_Store",
        ".git/x.jpg",
        "@eaDir/x.jpg",
        "__MACOSX/._x.jpg",
        ".ipynb_checkpoints/x.jpg",
    ):
        put(f"text/{name}", photo)
    for name, image_name in (("array", "c/0"), ("stray", "1.jpg")):
        put(f"{name}/zarr.json", b'{"zarr_format": 3}')
        put(f"{name}/{image_name}", photo)
    links = {
        "gone.jpg": "nowhere.jpg",
        "self.jpg": "self.jpg",
        "annex.jpg": "../.git/annex/objects/x",
        "up": "..",
        "file.jpg": "../formats/0.jpeg",
        "folder": "../formats",
        ".gone": "nowhere",
        "x/y.jpg": "../../text/README.md",
    }
    for name, target in links.items():
        path = place / "links" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    os.mkfifo(place / "links" / "pipe.jpg")
    here = Path.cwd()
    os.chdir(place / "links")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
    os.chdir(here)
    put("closed/x.jpg", photo)
    (place / "closed").chmod(0)
    put("shut/file.jpg", photo)
    put("shut/file", photo)
    (place / "shut" / "file.jpg").chmod(0)
    (place / "shut" / "file").chmod(0)
    (place / "nothing").mkdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path, metavar="DIR")
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--to", choices=("lmdb", "zarr"), default="lmdb")
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    if asked.make:
        make(asked.place)
    if asked.work:
        asked.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="torture-", dir=asked.work))
    count, size = truth(asked.place)
    print(f"counted apart: {count:,} files, {size:,} bytes")
    wrong = 0
    written: Account | None = None
    try:
        for verb, account in accounts(asked.place, work, asked.to):
            said = (
                f"{account.met:,} met, {account.met_bytes:,} bytes, {account.packed:,} packed" if account else "wrong"
            )
            same = account is not None and (account.met, account.met_bytes) == (count, size)
            print(f"{verb}: {said}{'' if same else '  <- not what was counted apart'}")
            written = account if verb == "convert" else written
            if same and verb == "profile" and by_kind(account) != by_kind(written):
                same = False
                print("    <- not what convert wrote")
            wrong += not same
            for kind, left in account.left_out.items() if account and verb in ("convert", "profile") else ():
                print(f"    {kind}: {left.count:,}, {left.bytes:,} bytes ({', '.join(left.examples[:3])})")
    finally:
        shutil.rmtree(work)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
