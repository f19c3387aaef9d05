"""Ctrl-C: every verb ends with 130 and a last line of its own, and the line is true."""

from __future__ import annotations

import os

import pytest
import typer

import tiering
from tests.conftest import FIXTURES
from tests.crashes import Strikes
from tiering.cli.app import app
from tiering.cli.verbs import LAST_LINES
from tiering.testing import tree

TRACE = next((FIXTURES / "traces").glob("train_loop.strace*"))
STORE, IMAGES = "{store}", FIXTURES / "images"

#: Of every verb, words that begin it.
WORDS = {
    "profile": [IMAGES, "-o", "{out}"],
    "trace": ["-o", "{out}", "--", "sleep", "60"],
    "watch": [os.getpid(), "-o", "{out}"],
    "classify": [TRACE],
    "convert": [IMAGES, "{out}", "--to", "lmdb"],
    "append": [IMAGES, STORE],
    "relabel": [STORE, "{table}"],
    "remove": [STORE, "--keys", "{keys}"],
    "log": [STORE],
    "repair": [STORE, "--source", IMAGES],
    "verify": [STORE],
    "info": [STORE],
    "export": [STORE, "{out}"],
    "bench": [STORE],
    "cache info": ["--cache-dir", "{cache}"],
    "cache warm": [STORE, "--cache-size", "8MB", "--cache-dir", "{out}"],
    "cache verify": ["--cache-dir", "{cache}"],
    "cache clear": ["--cache-dir", "{cache}"],
    "cache size": [TRACE],
    "model train": ["-o", "{out}"],
    "model evaluate": [],
    "model card": ["-o", "{out}"],
    "model show": [],
    "estimate": [],
    "recommend": [IMAGES],
    "report": [IMAGES, "-o", "{out}"],
    "survey": [IMAGES, "--trace", TRACE, "-o", "{out}"],
    "place": [TRACE, "--capacity", "object", "-o", "{out}"],
    "tiers list": [],
    "tiers show": ["nvme"],
    "tiers check": [],
    "probe": ["{cache}", "--seconds", "1"],
}


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    tiering.convert(photos, root / "store", "lmdb", shards=tiering.Shards(400_000))
    tiering.cached(root / "store", "8MB", root / "cache").close()
    key = tiering.open_store(root / "store")[0].key
    (root / "labels.csv").write_text(f"path,label\n{key},bird\n")
    (root / "keys.txt").write_text(f"{key}\n")
    return root


@pytest.fixture(scope="module")
def strikes(tmp_path_factory):
    with Strikes(tmp_path_factory.mktemp("strace") / "log") as warm:
        yield warm


def verbs(command, name=""):
    below = getattr(command, "commands", None)
    if below is None:
        return [name]
    return [verb for word, each in below.items() for verb in verbs(each, f"{name} {word}".strip())]


def test_every_verb_has_a_last_line_and_is_interrupted_here():
    assert sorted(verbs(typer.main.get_command(app))) == sorted(LAST_LINES) == sorted(WORDS)


#: Those that write something, or differ from the others in what they say.
IN_EVERY_RUN = {
    "profile",
    "trace",
    "watch",
    "convert",
    "append",
    "relabel",
    "remove",
    "repair",
    "verify",
    "export",
    "cache warm",
    "probe",
}


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=() if verb in IN_EVERY_RUN else pytest.mark.slow) for verb in WORDS]
)
def test_an_interrupted_verb_says_its_own_line_last_and_leaves_nothing(made, strikes, tmp_path, verb):
    places = {"store": made / "store", "out": tmp_path / "out", "cache": made / "cache"}
    places |= {"table": made / "labels.csv", "keys": made / "keys.txt"}
    words = [str(word).format(**places) for word in (*verb.split(), *WORDS[verb])]
    before = tree(made)
    assert strikes.strike(words, "openat", 6, "INT") == 130
    values = {"directory": places["out"], "location": places["cache"]}
    assert strikes.said().splitlines()[-1] == f"Interrupted. {LAST_LINES[verb].format(**values)}"
    assert tree(made) == before
    assert not places["out"].exists() or verb == "cache warm"


@pytest.mark.parametrize(("call", "number"), [("openat", 100), ("mkdir", 1), ("rename", 1)])
def test_an_interrupted_export_holds_all_files_or_none_and_then_starts_from_the_beginning(
    made, strikes, photos, tmp_path, call, number
):
    assert strikes.strike(["export", made / "store", tmp_path / "out"], call, number, "INT") == 130
    assert f"{tmp_path / 'out'} holds all files or none" in strikes.said()
    if not tree(tmp_path):
        tiering.export(made / "store", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(photos)
