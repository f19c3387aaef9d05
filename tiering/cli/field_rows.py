"""The fields of a store as a table, with the values of a few samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tiering.cli.output import table
from tiering.text import shown
from tiering.units import format_bytes

if TYPE_CHECKING:
    from rich.table import Table

    from tiering.arrays import IndexArray
    from tiering.store.protocol import Store
    from tiering.store.schema import Field

#: Samples whose values are shown, and the most characters of each value.
_SAMPLES: Final = 3
_LONGEST: Final = 18


def field_table(store: Store) -> Table:
    """Return a row for each field: its name, its kind, and its values in the first few samples."""
    rows = np.arange(min(_SAMPLES, len(store)))
    made = table("field", "kind", *(f"sample {row}" for row in rows))
    for column in made.columns[1:]:
        column.justify = "left"
    for name, field in store.fields.items():
        values = [_short(value, field) for value in _values(store, name, rows)]
        made.add_row(shown(name), _kind(field), *values)
    return made


def _values(store: Store, name: str, rows: IndexArray) -> list[Any]:
    values = store.read_field(name, rows)
    return values if isinstance(values, list) else values.tolist()


def _kind(field: Field) -> str:
    sides = f" {' x '.join(map(str, field.shape))}" if field.shape else ""
    return f"{field.kind}{sides}{', or none' if field.nullable else ''}"


def _short(value: Any, field: Field) -> str:
    if value is None:
        return "-"
    if field.kind in ("image", "bytes"):
        return format_bytes(len(value))
    if field.kind == "array":
        return f"{value.dtype} {' x '.join(map(str, value.shape))}"
    text = f"{value:.6g}" if isinstance(value, float) else shown(str(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
