"""How a source differs from an earlier listing of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy.typing as npt
import polars as pl

from tiering.packing.listing import Listing
from tiering.text import display


def changes(old: dict[str, npt.NDArray[Any]], new: Listing, *, same_names: bool) -> list[str]:
    """Describe how a source differs from an earlier listing of it, one line per file.

    same_names: whether classes and splits have the same numbers in both, so that labels can be compared.
    """
    before = replace(new, columns=old)
    then, now = (pl.concat(listing.frames()) for listing in (before, new))
    found = [f"{display(key)}: removed" for key in then.join(now, on="key", how="anti")["key"]]
    found += [f"{display(key)}: added" for key in now.join(then, on="key", how="anti")["key"]]
    both = then.join(now, on="key", suffix="_now")
    names = ("size", "version", *(("label", "split") if same_names else ()))
    other = {name: pl.col(name) != pl.col(f"{name}_now") for name in names}
    files = other.pop("size") | other.pop("version")
    found += [f"{display(key)}: changed" for key in both.filter(files)["key"]]
    same = both.filter(~files)
    for name, differs in other.items():
        found += [f"{display(key)}: another {name}" for key in same.filter(differs)["key"]]
        same = same.filter(~differs)
    return found
