"""Names and labels of every kind through every verb: no crash, no control character on a screen, no name lost."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.examples import examples
from tests.trees import picture, put
from tiering.cli.app import app
from tiering.text import shown

PIECES = [
    *("[/x]", "[/]", "[bold]", "x[/y].lmdb", "[link=x]", ":smile:", "\\[", "%s", "{0}"),
    *("\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\x7f", "\n", "\r", "\t", "\u202e", "\u2028", "\u2066", "\udce9"),
    *("a", "ü", "猫", " ", "'", '"', "<b>", "&amp;"),
]  # fmt: skip
#: What may stand in stdout and stderr, beside letters: line feeds, and nothing else that a terminal obeys.
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

names = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)
some = settings(
    # Each example runs twenty verbs: finding a smaller one would take minutes.
    max_examples=examples(2, least=1), suppress_health_check=list(HealthCheck), derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip


def tiering(*words, code=0):
    """Run a verb, and return what it printed if a person may look at it."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, (done.exception, done.stderr)
    assert not OBEYED.search(done.stdout), done.stdout
    assert not OBEYED.search(done.stderr), done.stderr
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _caches_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def dataset(place, name, label):
    """Write some images under an odd name, and a table that gives them an odd label."""
    keys = [f"{name}{number}.png" for number in range(2)] + [f"plain/{name}.png"]
    for number, key in enumerate(keys):
        put(place, key, picture(16 + number, format="PNG"))
    listed = {"path": [key for key in keys if key.isprintable()] or ["0.png"], "label": shown(label)}
    put(place, "0.png", picture(format="PNG"))
    listed["label"] = [label.encode("utf-8", "replace").decode()] * len(listed["path"])
    with (place / "list.parquet").open("wb") as file:
        pl.DataFrame(listed).write_parquet(file)


@some
@given(names, names)
@example("x[/y].lmdb\x1b[31m", "[/x]")
def test_stores_under_any_name_with_labels_of_any_kind(name, label):
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / name
        dataset(place / "photos", name, label)
        seen = shown(str(place))
        for source, kind in ((place / "photos", "lmdb"), (place / "photos" / "list.parquet", "zarr")):
            store = place / f"{kind}{name}"
            assert seen in tiering("convert", source, store, "--to", kind)
            told = tiering("info", store)
            assert shown(str(store)) in told
            assert kind == "lmdb" or shown(label.encode("utf-8", "replace").decode()) in told
            assert seen in tiering("verify", store, "--source", source)
            assert seen in tiering("export", store, place / f"again-{kind}")
            assert seen in tiering("append", source, store)
            assert seen in tiering("repair", store, "--source", source)
        put(place / "photos", f"{name}bad.png", b"junk")
        said = tiering("convert", place / "photos", place / "bad", "--to", "lmdb", code=3)
        assert shown(f"{name}bad.png") in said
        tiering("convert", place / "photos", place / "bad", "--to", "lmdb", "--on-error", "quarantine")
        tiering("verify", store, "--source", place / "photos", code=1)
        (store / "manifest.json").write_text("{")
        for verb in ("info", "verify", "bench"):
            assert shown(str(store)) in tiering(verb, store, code=3)


@some
@given(names)
@example("[/x]\x1b[2J")
def test_profiles_traces_and_advice_under_any_name(name):
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / name
        photos = place / f"photos{name}"
        dataset(photos, name, name)
        put(photos, f"{name}bad.png", b"junk")
        profile, trace, heat = place / "profile.json", place / "trace.csv", place / "heat.csv"
        trace.write_text("time,op,file,offset,size\n1,read,a\x1b[/x],0,100\n2,read,b,0,100\n")
        assert shown(str(profile)) in tiering("profile", photos, "-t", trace, "-o", profile)
        assert shown(f"{name}bad.png") in tiering("profile", photos)
        tiering("recommend", profile)
        tiering("recommend", photos)
        tiering("classify", trace)
        tiering("classify", profile)
        tiering("cache", "size", profile)
        path = name.encode("utf-8", "replace").decode()
        rows = {"path": [path, "b"], "size": 10, "reads": 1, "bytes_read": 10, "first": [0.0, 9.0], "last": [1.0, 10.0]}
        heat.write_text(pl.DataFrame(rows).write_csv())
        for where in (["--lists", place / "lists"], ["--root", photos, "--lists", place / "more"]):
            tiering("place", heat, "--capacity", "hdd", "--capacity", "object=100B", *where, "-o", place / "plan.csv")
        catalog = place / "mine.toml"
        catalog.write_text('[[tier]]\nname = "\\u001b[/x]"\n')
        for words in (("tiers", "check", catalog), ("tiers", "show", name), ("recommend", photos, "--tier", name)):
            tiering(*words, code=2 if "check" not in words else 3)
        for verb in ("profile", "recommend", "classify", "place", "info", "verify", "bench", "report"):
            more = ["--capacity", "hdd"] if verb == "place" else []
            assert shown(str(place / "none")) in tiering(verb, place / "none", *more, code=3)
        tiering("cache", "info", "--cache-dir", place / "none", code=2)


@some
@given(names)
@example("[/x]:smile:\x1b[2J")
def test_a_bench_the_cache_and_a_report_under_any_name(name):
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / name
        photos, store, cache = place / "photos", place / f"{name}.lmdb", place / f"cache{name}"
        dataset(photos, name, name)
        tiering("convert", photos, store, "--to", "lmdb")
        assert shown(str(store)) in tiering("bench", store, photos, "--epochs", "2", "--live")
        tiering("cache", "warm", store, "--cache-size", "2MiB", "--cache-dir", cache)
        assert shown(str(store)) in tiering("cache", "info", "--cache-dir", cache)
        tiering("cache", "verify", "--cache-dir", cache)
        tiering("cache", "clear", "--cache-dir", cache)
        tiering("report", photos, "-o", place / "report.html")
        page = (place / "report.html").read_text()
        assert not OBEYED.search(page.replace("\t", "").split("<script", 1)[0])
        figures = re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1]
        assert not re.search(r"\\u00[01]", figures)
