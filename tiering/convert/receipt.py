"""Receipts: what is in a packed shard, written beside it when it is whole. By them a killed conversion goes on."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.storage.location import Location
from tiering.store.index import COLUMNS
from tiering.store.manifest import Shard


class Bad(NamedTuple):
    """An image that could not be packed, and why."""

    key: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A packed shard: digest of its plan, the manifest's entry, its rows of the index, and who is missing.

    columns: as in the index, key_end counting from the shard's own first key.
    """

    plan: str
    shard: Shard
    columns: dict[str, npt.NDArray[Any]]
    bad: list[Bad]


def receipt_place(work: Location, number: int) -> Location:
    """Return where a shard's receipt lies."""
    return work / f"{number:05d}.npz"


def write_receipt(place: Location, receipt: Receipt) -> None:
    """Write a receipt, durably; it appears whole."""
    about = {
        "plan": receipt.plan,
        "shard": receipt.shard.model_dump(),
        "bad": [[bad.key.hex(), bad.reason] for bad in receipt.bad],
    }
    packed = io.BytesIO()
    arrays = receipt.columns | {"about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
    np.savez(packed, **arrays)  # type: ignore[arg-type]
    place.write(packed.getvalue())


def read_receipt(place: Location) -> Receipt | None:
    """Read a receipt; None where there is none that is whole."""
    try:
        with np.load(io.BytesIO(place.read()), allow_pickle=False) as arrays:
            about = json.loads(bytes(arrays["about"]))
            columns = {name: arrays[name] for name in COLUMNS}
    except (FileNotFoundError, zipfile.BadZipFile, ValueError, KeyError, EOFError):
        return None
    bad = [Bad(bytes.fromhex(key), reason) for key, reason in about["bad"]]
    return Receipt(about["plan"], Shard.model_validate(about["shard"]), columns, bad)
