"""docs/reference/json.md is current, and what the commands print with --json is what it says."""

from __future__ import annotations

import json
import subprocess

import jsonschema
import pytest
from typer.testing import CliRunner

from docs.json_reference import DOCUMENTS, PAGE, page, schema_of
from tests.conftest import FIXTURES
from tiering.cli.app import app

TRACE = next((FIXTURES / "traces").glob("train_loop.strace*"))
SCHEMAS = {document.name: schema_of(document) for document in DOCUMENTS}


def test_the_page_is_current():
    assert PAGE.read_text() == page(), "remake it: python -m docs.json_reference"


def printed_lines(*words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return done.stdout


def printed(*words: object) -> dict[str, object]:
    return json.loads(printed_lines(*words))


def watched(trace) -> tuple[dict[str, object], dict[str, object]]:
    with subprocess.Popen(["sleep", "60"]) as job:
        first, *_, last = printed_lines("watch", job.pid, "--for", "0.7s", "-o", trace).splitlines()
        job.kill()
    return json.loads(first), json.loads(last)


@pytest.fixture(scope="module")
def documents(tmp_path_factory, photos) -> dict[str, dict[str, object]]:
    """A document of each command, by its name; `model evaluate` takes minutes and prints what `model show` prints."""
    work = tmp_path_factory.mktemp("documents")
    store, cache, profile = work / "photos.lmdb", work / "cache", work / "profile.json"
    directory = ("--cache-dir", cache)
    labels, keys = work / "labels.csv", work / "keys.txt"
    key = next(str(path.relative_to(photos)) for path in sorted(photos.rglob("*.jpg")))
    labels.write_text(f"path,label\n{key},bird\n")
    keys.write_text("no such key\n")
    look, result = watched(work / "trace.parquet")
    found = {
        "watch (each look)": look,
        "watch (at the end)": result,
        "profile": printed("profile", photos, "--trace", TRACE, "-o", profile),
        "classify": printed("classify", profile),
        "convert": printed("convert", photos, store, "--to", "lmdb"),
        "append": printed("append", photos, store),
        "append --sync": printed("append", "--sync", photos, store),
        "relabel": printed("relabel", store, labels),
        "remove": printed("remove", store, "--keys", keys, "--purge"),
        "log": printed("log", store),
        "repair": printed("repair", store, "--source", photos),
        "verify": printed("verify", store, "--source", photos),
        "info": printed("info", store),
        "export": printed("export", store, work / "again"),
        "bench": printed("bench", photos, store, "--epochs", 2),
        "cache warm": printed("cache", "warm", store, "--cache-size", "100MB", *directory),
        "cache info": printed("cache", "info", *directory),
        "cache verify": printed("cache", "verify", *directory),
        "cache clear": printed("cache", "clear", *directory),
        "cache size": printed("cache", "size", profile),
        "model show": printed("model", "show"),
        "estimate": printed("estimate"),
        "recommend": printed("recommend", profile, "--samples-per-second", 3000, "-o", work / "advice.json"),
        "recommend -o": json.loads((work / "advice.json").read_text()),
        "survey": printed("survey", photos, "--trace", TRACE, "-o", work / "survey.json"),
        "place": printed("place", TRACE, "--capacity", "nvme=1TB", "--capacity", "hdd", "--lists", work / "lists"),
        "probe": printed("probe", work, "--seconds", 0.1, "--size", "64MiB"),
        "tiers list": printed("tiers", "list"),
        "tiers show": printed("tiers", "show", "nvme"),
        "tiers check": printed("tiers", "check"),
    }
    assert {name for document in DOCUMENTS for name in document.commands.split(", ")} == {*found, "model evaluate"}
    return found


@pytest.mark.parametrize(
    "command", [name for each in DOCUMENTS for name in each.commands.split(", ") if name != "model evaluate"]
)
def test_a_document_is_as_its_schema_says(documents, command):
    (described,) = (each for each in DOCUMENTS if command in each.commands.split(", "))
    document = documents[command]
    assert document["format"] == described.name
    assert isinstance(document["format_version"], int)
    jsonschema.validate(document, SCHEMAS[described.name])
