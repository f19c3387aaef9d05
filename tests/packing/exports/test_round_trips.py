"""Every form of an export, converted again: the same samples, fields and bytes."""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.trees import picture, put
from tiering.testing import tree

IMAGES = [picture(8 + number, format="PNG") for number in range(3)]
MASKS = [picture(5 + number, format="PNG") for number in range(2)]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", " ", "\n", '"', "a,b", "007", "1e5", "null", "\0", "\r\n", "é\u0301", "'", "nan", "a\tb"]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), 1 << 63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([-(1 << 63), (1 << 63) - 1, 0, -1])
FLOATS = st.floats() | st.sampled_from([0.1, -0.0, 5e-324, 1.7976931348623157e308])

#: The values of each kind, the type of its column in a table, and how --columns names it.
VALUES: dict[str, Any] = {
    "integer": INTEGERS,
    "float": FLOATS,
    "string": TEXTS,
    "json": JSON.map(json.dumps),
    "bytes": st.binary(max_size=20),
    "image": st.sampled_from(range(len(MASKS))),
    "vector": st.tuples(FLOATS, FLOATS, FLOATS),
    "small": st.tuples(st.tuples(st.integers(-128, 127)), st.tuples(st.integers(-128, 127))),
}
TYPES = {
    "integer": pl.Int64, "float": pl.Float64, "string": pl.String, "json": pl.String, "bytes": pl.Binary,
    "image": pl.String, "vector": pl.Array(pl.Float64, 3), "small": pl.Array(pl.Int8, (2, 1)),
}  # fmt: skip
COLUMNS = {"string": "string", "json": "json", "image": "image"}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], dict[str, list[Any]]]:
    """Kinds of fields f0, f1, ..., and their values."""
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=5))
    count = draw(st.integers(1, 6))
    columns = {}
    for number, kind in enumerate(kinds):
        values = VALUES[kind] if draw(st.booleans()) else VALUES[kind] | st.none()
        columns[f"f{number}"] = draw(st.lists(values, min_size=count, max_size=count))
    return kinds, columns


def made(root: Path, kinds: list[str], columns: dict[str, list[Any]], to: str) -> Path:
    """Write a table with its images, and pack it."""
    count = len(columns["f0"])
    frame: dict[str, Any] = {"path": [f"photos/{number}.v2.png" for number in range(count)]}
    spec = ["image=path", "label=label", "split=split"]
    for number, data in enumerate(IMAGES[at % len(IMAGES)] for at in range(count)):
        put(root, f"photos/{number}.v2.png", data)
    for number, data in enumerate(MASKS):
        put(root, f"masks/{number}.png", data)
    for (name, values), kind in zip(columns.items(), kinds, strict=True):
        given = [None if each is None else f"masks/{each}.png" for each in values] if kind == "image" else values
        frame[name] = pl.Series(name, given, TYPES[kind])
        spec.append(f"{name}:{COLUMNS[kind]}={name}" if kind in COLUMNS else f"{name}={name}")
    frame["label"] = [f"class {number % 2}" for number in range(count)]
    frame["split"] = [("train", "test", None)[number % 3] for number in range(count)]
    pl.DataFrame(frame).write_parquet(root / "list.parquet")
    tiering.convert(tiering.TableSource(root / "list.parquet", ",".join(spec)), root / "store", to, workers=1)
    return root / "store"


def contents(store: Path | tiering.Store, by: str = "key") -> dict[str, dict[str, Any]]:
    """Every sample by its key or a field: its image, label, split and fields, with floats by their bits."""
    opened = tiering.open_store(store) if isinstance(store, Path) else store
    rows = np.arange(len(opened))
    manifest, index = opened.manifest, opened.index
    every: dict[str, Any] = {
        "image": [bytes(each) for each in opened.read(rows)],
        "label": [manifest.classes.get(number) for number in index.label[rows].tolist()],
        "split": [manifest.splits[number] if number >= 0 else None for number in index.split[rows].tolist()],
        "key": [os.fsdecode(key) for key in index.keys(rows)],
    }
    for name in opened.fields:
        if name == "label":
            continue
        values = opened.read_field(name, rows)
        lacking = np.ma.getmaskarray(values) if isinstance(values, np.ndarray) else None
        every[name] = [
            None if each is None or (lacking is not None and lacking.size and lacking[at].any()) else exact(each)
            for at, each in enumerate(np.asarray(values) if lacking is not None else values)
        ]
    return {str(every[by][at]): {name: each[at] for name, each in every.items()} for at in rows}


