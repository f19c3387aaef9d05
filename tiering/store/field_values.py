"""Values of fields: from the columns and runs of bytes of a store to arrays and lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tiering.arrays import AnyArray, IndexArray
from tiering.errors import StoreError, UsageError
from tiering.images.npy import parse_npy
from tiering.storage.json_text import parse_foreign_json
from tiering.storage.location import Location
from tiering.store.index import Index
from tiering.store.schema import VALID, Field

if TYPE_CHECKING:
    from tiering.store.mapped_files import Copies
    from tiering.store.protocol import Store, Values
    from tiering.store.sample import Buffer


#: What the column of a nullable field holds where there is no value.
MISSING: Final = -1

#: Kinds whose values are made from copies of their bytes.
COPIED: Final = frozenset({"string", "json", "bytes"})


def numbers_of(index: Index, field: Field, indices: IndexArray) -> AnyArray:
    """Return the numbers of a field, of shape (n,) or (n, *shape); masked where a nullable field has none."""
    column = index.fields[field.name]
    # `take` copies whole rows, which is five times as fast for vectors. But it would first copy a column with gaps.
    rows = column.ndim > 1 and type(column) is np.ndarray and column.flags.c_contiguous
    found = column.take(indices, axis=0) if rows else column[indices]
    if not field.nullable:
        return found
    lacking = index.fields[field.name + VALID][indices] == 0
    mask = np.broadcast_to(lacking.reshape(-1, *[1] * (found.ndim - 1)), found.shape)
    return np.ma.MaskedArray(found, mask)


def number_from(data: Buffer, found: Field) -> Any:
    """Return a number from its text, or a vector from its .npy document; MISSING for no text.

    Raises ValueError for anything else.
    """
    if found.kind == "vector":
        vector = parse_npy(data)
        if vector.dtype.newbyteorder("<").str != found.dtype or list(vector.shape) != found.shape:
            raise ValueError(f"{vector.dtype} of shape {vector.shape}, not {found.dtype} of shape {found.shape}")
        return vector
    text = str(data, "utf-8").strip()
    if not text:
        return MISSING
    if found.kind == "float":
        return float(text)
    number = int(text)
    limits = np.iinfo(found.dtype)
    if not limits.min <= number <= limits.max:
        raise ValueError(f"{number}, which does not fit into {found.dtype}")
    return number


def values_of(field: Field, raw: Sequence[Buffer | None], location: Location) -> list[Any]:
    """Return values from their bytes. raw: None for a sample without a value.

    Raises StoreError for bytes that are no value of the field's kind.
    """
    decode = _DECODERS[field.kind]
    try:
        return [None if each is None else decode(each) for each in raw]
    except ValueError as error:
        raise StoreError(
            str(location), expected=f"values of the field {field.name}, of kind {field.kind}", found=str(error)[:200],
            action="The store is damaged: copy or convert it again.",
        ) from error  # fmt: skip


def copied_values(field: Field, copies: Copies, lacking: Sequence[int], location: Location) -> list[Any]:
    """Return values from copies of their bytes.

    ASCII is decoded all at once, and then cut: 90 ns a value, against 200 ns where each is decoded.
    lacking: positions of samples without a value. Raises StoreError as values_of does.
    """
    data, places = copies.data, zip(copies.begin, copies.end, strict=True)
    if field.kind == "string" and data.isascii():
        text = data.decode("ascii")
        found: list[Any] = [text[begin:end] for begin, end in places]
        for at in lacking:
            found[at] = None
        return found
    raw: list[Buffer | None] = [data[begin:end] for begin, end in places]
    for at in lacking:
        raw[at] = None
    return values_of(field, raw, location)


def raw_values(runs: Store, field: Field, indices: IndexArray) -> list[Buffer | None]:
    """Return the bytes of values, None for a sample without one. runs: the field's runs of bytes, as a store."""
    found: list[Buffer | None] = list(runs.read(indices))
    if field.nullable:
        for at in np.flatnonzero(runs.index.offset[indices] < 0).tolist():
            found[at] = None
    return found


def no_field(name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a field that a store does not have."""
    return UsageError("fields", rule=f"must be one of {', '.join(known)}", found=name)


def single(values: Values) -> Any:
    """Return the only one of some values as a sample has it: a number, not an array of one; None if there is none."""
    (value,) = values
    if isinstance(value, np.ma.MaskedArray):
        return None if value is np.ma.masked or value.mask.any() else value.data
    return value.item() if isinstance(value, np.generic) else value


def _text(data: Buffer) -> str:
    return str(data, "utf-8")


def _itself(data: Buffer) -> Buffer:
    return data


_DECODERS: Final[dict[str, Callable[[Buffer], Any]]] = {
    "string": _text,
    "json": lambda data: parse_foreign_json(bytes(data)),
    "bytes": bytes,
    "image": _itself,
    "array": lambda data: parse_npy(data).copy(),
}
