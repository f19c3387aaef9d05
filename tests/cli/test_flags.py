"""Library errors name parameters, and the command line names its flags."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_type_hints

import pytest
from typer.main import get_command

import tiering
from tiering import literals
from tiering.cli import append, cache_size, convert, place, trace
from tiering.cli.app import app
from tiering.cli.flags import EVERYWHERE, FLAGS, by_flag, options_of
from tiering.errors import InputError, TraceError, UsageError


@pytest.mark.parametrize("verb", sorted(FLAGS))
def test_every_flag_is_one_of_its_verbs(verb):
    command = get_command(app)
    for word in verb.split():
        command = command.commands[word]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {flag.split()[0] for flag in FLAGS[verb].values()} <= known


def test_every_flag_that_holds_everywhere_is_one_of_some_verb():
    def flags(command):
        for each in getattr(command, "commands", {}).values():
            yield from flags(each)
        yield from (name for parameter in command.params for name in parameter.opts)

    assert {flag.split()[0] for flag in EVERYWHERE.values()} <= set(flags(get_command(app)))


def test_a_parameter_becomes_its_flag():
    found = by_flag("place", UsageError("capacities tape", expected="`by`", found="`by`", action="Raise `capacities`."))
    assert (found.where, found.expected, found.found) == ("--capacity tape", "--by", "`by`")
    assert found.action == "Raise --capacity."


def test_an_attribute_and_a_parameter_with_its_value_become_flags():
    found = by_flag("convert", UsageError("shards.bytes", found="0 B", action='Or begin again: `resume="never"`.'))
    assert (found.where, found.action) == ("--shard-size", "Or begin again: --restart.")


def test_paths_and_other_verbs_stay_as_they_are():
    path = InputError("size", expected="a directory", found="none")
    assert by_flag("probe", path) is path
    other = UsageError("capacities", found="none")
    assert by_flag("info", other) is other


@pytest.mark.parametrize(
    ("verb", "parameter", "words"),
    [
        (convert.convert, "to", literals.PackedFormat | None),
        (convert.convert, "on_error", literals.OnBadImage),
        (convert.convert, "check", literals.Check),
        (convert.convert, "resize_mode", literals.ResizeMode),
        (append.append, "on_error", literals.OnBadImage),
        (trace.trace, "backend", literals.Tracer),
        (place.place, "by", literals.PlacedAs),
        (cache_size.size, "store_format", literals.OriginalFormat),
    ],
)
def test_the_choices_of_a_flag_are_those_of_the_library(verb, parameter, words):
    assert get_type_hints(verb)[parameter] == words


def test_advice_that_names_an_option_of_another_verb_says_which_has_it():
    options = options_of(get_command(app))
    for verb, own in options.items():
        for name, value in EVERYWHERE.items():
            flag = value.split()[0]
            said = by_flag(verb, TraceError("a", found="b", action=f"Give `{name}`."), options).action
            assert said.startswith(f"Give {FLAGS.get(verb, {}).get(name, value)}.")
            owners = [each for each, names in options.items() if flag in names]
            if flag not in own and name not in FLAGS.get(verb, {}):
                assert said.endswith(f" {flag} is an option of tiering {', '.join(owners)}."), (verb, name)


#: Parameters that only Python has.
_OF_PYTHON = {"mean", "std", "padding", "shuffle", "tiering.concat"}


def test_every_parameter_that_an_error_names_is_a_flag_of_some_verb():
    quoted = {
        name
        for path in Path(tiering.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg in ("rule", "expected", "action")
        for part in ast.walk(node.value)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
        for name in re.findall(r'`([\w.]+(?:="\w+")?)`', part.value)
    }
    assert quoted - {*EVERYWHERE, *(name for flags in FLAGS.values() for name in flags)} == _OF_PYTHON