def exact(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return array.dtype.str, array.shape, np.where(array != array, np.nan, array).tobytes()
    return bytes(value) if isinstance(value, memoryview) else value


def schema(store: Path) -> dict[str, tuple[Any, ...]]:
    """The kind and the type of each field, and whether it may be missing."""
    with tiering.open_store(store) as opened:
        return {
            name: (field.kind, field.dtype, tuple(field.shape), field.nullable) for name, field in opened.fields.items()
        }


def of_any_table(test: Callable[..., None]) -> Any:
    """Run a test of stores of each format with tables of any fields."""
    tried = settings(max_examples=examples(12), suppress_health_check=list(HealthCheck))
    formats = pytest.mark.parametrize("to", ["lmdb", pytest.param("zarr", marks=pytest.mark.slow)])
    return formats(tried(given(tables())(test)))


@contextmanager
def directory() -> Iterator[Path]:
    """A directory for one example, where no table is warned about."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Path(name)


@of_any_table
def test_a_folder_with_its_table_holds_every_field_exactly(to, table):
    with directory() as root:
        store = made(root, *table, to)
        assert tiering.export(store, root / "out") == len(table[1]["f0"])
        tiering.convert(root / "out/metadata.parquet", root / "again", to, workers=1)
        assert schema(root / "again") == schema(store)
        assert contents(root / "again") == contents(store)
        # The folder finds its table, and the files beside its images.
        tiering.convert(root / "out", root / "folder", to, workers=1)
        empty = missing_files(table, root / "folder")
        found, expected = contents(root / "folder"), contents(store)
        assert found == {key: without(sample, *empty) for key, sample in expected.items()}
        # And the same files once more.
        tiering.export(root / "again", root / "out-again")
        assert {name: data for name, data in tree(root / "out-again").items() if not name.endswith(b".parquet")} == {
            name: data for name, data in tree(root / "out").items() if not name.endswith(b".parquet")
        }


@of_any_table
def test_parquet_holds_every_field_exactly(to, table):
    with directory() as root:
        store = made(root, *table, to)
        tiering.export(store, root / "out", "parquet")
        tiering.convert(root / "out", root / "again", to, workers=1)
        found = contents(root / "again", "path")
        expected = contents(store)
        empty = missing_files(table, root / "again")
        assert found.keys() == expected.keys()
        for key, sample in found.items():
            assert without(sample, "key", "path") == without(expected[key], "key", *empty)
        assert without(schema(root / "again"), "path") == without(schema(store), *empty)
        # A store that was made from such files gives them again.
        tiering.export(root / "again", root / "out-again", "parquet")
        assert frames(root / "out-again", empty) == frames(root / "out", empty)


def missing_files(table: tuple[list[str], dict[str, list[Any]]], store: Path) -> set[str]:
    """The fields without any value that would be files; they leave no trace in a source."""
    empty = {f"f{at}" for at, kind in enumerate(table[0]) if kind in ("bytes", "image")} - schema(store).keys()
    assert all(each is None for name in empty for each in table[1][name])
    return empty


def without(found: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: each for name, each in found.items() if name not in names}


def frames(root: Path, left_away: Collection[str] = ()) -> dict[str, list[Any]]:
    """The rows of each file of Parquet, in one order."""
    return {
        path.name: sorted(map(repr, pl.read_parquet(path).drop(left_away, strict=False).rows()))
        for path in sorted(root.rglob("*.parquet"))
    }


@of_any_table
def test_webdataset_holds_the_same_values(to, table):
    kinds, columns = table
    with directory() as root:
        store = made(root, kinds, columns, to)
        tiering.export(store, root / "out", "webdataset")
        tiering.convert(root / "out", root / "again", to, workers=1)
        again, expected = contents(root / "again"), contents(store)
        assert len(again) == len(expected)
        classes = json.loads((root / "out/classes.json").read_text())
        for sample in again.values():
            key = sample["key"].rpartition("photos/")[2].replace("_", ".")
            assert sample["image"] == expected[f"photos/{key}"]["image"]
            assert classes[sample["label"]] == expected[f"photos/{key}"]["label"]
            assert sample["split"] == expected[f"photos/{key}"]["split"]
            number = int(key.partition(".")[0])
            for (name, values), kind in zip(columns.items(), kinds, strict=True):
                if kind == "image":
                    assert sample.get(name) == (None if values[number] is None else MASKS[values[number]])
                elif kind == "bytes":
                    assert sample.get(name) == values[number]
                else:
                    assert same(sample["json"][name], values[number], kind)


def same(found: Any, value: Any, kind: str) -> bool:
    if value is None:
        return found is None
    if kind == "json":
        return found == json.loads(value)
    if isinstance(value, tuple):
        return len(found) == len(value) and all(map(same, found, value, [""] * len(value)))
    if isinstance(value, float):
        number = float(found)
        if math.isnan(value):
            return math.isnan(number)
        return number == value and math.copysign(1, number) == math.copysign(1, value)
    return found == value and type(found) is type(value)
