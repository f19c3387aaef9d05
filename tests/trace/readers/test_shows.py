"""What formats can show, and what they cannot: the table of docs/traces.md, the readers, and what they really give."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.trace.readers.test_battery import example
from tiering.trace.readers import READERS, read_trace
from tiering.trace.readers.base import FACTS, Reader, shows

_PAGE = Path(__file__).parents[3] / "docs" / "traces.md"
_WORDS = {"yes": "always", "in part": "partly", "no": ""}


def _table() -> dict[str, list[str]]:
    """Read the table's rows by format."""
    lines = _PAGE.read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("| format | times "))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = cells
    return rows


def test_the_table_of_formats_says_what_the_readers_say():
    said = {
        name: {
            word: {fact for fact, cell in zip(FACTS, cells, strict=True) if _WORDS[cell] == word}
            for word in _WORDS.values()
        }
        for name, cells in _table().items()
    }
    held = {
        reader.name: {
            "always": set(reader.shows.always),
            "partly": set(reader.shows.partly),
            "": set(FACTS) - reader.shows.always - reader.shows.partly,
        }
        for reader in READERS
    }
    assert said == held


def test_a_fact_that_no_format_can_have_is_refused():
    with pytest.raises(ValueError, match="colours"):
        shows("times colours")


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> dict[str, tuple[pl.DataFrame, bool]]:
    """Give the events of each format's example, and whether it shows its end."""
    found = {}
    for reader in READERS:
        path = tmp_path_factory.mktemp("examples") / "t"
        path.write_bytes(example(reader.name))
        trace = read_trace(path)
        found[reader.name] = (pl.concat(trace.batches), trace.complete)
    return found


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_events_have_what_their_format_shows_and_nothing_else(shown, reader: Reader):
    events, ended = shown[reader.name]
    moves = events.filter(pl.col("op").is_in(["read", "write", "access"]), pl.col("size") > 0)
    ops = set(events["op"].cast(pl.String))
    # What the first is true of is told of every event; what the second is false of, of none.
    evidence = {
        "times": (events["time"].n_unique() > 1, True),
        "durations": (moves["duration"].null_count() == 0, moves["duration"].drop_nulls().len() > 0),
        "operations": ("access" not in ops, "access" not in ops),
        "sizes": (len(moves) > 0, len(moves) > 0),
        "offsets": (moves["offset"].null_count() == 0, moves["offset"].fill_null(0).n_unique() > 1),
        "names": (events["path"].null_count() == 0, events["path"].drop_nulls().len() > 0),
        "processes": ((events["pid"] != 0).any(), (events["pid"] != 0).any()),
        "opens": ("open" in ops, "open" in ops),
        "closes": ("close" in ops, "close" in ops),
        "end": (ended, ended),
    }
    for fact, (of_all, of_any) in evidence.items():
        if fact in reader.shows.always:
            assert of_all, f"{reader.name} always tells {fact}"
        elif fact not in reader.shows.partly:
            assert not of_any, f"{reader.name} never tells {fact}"
