"""Help fits the terminal, groups the options, and says each in a clear line."""

from __future__ import annotations

import pytest
from typer.core import TyperOption
from typer.testing import CliRunner

from tests.cli.test_examples import COMMANDS
from tiering.cli import panels
from tiering.cli.app import app

PANELS = {text for name, text in vars(panels).items() if name.isupper()}
OPTIONS = {
    f"{name} {each.opts[0]}": each
    for name, command in COMMANDS.items()
    for each in command.params
    if isinstance(each, TyperOption)
}


@pytest.mark.parametrize("name", ["", "cache", "model", "tiers", *COMMANDS])
def test_help_fits_and_begins_with_the_usage_and_the_purpose(name, monkeypatch):
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = CliRunner().invoke(app, [*name.split(), "--help"]).stdout.splitlines()
        assert [line for line in lines if len(line.rstrip()) > width] == []
        assert lines[1].strip().startswith(f"Usage: tiering {name}".strip()) or "Usage: root" in lines[1]
        assert lines[3].strip()
        assert [line for line in lines if "…" in line] == [], "a name or a value is cut"


def test_every_option_is_in_a_panel():
    assert {name: each.rich_help_panel for name, each in OPTIONS.items() if each.rich_help_panel not in PANELS} == {}


def test_every_option_names_its_value_and_every_argument_its_kind():
    nameless = [name for name, each in OPTIONS.items() if not each.is_flag and not each.metavar]
    nameless += [each.name for command in COMMANDS.values() for each in command.params if not each.metavar
                 and not isinstance(each, TyperOption)]  # fmt: skip
    assert nameless == []


def test_every_option_is_said_in_a_line_or_two():
    """Beside its name, 50 columns are left of 80. What needs more words stands in the text above the options."""
    assert {name: each.help for name, each in OPTIONS.items() if not 8 <= len(each.help) <= 90} == {}
    assert {name: each.help for name, each in OPTIONS.items() if not each.help.rstrip('."').isascii()} == {}
    assert {name: each.help for name, each in OPTIONS.items() if not each.help.endswith((".", '".'))} == {}
