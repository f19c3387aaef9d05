"""The attacks: each is a small value that says what to do to a copy of which base."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from tests.attack.fields import VALUES, attacks_on, fields, put, renamed, text_of
from tiering.cache.cached_datasets import DatasetNotes
from tiering.cache.directory import Marker
from tiering.packing.listing import SCHEMA
from tiering.packing.workspace import ConversionRecord
from tiering.store.index import COLUMNS
from tiering.store.manifest import Manifest, Shard

#: What may lie in the place of a file.
FILES = ("truncated", "half", "empty", "longer", "sparse", "link", "device", "fifo", "directory", "circle", "noise")

#: What may stand in a column.
NUMBERS = ("huge", "negative", "most-negative", "reversed", "shorter", "longer", "wider")

#: Attacks on documents that no model reads.
_COARSE = ("wrong-type", "huge", "negative", "absolute", "deep", "truncated", "missing")

BOMBS = ("gzip", "zstd", "lz4", "blosc")
_LIES = 60


@dataclasses.dataclass(frozen=True)
class Case:
    """base: what is copied; kind: of the attack; file: relative to the base; path: of the field; attack: its name."""

    base: str
    kind: str
    file: str
    attack: str
    path: tuple[str | int, ...] = ()

    @property
    def name(self) -> str:
        """What the case is called in a report."""
        return f"{self.base}:{self.file}:{'.'.join(map(str, self.path))}:{self.attack}"


def every(root: Path) -> list[Case]:
    """All attacks on the bases below root."""
    return [*_json_cases(root), *_receipts(root), *_columns(), *_files(root), *_lies(), *_bombs()]


def _json_cases(root: Path) -> Iterator[Case]:
    """Documents, beside the schemas of the models that read them."""
    documents: list[tuple[str, str, dict[str, Any] | None]] = [
        (base, "store/manifest.json", Manifest.model_json_schema()) for base in ("lmdb", "pixels")
    ]
    documents.append(("unfinished", "store/.tiering/plan.json", ConversionRecord.model_json_schema()))
    documents.append(("unfinished", "store/.tiering/lock", None))
    documents += [("zstd", f"store/{name}", None) for name in ("data/zarr.json", "index/size/zarr.json")]
    documents.append(("cache", "cache/tiering-cache.json", _schema(Marker)))
    (about,) = (root / "bases" / "cache" / "cache" / "datasets").glob("*/about.json")
    documents.append(("cache", str(about.relative_to(root / "bases" / "cache")), _schema(DatasetNotes)))
    for base, file, schema in documents:
        document = json.loads((root / "bases" / base / file).read_text())
        for number, path in enumerate(fields(document, schema)):
            # Of what is packed otherwise only what differs, and of documents without a model the coarser attacks.
            if base == "pixels" and path[0] not in ("settings", "shards", "documents", "kind"):
                continue
            for attack in attacks_on(_old(document, path), number) if schema else _COARSE:
                yield Case(base, "json", file, attack, path)
            if path[:-1] and isinstance(path[-1], str):
                yield Case(base, "name", file, "path", path)
                yield Case(base, "name", file, "absolute", path)


def _schema(kind: type[Any]) -> dict[str, Any]:
    return {"properties": {field.name: {} for field in dataclasses.fields(kind)}}


def _receipts(root: Path) -> Iterator[Case]:
    shard = [("shard", name) for name in Shard.model_fields]
    for receipt in sorted((root / "bases" / "unfinished" / "store" / ".tiering").glob("*.npz"))[:1]:
        file = f"store/.tiering/{receipt.name}"
        with np.load(receipt) as arrays:
            about = json.loads(bytes(arrays["about"]))
        for number, path in enumerate(dict.fromkeys([*fields(about), *shard])):
            for attack in attacks_on(_old(about, path), number):
                yield Case("unfinished", "receipt", file, attack, path)
        for column in COLUMNS:
            for attack in (*NUMBERS, "pickled", "deflated", "claims"):
                yield Case("unfinished", "receipt-column", file, attack, (column,))


def _columns() -> Iterator[Case]:
    for base in ("lmdb", "zstd"):
        for column in COLUMNS:
            for attack in NUMBERS:
                yield Case(base, "column", f"store/index/{column}/c/0", attack, (column,))
    for column in SCHEMA:
        for attack in NUMBERS:
            yield Case("unfinished", "column", f"store/.tiering/listing/{column}", attack, (column,))


def _files(root: Path) -> Iterator[Case]:
    for base in ("lmdb", "zstd", "pixels", "unfinished", "cache"):
        above = root / "bases" / base
        wanted = {"cache": "cache", "unfinished": "store/.tiering", "zstd": "store/data", "pixels": "store/images"}.get(
            base, "store"
        )
        files = [str(path.relative_to(above)) for path in sorted((above / wanted).rglob("*")) if path.is_file()]
        extents = [name for name in files if "/extents/" in name or "/data/c/" in name or "/images/c/" in name]
        for file in [name for name in files if name not in extents[1:]]:
            for attack in FILES:
                yield Case(base, "file", file, attack)


def _lies() -> Iterator[Case]:
    for number in range(_LIES):
        yield Case("lmdb", "lie", "store/shard-00000.mdb", str(number))


def _bombs() -> Iterator[Case]:
    for codec in BOMBS:
        for attack in ("grows", "claims", "noise", "table-huge", "table-negative"):
            yield Case(codec, "bomb", "store/data/c/0", attack)


def apply(case: Case, sandbox: Path) -> bool:
    """Do to the copy in the sandbox what the case says; False where the base has no such place."""
    file = sandbox / case.file
    victim = sandbox / "victim.txt"
    if case.attack in ("link", "device"):
        (sandbox / "store" / "link").symlink_to(victim)
        (sandbox / "store" / "device").symlink_to("/dev/zero")
    if case.kind in ("json", "name"):
        document = json.loads(file.read_text())
        value = VALUES[case.attack](_old(document, case.path), str(victim))
        change = renamed if case.kind == "name" else put
        changed = change(document, case.path, value)
        if changed is None or changed == document:
            return False
        if case.file.endswith("manifest.json") and case.path != ("crc32c",):
            _sign(changed)
        file.write_bytes(text_of(changed))
    else:
        {
            "receipt": _receipt,
            "receipt-column": _receipt_column,
            "column": _column,
            "file": _file,
            "lie": _lie,
            "bomb": _bomb,
        }[case.kind](case, file, victim)
    if not case.file.endswith("manifest.json"):
        sign(sandbox / "store")
    return True


def _old(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _sign(manifest: dict[str, Any]) -> None:
    manifest.pop("crc32c", None)
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["crc32c"] = google_crc32c.value(canonical.encode())


def sign(store: Path) -> None:
    """Name in the manifest the CRC-32C and the size of what lies there now, so that they protect nothing."""
    path = store / "manifest.json"
    if not path.is_file() or path.is_symlink():
        return
    try:
        manifest = json.loads(path.read_text())
    except ValueError:
        return

    def crc(name: str) -> int | None:
        found = store / name
        small = found.is_file() and not found.is_symlink() and found.stat().st_size < 1 << 30
        return google_crc32c.value(found.read_bytes()) if small else None

    for name in manifest["columns"]:
        manifest["columns"][name] = crc(f"{manifest['index']}/{name}/c/0") or manifest["columns"][name]
    for name in manifest["documents"]:
        manifest["documents"][name] = crc(name) or manifest["documents"][name]
    for shard in manifest["shards"]:
        if (found := crc(shard["name"])) is not None:
            shard["crc32c"], shard["bytes"] = found, (store / shard["name"]).stat().st_size
    _sign(manifest)
    path.write_text(json.dumps(manifest))


def _numbers(column: np.ndarray, attack: str) -> np.ndarray:
    if not len(column):
        return column
    column = column.copy()
    most = np.iinfo(column.dtype)
    if attack == "huge":
        column[len(column) // 2] = most.max
    elif attack == "negative":
        column[len(column) // 2] = max(-2, most.min) if most.min < 0 else most.max - 1
    elif attack == "most-negative":
        column[:] = most.min
    elif attack == "reversed":
        column = column[::-1].copy()
    elif attack == "shorter":
        column = column[:-1]
    elif attack == "longer":
        column = np.concatenate([column, column])
    elif attack == "wider":
        column = column.astype("<f8")
    return column


def _column(case: Case, file: Path, victim: Path) -> None:
    dtype = (SCHEMA if "listing" in case.file else COLUMNS)[str(case.path[0])]
    _numbers(np.fromfile(file, dtype=dtype), case.attack).tofile(file)


def _receipt(case: Case, file: Path, victim: Path) -> None:
    with np.load(file) as arrays:
        about = json.loads(bytes(arrays["about"]))
        columns = {name: arrays[name] for name in COLUMNS}
    changed = put(about, case.path, VALUES[case.attack](_old(about, case.path), str(victim)))
    np.savez(file, **columns, about=np.frombuffer(text_of(changed if changed is not None else {}), np.uint8))


def _receipt_column(case: Case, file: Path, victim: Path) -> None:
    (column,) = case.path
    with np.load(file) as arrays:
        held = dict(arrays)
    if case.attack == "pickled":
        held[column] = np.array([os.system] * 2, dtype=object)
    elif case.attack in NUMBERS:
        held[column] = _numbers(held[column], case.attack)
    np.savez(file, **held)
    if case.attack in ("deflated", "claims"):
        with zipfile.ZipFile(file) as packed:
            members = {name: packed.read(name) for name in packed.namelist()}
        data = io.BytesIO()
        np.save(data, np.zeros(200 << 20, np.uint8) if case.attack == "deflated" else held[column])
        members[f"{column}.npy"] = data.getvalue().replace(b"'shape': (1,), }      ", b"'shape': (9999999,), }")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for name, content in members.items():
                packed.writestr(name, content)


def _file(case: Case, file: Path, victim: Path) -> None:
    attack = case.attack
    data = file.read_bytes()
    file.unlink()
    if attack == "link":
        file.symlink_to(victim)
    elif attack == "device":
        file.symlink_to("/dev/zero")
    elif attack == "fifo":
        os.mkfifo(file)
    elif attack == "directory":
        file.mkdir()
    elif attack == "circle":
        file.symlink_to(file.name)
    elif attack == "sparse":
        with file.open("wb") as made:
            made.write(data[:100])
            made.truncate(1 << 40)
    else:
        noise = random.Random(case.name).randbytes(len(data))
        contents = {"truncated": data[:-1], "half": data[: len(data) // 2], "empty": b"", "longer": data + b"\0" * 8192}
        file.write_bytes(contents.get(attack, noise))


def _lie(case: Case, file: Path, victim: Path) -> None:
    """Write wrong numbers into the pages of an LMDB file: headers, pointers to nodes, and nodes of leaves and roots."""
    dice = random.Random(int(case.attack))
    data = bytearray(file.read_bytes())
    pages = len(data) // 4096
    kinds = [int.from_bytes(data[page * 4096 + 10 : page * 4096 + 12], "little") for page in range(pages)]
    nodes = [page for page, kind in enumerate(kinds) if kind in (1, 2)]
    for _ in range(dice.choice((1, 1, 3, 20))):
        page = dice.choice(nodes) if dice.random() < 0.8 else dice.randrange(pages)
        upper = int.from_bytes(data[page * 4096 + 14 : page * 4096 + 16], "little")
        places = (dice.randrange(0, 32, 2), dice.randrange(32, 200, 2), dice.randrange(min(upper, 4000), 4096, 2))
        at = page * 4096 + dice.choice(places if page in nodes else places[:2])
        size = dice.choice((1, 2, 4, 8))
        value = dice.choice((0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, pages, pages * 7, dice.getrandbits(64)))
        data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    file.write_bytes(data)


def _bomb(case: Case, file: Path, victim: Path) -> None:
    """Put a chunk that grows, or claims to, in the place of a shard's first one, with a right table."""
    store = file.parent.parent.parent
    settings = json.loads((store / "manifest.json").read_text())["settings"]
    chunks = settings["shard_bytes"] // settings["chunk_bytes"]
    data = file.read_bytes()
    body, tail = data[: -16 * chunks - 4], data[-16 * chunks - 4 : -4]
    table = np.frombuffer(tail, "<u8").reshape(-1, 2).copy()
    bomb = _BOMBS[case.base](case.attack)
    table[0] = {"table-huge": (1 << 62, 1 << 62), "table-negative": ((1 << 64) - 2, 8)}.get(
        case.attack, (len(body), len(bomb))
    )
    tail = table.tobytes()
    file.write_bytes(body + bomb + tail + google_crc32c.value(tail).to_bytes(4, "little"))


