"""Library errors name parameters, and the command line names its flags."""

from __future__ import annotations

from typing import get_type_hints

import pytest
from typer.main import get_command

from tiering import literals
from tiering.cli import append, cache_size, convert, place, trace
from tiering.cli.app import app
from tiering.cli.flags import EVERYWHERE, FLAGS, by_flag
from tiering.errors import InputError, UsageError


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
