"""FoundField: a field that a source has, and the names that fields may have.

It does without Polars, which a job that only serves a store does not load.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from tiering.literals import FieldKind

#: Names that every sample has, which no field may have.
RESERVED: Final = frozenset({"image", "key", "label", "split"})

#: The names of fields. They become names of files, so they hold nothing else.
FIELD_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class FoundField:
    """A field that a source has.

    name: matches FIELD_NAME. kind: "cell" is the text of a table's cell; all its values together decide whether it is
    an integer, a float or a string. suffix: of its file beside an image, such as "mask.png"; "" if it has none.
    description: a sentence for people, such as the name of a column as the table has it.
    """

    name: str
    kind: FieldKind | Literal["cell"]
    suffix: str = ""
    description: str = ""