def _noise(attack: str) -> bytes:
    return random.Random(attack).randbytes(5000)


def _gzip(attack: str) -> bytes:
    if attack == "noise":
        return _noise(attack)
    # A block that ends with a full flush can be repeated: a gigabyte in a megabyte, made in no time.
    packer = zlib.compressobj(6, wbits=-15)
    piece = packer.compress(bytes(16 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + piece * 64 + b"\x03\0" + bytes(8)


def _zstd(attack: str) -> bytes:
    if attack == "noise":
        return struct.pack("<IB", 0xFD2FB528, 0xE0) + struct.pack("<Q", 40_000) + _noise(attack)
    size = 1 << 30 if attack == "grows" else 1 << 60
    blocks = b"".join(((131072 << 3) | 2 | (number == 8191)).to_bytes(3, "little") + b"\0" for number in range(8192))
    return struct.pack("<IB", 0xFD2FB528, 0xE0) + struct.pack("<Q", size) + blocks


def _lz4(attack: str) -> bytes:
    size = {"grows": 1 << 30, "claims": -1}.get(attack, 40_000)
    return struct.pack("<i", size) + (
        _noise(attack) if attack == "noise" else b"\x1f\0\1\0" + b"\xff" * 4_000_000 + b"\0"
    )


def _blosc(attack: str) -> bytes:
    size = {"grows": 1 << 30, "claims": -1}.get(attack, 40_000)
    body = _noise(attack)
    return struct.pack("<BBBBiii", 2, 1, 0x84, 1, size, min(abs(size), 40_000), len(body) + 16) + body


_BOMBS = {"gzip": _gzip, "zstd": _zstd, "lz4": _lz4, "blosc": _blosc}


def copy(root: Path, case: Case, sandbox: Path) -> None:
    """Lay a copy of the base into a sandbox, with victims beside it, and a source to append from."""
    shutil.copytree(root / "bases" / case.base, sandbox)
    (sandbox / "victim.txt").write_text("nobody may touch this")
    (sandbox / "victim").mkdir()
    (sandbox / "victim" / "precious.txt").write_text("nor this")
    (sandbox / "tmp").mkdir()
