"""`store.select`: conditions, masks, keys, numbers and splits, against plain Polars over a frame of all columns."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.fielded import add_fields
from tiering.errors import StoreError, UsageError


@pytest.fixture(scope="module")
def fielded(photos, tmp_path_factory):
    """A store with splits, of two shards, that has fields of each kind; never written to."""
    root = tmp_path_factory.mktemp("fielded")
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:200]):
        place = root / "photos" / ("val" if number % 4 == 0 else "train") / f"class {number % 7}" / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    tiering.convert(root / "photos", root / "store", "lmdb", shards=tiering.Shards(1 << 20), workers=1)
    random = np.random.default_rng(0)
    n = 200
    add_fields(
        root / "store",
        {
            "score": [None if each > 0.8 else float(each) for each in random.random(n)],
            "year": random.integers(1990, 2030, n).tolist(),
            "place": [None if each == 3 else f"Zürich {each}" for each in random.integers(0, 5, n).tolist()],
            "box": random.integers(0, 9, (n, 4)).tolist(),
            "blob": [b"\xff"] * n,
        },
    )
    return root / "store"


@pytest.fixture(scope="module")
def store(fielded):
    with tiering.open_store(fielded) as opened:
        yield opened


@pytest.fixture(scope="module")
def frame(store):
    """All columns of the store, as Polars has them."""
    everything = np.arange(len(store))
    classes, splits = store.manifest.classes, store.manifest.splits
    score = store.read_field("score", everything)
    return pl.DataFrame(
        {
            "key": [key.decode() for key in store.index.keys(everything)],
            "label": [classes[each] for each in store.index.label.tolist()],
            "class_number": store.index.label.tolist(),
            "split": [splits[each] for each in store.index.split.tolist()],
            "size": store.index.size.tolist(),
            "score": score.tolist(),
            "year": store.read_field("year", everything).tolist(),
            "place": store.read_field("place", everything),
            "box": pl.Series(store.read_field("box", everything)),
        },
        schema_overrides={"class_number": pl.Int32, "score": pl.Float64},
    ).with_row_index("row")


def rows(selection) -> list[int]:
    return selection.in_origin(np.arange(len(selection))).tolist()


def comparisons():
    """Conditions on one column, as text and as expressions."""
    numbers = st.sampled_from(["size", "year", "score", "class_number"])
    words = st.sampled_from(["label", "split", "place", "key"])
    operator = st.sampled_from(["<", "<=", ">", ">=", "=", "<>"])
    texts = st.sampled_from(["class 1", "class 3", "train", "val", "Zürich 2", "Zürich 4", "none"])
    values = st.one_of(
        st.integers(-5, 20000), st.integers(1990, 2030), st.floats(0, 1).map(lambda each: round(each, 3))
    )
    return st.one_of(
        st.builds("{} {} {}".format, numbers, operator, values),
        st.builds("{} {} '{}'".format, words, operator, texts),
        st.builds("{} is {}null".format, st.sampled_from(["score", "place", "label"]), st.sampled_from(["", "not "])),
        st.builds("{} in ('{}', '{}')".format, words, texts, texts),
        st.builds("{} not in ('{}', '{}')".format, words, texts, texts),
        st.builds("{} like '{}%'".format, words, st.sampled_from(["class", "tr", "Z", "%1"])),
        st.builds("{} between {} and {}".format, numbers, st.integers(0, 2000), st.integers(0, 20000)),
        st.builds("size > {} * year".format, st.integers(0, 9)),
    )


def conditions():
    joined = st.sampled_from([" and ", " or "])
    return st.recursive(
        comparisons(),
        lambda inner: st.one_of(
            st.builds("({}{}{})".format, inner, joined, inner), st.builds("not ({})".format, inner)
        ),
        max_leaves=4,
    )


@settings(max_examples=examples(300))
@given(conditions())
def test_a_condition_in_sql_selects_what_polars_filters(store, frame, condition):
    wanted = frame.filter(pl.sql_expr(condition))["row"].to_list()
    if not wanted:
        with pytest.raises(UsageError, match="fits the condition"):
            store.select(condition)
        return
    assert rows(store.select(condition)) == wanted


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("size") > pl.col("size").mean(),
        pl.col("score").rank() <= 10,
        pl.col("year").is_first_distinct(),
        pl.col("size").rank().over("label") <= 2,
        pl.sql_expr("size > avg(size) and split = 'train'"),
        pl.col("place").str.len_chars() > 7,
        pl.col("box").arr.get(0) > 3,
        pl.col("key").str.ends_with("1.jpg"),
        pl.lit(True),
        pl.int_range(pl.len()) % 3 == 0,
        pl.col("label").is_in(["class 2"]) & ~pl.col("score").is_null(),
        pl.when(pl.col("split") == "val").then(pl.col("size") > 3000).otherwise(pl.col("year") > 2000),
    ],
    ids=str,
)
def test_an_expression_selects_what_polars_filters(store, frame, expression, monkeypatch):
    """Also those that need all rows together, in a store of several parts."""
    monkeypatch.setattr("tiering.store.conditions._PART", 32)
    assert rows(store.select(expression)) == frame.filter(expression)["row"].to_list()


def test_a_condition_reads_only_the_columns_that_it_names(fielded, tmp_path):
    copy = shutil.copytree(fielded, tmp_path / "store")
    for path in [each for each in (copy / "fields" / "place").rglob("*") if each.is_file()]:
        path.write_bytes(b"\xff" * path.stat().st_size)
    with tiering.open_store(copy) as store:
        assert len(store.select("year > 2000 and label = 'class 1'"))
        with pytest.raises(StoreError, match="place"):
            store.select("place = 'Zürich 2'")


def test_null_counts_as_false(store, frame):
    assert rows(store.select("score > 0.5")) == frame.filter(frame["score"] > 0.5)["row"].to_list()
    both = len(store.select("score > 0.5")) + len(store.select("not (score > 0.5)"))
    assert both == len(store) - frame["score"].null_count()
    assert len(store.select("score is null")) == frame["score"].null_count()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "scores > 1",
            "columns of the store: key, label, class_number, split, size, score, year, place, box, found scores",
        ),
        ('label = "class 1"', "found class 1. Text stands in single quotes"),
        ("label =", "found 'label =': unable to parse"),
        ("size", "values of type Int64"),
        ("label > 3", "cannot compare string with numeric type"),
        ("blob is not null", "found blob"),
        ("year > 1; drop table x", "unexpected token"),
        ("read_csv('/etc/passwd')", "unsupported function"),
        ("size < 0", "no sample of 200 fits the condition"),
        (pl.col("void") > 1, "found void"),
        (pl.col("year", "size") > 1, "several columns at once"),
        (pl.all() > 1, "several columns at once"),
        (pl.col("year").unique() > 1, "the expression"),
        (pl.lit(None), "values of type Null"),
        (np.ones(3, dtype=np.bool_), r"a mask of shape \(200,\), one value for each sample, found \(3,\)"),
        (np.zeros(200, dtype=np.bool_), "fits the condition"),
        (["train/none.jpg"], "found 1 others: train/none.jpg"),
        ([], "fits the condition"),
    ],
    ids=str,
)
def test_a_wrong_condition_is_refused_in_one_sentence(store, where, message):
    with pytest.raises(UsageError, match=message) as refused:
        store.select(where)
    assert refused.value.where == "where"
    assert "\n" not in str(refused.value)


def test_numbers_outside_and_other_types_are_refused(store):
    for where in ([200], [-1], range(190, 201), np.array([5, 1000])):
        with pytest.raises(IndexError):
            store.select(where)
    for where in (5, 0.5, [0.5], [[1, 2]], object(), np.ones((2, 2), dtype=np.int64)):
        with pytest.raises(TypeError):
            store.select(where)


@given(st.lists(st.booleans(), min_size=200, max_size=200).filter(any))
@settings(max_examples=examples(50))
def test_a_mask_selects_its_true_samples(store, flags):
    mask = np.array(flags)
    assert rows(store.select(mask)) == np.flatnonzero(mask).tolist()
    assert rows(store.select(pl.Series(flags))) == np.flatnonzero(mask).tolist()


def test_keys_select_their_samples_once_in_the_order_of_the_store(store):
    keys = [store[each].key for each in (17, 3, 99, 17)]
    assert rows(store.select(keys)) == [3, 17, 99]
    assert rows(store.select(set(keys))) == [3, 17, 99]
    assert rows(store.select(np.array(keys))) == [3, 17, 99]
    assert rows(store.select([key.encode() for key in keys])) == [3, 17, 99]


def test_numbers_select_their_samples_once_in_the_order_of_the_store(store):
    assert rows(store.select([9, 3, 9])) == [3, 9]
    assert rows(store.select(np.array([9, 3, 9], dtype=np.uint8))) == [3, 9]
    assert rows(store.select(range(5, 1, -2))) == [3, 5]
    assert rows(store.select(slice(-3, None))) == [197, 198, 199]
    assert rows(store.select()) == list(range(200))


def test_a_split_is_selected_by_its_name(store, frame):
    assert rows(store.select(split="val")) == frame.filter(split="val")["row"].to_list()
    assert len(store.select(split=["train", "val"])) == 200
    both = store.select("year < 2010", split="train")
    assert rows(both) == frame.filter(pl.col("year") < 2010, split="train")["row"].to_list()
    with pytest.raises(UsageError, match="split: must be one of train, val, not test"):
        store.select(split="test")


def test_a_field_called_like_a_property_takes_its_place(packed, tmp_path):
    copy = shutil.copytree(packed, tmp_path / "store")
    add_fields(copy, {"size": list(range(300)), "class_number": ["a"] * 300})
    with tiering.open_store(copy) as store:
        assert rows(store.select("size < 3 and class_number = 'a'")) == [0, 1, 2]


def test_names_that_are_no_utf8_are_read_with_a_stand_in(photos, tmp_path):
    place = tmp_path / "photos" / "cl\udcff"
    place.mkdir(parents=True)
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:4]):
        shutil.copy(path, place / f"{number}\udcfe.jpg")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    with tiering.open_store(tmp_path / "store") as store:
        assert len(store.select("key like '%1\ufffd.jpg'")) == 1
        assert len(store.select("label like 'cl%'")) == 4
        assert len(store.select([store[2].key])) == 1


def test_serving_and_selecting_by_number_do_without_polars(packed):
    code = f"""
import sys, tiering
store = tiering.open_store({str(packed)!r})
next(iter(tiering.Loader(store, 8)))
parts = store.split(train=0.9, val=0.1, stratify="label")
for each in (store.sample(0.1), parts["val"], store.select(slice(5)), store.select([store[3].key])):
    next(iter(tiering.Loader(each, 2)))
assert "polars" not in sys.modules
store.select("size > 0")
assert "polars" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_without_polars_a_condition_says_what_to_install(packed):
    code = f"""
import sys, tiering
sys.modules["polars"] = None
store = tiering.open_store({str(packed)!r})
assert len(store.select(slice(3))) == 3
try:
    store.select("size > 0")
except tiering.errors.MachineError as error:
    assert "where: needs Polars, which" in str(error) and "pip install polars" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
