"""What commands print fits the terminal: no line is longer, no number is cut, and the answer comes first."""

import re
from pathlib import Path

import pytest

from tests import warm

FIXTURES = Path(__file__).parents[2] / "fixtures"

COMMANDS = {
    "recommend": ("recommend", FIXTURES / "images", "--epochs", "90", "--tier", "nfs"),
    "recommend --explain": ("recommend", FIXTURES / "images", "--epochs", "90", "--explain"),
    "cache size": ("cache", "size", FIXTURES / "profiles" / "worked_example.json"),
    "profile": ("profile", FIXTURES / "images"),
    "profile --trace": ("profile", "--trace", FIXTURES / "traces" / "fio-3.iolog"),
    "recommend --help": ("recommend", "--help"),
    "help": ("--help",),
}
#: The answer of a command, within its first five lines.
ANSWERS = {
    "recommend": "(?s)USD a.month",
    "cache size": "All of it, 4.59 PB",
    "profile --trace": "Trace",
}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_lines_fit_the_terminal(name, width):
    code, lines = warm.on_terminal(*COMMANDS[name], width=width)
    assert code == 0, lines
    assert [line for line in lines if len(line.rstrip()) > width] == []
    if name in ANSWERS:
        assert re.search(ANSWERS[name], "\n".join(lines[:5])), lines[:5]
